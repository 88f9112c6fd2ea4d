//! What a worker is at, and how others interrupt it.
//!
//! Guarantees: an interrupt reaches the task it was meant for or none; it reaches that task as long
//! as the task runs and comes back from C calls; who sees a task running finds it here, unless it
//! has just ended; asking never blocks, whatever the task does.
//! Not guaranteed: that the task ends. It may catch the exception, and it may lose it where Python
//! drops exceptions (a `__del__`).
//!
//! The window for interrupts is from `begin` to `end`, and the worker opens and closes it with its
//! GIL held. The interrupt is sent by a helper thread, which looks at the same GIL whether the task
//! that is to be interrupted is still there. `PROTOCOL.md`, "Interrupts", has the argument.

use crate::batch::Drained;
use crate::core::reach::{Bell, Reach};
use crate::core::state::Phase;
use crate::core::window::Window;
use crate::interp::attach::Attached;
use crate::interp::nap;
use crate::interp::object::Object;
use crate::interp::visit::{self, Host, Visitor};
use crate::task::Task;
use crate::transfer::call::{Call, Label};
use crate::warden;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use crate::core::window::Patience;

pub type Running = crate::core::window::Running<Drained>;
pub type Found = crate::core::window::Found<Drained>;
pub type Stuck = crate::core::window::Stuck<Drained>;

/// A seat's part that others reach into.
#[derive(Default)]
pub struct Desk {
    window: Window<Drained>,
    reach: Reach<Host>,
}

impl Desk {
    /// The name of the function that runs.
    #[must_use]
    pub fn label(&self) -> Label {
        self.window
            .seen(|job| job.label.clone())
            .unwrap_or_else(|| Label::Text("the initializer".into()))
    }

    /// The task that runs, if it is not the initializer.
    #[must_use]
    pub fn job(&self) -> Option<Drained> {
        self.window.job()
    }

    /// The same in the child of a fork, where the lock's holder may be gone.
    #[must_use]
    pub fn job_if_free(&self) -> Option<Drained> {
        self.window.job_if_free()
    }

    /// Interrupts `task` if this is where it runs. False: it is not.
    pub fn interrupt(self: &Arc<Self>, task: &Task, timeout: Option<Duration>) -> io::Result<bool> {
        self.interrupt_if(timeout, |job| std::ptr::eq(&raw const **job, task))
    }

    /// Interrupts whatever runs here. False: nothing does.
    pub fn interrupt_any(self: &Arc<Self>) -> io::Result<bool> {
        self.interrupt_if(None, |_| true)
    }

    /// Interrupts what has run too long, and tells what has not reacted to that.
    #[must_use]
    pub fn look(self: &Arc<Self>, now: Instant, patience: Patience) -> Found {
        let found = self.window.look(now, patience);
        if found.ring {
            // No thread to be had: then the task runs on, and is told of like any other.
            let _ = self.ring();
        }
        found
    }

    fn interrupt_if(
        self: &Arc<Self>,
        timeout: Option<Duration>,
        which: impl FnOnce(&Drained) -> bool,
    ) -> io::Result<bool> {
        if !self.window.ask(Instant::now(), timeout, which) {
            return Ok(false);
        }
        // It finds the interrupt, and comes back when the task should have reacted.
        warden::wake_by(Instant::now());
        self.ring()?;
        Ok(true)
    }

    /// Wakes the helper, and makes it if there is none.
    fn ring(self: &Arc<Self>) -> io::Result<()> {
        let desk = Arc::clone(self);
        self.reach.ring(move |host, bell| desk.help(host, bell))
    }

    /// The helper's life.
    fn help(&self, host: &Host, bell: &Bell) {
        // SAFETY: `Reachable::drop` joins this thread before it lets go of the class, and is
        // dropped before the interpreter; the thread is new and has no thread state.
        let Some(mut visitor) = (unsafe { Visitor::new(host) }) else {
            return;
        };
        bell.heed(|| {
            visitor.visit(|visiting| {
                if self.window.take_due() {
                    // The GIL has been held since the look: the window is still open.
                    host.raise(visiting);
                    nap::disturb(host.thread());
                }
            });
        });
    }
}

/// An open desk: the worker's end. Closed when dropped, before the interpreter is.
pub struct Reachable<'i> {
    desk: &'i Arc<Desk>,
    class: Object<'i>,
}

impl<'i> Reachable<'i> {
    /// Opens `desk` for the calling worker.
    #[must_use]
    pub fn open(desk: &'i Arc<Desk>, class: Object<'i>) -> Self {
        desk.reach.open(Host::here(&class));
        Self { desk, class }
    }

    /// What an interrupt raises.
    #[must_use]
    pub const fn class(&self) -> &Object<'i> {
        &self.class
    }

    /// Whether `error` is an interrupt's.
    #[must_use]
    pub fn is_interrupt(&self, error: &Object<'i>) -> bool {
        visit::is_interrupt(error, &self.class)
    }

    /// Starts `job`, and opens the window with that: who sees it running finds it here. `job`
    /// comes back if it was cancelled meanwhile, or if it `may` not start.
    ///
    /// The locks are held while attached, here and below, but by nobody who waits for a GIL.
    pub fn begin(&self, job: Drained, may: impl FnOnce() -> bool) -> Result<Call, Drained> {
        let limit = job
            .timeout()
            .and_then(|limit| Some((Instant::now().checked_add(limit)?, limit)));
        // Asked under the lock: who forbids it looks here after that (`Pool::terminate`).
        let start = |job: &Drained| may().then(|| job.start()).flatten();
        let call = self.desk.window.open(job, limit, start)?;
        if let Some((deadline, _)) = limit {
            // Now that the warden would find it.
            warden::wake_by(deadline);
        }
        Ok(call)
    }

    /// Leaves the task here for another worker. No interrupt of it can come to this one any more:
    /// attached, so that no helper is between its look and its call, as in `end`.
    pub fn pass_on(&self, token: Attached<'i>) {
        if self.desk.window.pass_on() {
            visit::take_back(token);
        }
    }

    /// Takes up a task that another worker has passed on, with the interrupts that came meanwhile.
    /// False: it has ended.
    #[must_use]
    pub fn resume(&self, from: &Desk) -> bool {
        let runs = |job: &Drained| job.latch.state.phase() == Phase::Running;
        let Some(resumed) = self.desk.window.resume(&from.window, runs) else {
            return false;
        };
        if let Some(deadline) = resumed.deadline {
            warden::wake_by(deadline);
        }
        if resumed.ring {
            // No thread to be had: then the task runs on, and is told of like any other.
            let _ = self.desk.ring();
        }
        true
    }

    /// The desk, as others see it.
    #[must_use]
    pub const fn shared(&self) -> &'i Arc<Desk> {
        self.desk
    }

    /// Closes the window: no interrupt of this task can come any more.
    ///
    /// `None` would mean that nothing has begun.
    #[must_use]
    pub fn end(&self, token: Attached<'i>) -> Option<Running> {
        let ended = self.desk.window.close();
        if ended.as_ref().is_some_and(Running::is_sent) {
            // Maybe not raised yet; then it would hit what comes next.
            visit::take_back(token);
        }
        ended
    }
}

impl Drop for Reachable<'_> {
    fn drop(&mut self) {
        if let Some(helper) = self.desk.reach.close() {
            // Detached, since the helper needs the GIL once more to leave. It did not panic: it
            // calls nothing of the user's.
            let _ = self.class.token().detached(|| helper.join());
        }
    }
}
