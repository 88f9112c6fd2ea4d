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
use crate::core::state::Phase;
use crate::interp::attach::Attached;
use crate::interp::object::Object;
use crate::interp::visit::{self, Host, Visitor};
use crate::task::Task;
use crate::transfer::call::{Call, Label};
use crate::warden;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A seat's part that others reach into.
pub struct Desk {
    running: Mutex<Option<Running>>,
    reach: Mutex<Reach>,
}

/// A task that runs.
pub struct Running {
    pub job: Drained,
    /// When its time is up.
    deadline: Option<Instant>,
    pub asked: Option<Asked>,
    /// Somebody was told that it does not react.
    warned: bool,
    /// The helper is to raise the exception.
    due: bool,
    /// It has.
    sent: bool,
    /// The task goes on at another desk, which takes it from here.
    moving: bool,
}

/// An interrupt that was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// When it was first.
    pub at: Instant,
    /// The time limit that was the reason.
    pub timeout: Option<Duration>,
}

enum Reach {
    /// No interpreter.
    Closed,
    Open(Arc<Host>),
    Helped(Helper),
}

struct Helper {
    thread: JoinHandle<()>,
    bell: Arc<Bell>,
}

/// What a helper sleeps for.
#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    closing: AtomicBool,
}

/// How long a task may take to react to an interrupt.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until somebody is told.
    pub warning: Duration,
    /// Until its worker is replaced.
    pub grace: Duration,
}

/// What a look at a desk found.
#[derive(Default)]
pub struct Found {
    /// When to look again.
    pub next: Option<Instant>,
    /// This function has not reacted for so long.
    pub slow: Option<(Label, Duration)>,
    /// The task has not reacted within the grace.
    pub stuck: Option<Stuck>,
}

/// A task that does not react.
pub struct Stuck {
    pub job: Drained,
    pub asked: Asked,
}

impl Default for Desk {
    fn default() -> Self {
        Self::new()
    }
}

impl Desk {
    #[must_use]
    pub const fn new() -> Self {
        Self {
            running: Mutex::new(None),
            reach: Mutex::new(Reach::Closed),
        }
    }

    /// The name of the function that runs.
    #[must_use]
    pub fn label(&self) -> Label {
        let place = self.running.lock();
        place.as_ref().map_or_else(
            || Label::Text("the initializer".into()),
            |running| running.job.label.clone(),
        )
    }

    /// The task that runs, if it is not the initializer.
    #[must_use]
    pub fn job(&self) -> Option<Drained> {
        let place = self.running.lock();
        place.as_ref().map(|running| running.job.clone())
    }

    /// Interrupts `task` if this is where it runs. False: it is not.
    pub fn interrupt(self: &Arc<Self>, task: &Task, timeout: Option<Duration>) -> io::Result<bool> {
        self.interrupt_if(timeout, |running| std::ptr::eq(&*running.job, task))
    }

    /// Interrupts whatever runs here. False: nothing does.
    pub fn interrupt_any(self: &Arc<Self>) -> io::Result<bool> {
        self.interrupt_if(None, |_| true)
    }

    /// Interrupts what has run too long, and tells what has not reacted to that.
    pub fn look(self: &Arc<Self>, now: Instant, patience: Patience) -> Found {
        let mut found = Found::default();
        let mut ring = false;
        if let Some(running) = &mut *self.running.lock() {
            if running.asked.is_none() && running.deadline.is_some_and(|at| at <= now) {
                running.ask(now, running.job.timeout());
                ring = true;
            }
            found.next = running.deadline;
            if let Some(asked) = running.asked {
                let waited = now.saturating_duration_since(asked.at);
                if waited >= patience.warning && !running.warned {
                    running.warned = true;
                    found.slow = Some((running.job.label.clone(), waited));
                }
                found.next = asked.at.checked_add(if running.warned {
                    patience.grace
                } else {
                    patience.warning.min(patience.grace)
                });
                if waited >= patience.grace {
                    let job = running.job.clone();
                    found.stuck = Some(Stuck { job, asked });
                }
            }
        }
        if ring {
            // No thread to be had: then the task runs on, and is told of like any other.
            let _ = self.ring();
        }
        found
    }

    fn interrupt_if(
        self: &Arc<Self>,
        timeout: Option<Duration>,
        which: impl FnOnce(&Running) -> bool,
    ) -> io::Result<bool> {
        {
            let mut place = self.running.lock();
            let Some(running) = place.as_mut().filter(|running| which(running)) else {
                return Ok(false);
            };
            running.ask(Instant::now(), timeout);
        }
        // It finds the interrupt, and comes back when the task should have reacted.
        warden::wake_by(Instant::now());
        self.ring()?;
        Ok(true)
    }

    /// Wakes the helper, and makes it if there is none.
    fn ring(self: &Arc<Self>) -> io::Result<()> {
        let mut reach = self.reach.lock();
        match &*reach {
            // The task has ended, and its interpreter after it.
            Reach::Closed => {}
            Reach::Helped(helper) => {
                // Release: pairs with the acquire in `help`, which then finds `due`.
                helper.bell.rung.store(true, Ordering::Release);
                helper.thread.thread().unpark();
            }
            Reach::Open(host) => {
                let bell = Arc::new(Bell::default());
                bell.rung.store(true, Ordering::Release);
                let (desk, host, own) = (Arc::clone(self), Arc::clone(host), Arc::clone(&bell));
                let thread = thread::Builder::new()
                    .name("subpool-helper".to_owned())
                    .spawn(move || desk.help(&host, &own))?;
                *reach = Reach::Helped(Helper { thread, bell });
            }
        }
        Ok(())
    }

    /// The helper's life.
    fn help(&self, host: &Host, bell: &Bell) {
        // SAFETY: `Reachable::drop` joins this thread before it lets go of the class, and is
        // dropped before the interpreter; the thread is new and has no thread state.
        let Some(mut visitor) = (unsafe { Visitor::new(host) }) else {
            return;
        };
        // Acquire, twice: pairs with the releases in `ring` and in `Reachable::drop`.
        while !bell.closing.load(Ordering::Acquire) {
            if bell.rung.swap(false, Ordering::Acquire) {
                visitor.visit(|visiting| {
                    if self.is_due() {
                        // The GIL has been held since the look: the window is still open.
                        host.raise(visiting);
                    }
                });
            } else {
                thread::park();
            }
        }
    }

    fn is_due(&self) -> bool {
        let mut place = self.running.lock();
        let Some(running) = place
            .as_mut()
            .filter(|running| running.due && !running.moving)
        else {
            return false;
        };
        running.due = false;
        running.sent = true;
        true
    }
}

impl Running {
    fn ask(&mut self, at: Instant, timeout: Option<Duration>) {
        self.asked.get_or_insert(Asked { at, timeout });
        self.due = true;
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
        *desk.reach.lock() = Reach::Open(Arc::new(Host::here(&class)));
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
        let deadline = job
            .timeout()
            .and_then(|limit| Instant::now().checked_add(limit));
        let call = {
            let mut place = self.desk.running.lock();
            // Asked under the lock: who forbids it looks here after that (`Pool::terminate`).
            let Some(call) = may().then(|| job.start()).flatten() else {
                return Err(job);
            };
            *place = Some(Running {
                job,
                deadline,
                asked: None,
                warned: false,
                due: false,
                sent: false,
                moving: false,
            });
            call
        };
        if let Some(deadline) = deadline {
            // Now that the warden would find it.
            warden::wake_by(deadline);
        }
        Ok(call)
    }

    /// Leaves the task here for another worker. No interrupt of it can come to this one any more.
    pub fn pass_on(&self, token: Attached<'i>) {
        let sent = {
            let mut place = self.desk.running.lock();
            // Attached: no helper is between its look and its call, as in `end`.
            place.as_mut().is_some_and(|running| {
                running.moving = true;
                std::mem::take(&mut running.sent)
            })
        };
        if sent {
            visit::take_back(token);
        }
    }

    /// Takes up a task that another worker has passed on, with the interrupts that came meanwhile.
    /// False: it has ended.
    pub fn resume(&self, from: &Desk) -> bool {
        let (deadline, due) = {
            let mut theirs = from.running.lock();
            // In the order in which a task moves, so nobody holds them the other way round.
            let mut own = self.desk.running.lock();
            let Some(mut running) = theirs.take() else {
                return false;
            };
            if running.job.latch.state.phase() != Phase::Running {
                return false;
            }
            running.moving = false;
            running.due = running.asked.is_some();
            let told = (running.deadline, running.due);
            *own = Some(running);
            told
        };
        if let Some(deadline) = deadline {
            warden::wake_by(deadline);
        }
        if due {
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
        let ended = self.desk.running.lock().take();
        if ended.as_ref().is_some_and(|running| running.sent) {
            // Maybe not raised yet; then it would hit what comes next.
            visit::take_back(token);
        }
        ended
    }
}

impl Drop for Reachable<'_> {
    fn drop(&mut self) {
        let reach = std::mem::replace(&mut *self.desk.reach.lock(), Reach::Closed);
        if let Reach::Helped(helper) = reach {
            // Release: pairs with the acquire in `help`.
            helper.bell.closing.store(true, Ordering::Release);
            helper.thread.thread().unpark();
            // Detached, since the helper needs the GIL once more to leave. It did not panic: it
            // calls nothing of the user's.
            let _ = self.class.token().detached(|| helper.thread.join());
        }
    }
}
