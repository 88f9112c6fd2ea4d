//! A worker's place in the pool, and who may work there.
//!
//! Guarantees: of the workers with one number one at a time takes tasks; one that is made ready
//! for another's place learns exactly once whether it gets it.

use super::closing::Closing;
use crate::batch::Job;
use crate::core::latch::Latch;
use crate::desk::Desk;
use crate::transfer::environment::Numbered;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub struct Seat {
    pub number: usize,
    pub name: String,
    /// Ends when the interpreter is there and its initializer has run, or will never.
    pub readiness: Latch,
    /// Ends when the interpreter is closed.
    pub exit: Latch,
    /// Ends with `exit`, or when nobody is to wait for that any more: another worker takes this
    /// one's place, or its interpreter's threads do not end.
    pub vacated: Latch,
    pub desk: Arc<Desk>,
    /// Since when it sleeps, in nanoseconds; 0 while it does not, or for ever.
    pub idle: AtomicU64,
    /// The main interpreter's when the worker was started.
    pub environment: Arc<Numbered>,
    pub admission: Admission,
    /// While it closes its interpreter.
    pub(super) closing: Mutex<Option<Closing>>,
    /// The one that is made ready to take this one's place.
    pub(super) standby: Mutex<Option<Arc<Seat>>>,
    /// The one that this thread goes on with, if there was none to be had for it.
    pub(super) heir: Mutex<Option<Arc<Seat>>>,
    /// The one whose place this is.
    pub(super) before: Weak<Seat>,
    pub(super) thread: Mutex<Option<JoinHandle<()>>>,
}

impl Seat {
    /// A seat for `number`, with nobody there yet.
    pub(super) fn new(
        number: usize,
        name: String,
        environment: &Arc<Numbered>,
        standing: Standing,
        before: Weak<Self>,
    ) -> Arc<Self> {
        Arc::new(Self {
            number,
            name,
            readiness: Latch::new(),
            exit: Latch::new(),
            vacated: Latch::new(),
            desk: Arc::default(),
            idle: AtomicU64::new(0),
            environment: Arc::clone(environment),
            admission: Admission::new(standing),
            closing: Mutex::new(None),
            standby: Mutex::new(None),
            heir: Mutex::new(None),
            before,
            thread: Mutex::new(None),
        })
    }

    pub fn ready(&self) {
        self.readiness.fire();
    }

    /// Waits for the thread itself, once `exit` has ended. Bounded: nothing is left to do there.
    pub fn reap(&self) {
        let handle = self.thread.lock().take();
        if let Some(handle) = handle {
            // A worker catches its panics, and one in its loop aborts the process.
            let _ = handle.join();
        }
    }

    /// Waits, `patience` at most, until the interpreter before the one that leaves this place is
    /// closed: else one whose closing takes long would leave one more behind with each turn.
    pub fn wait_for_room(&self, patience: Duration) {
        let closing = self.before.upgrade().and_then(|seat| seat.before.upgrade());
        if let Some(closing) = closing {
            closing.vacated.is_done_by(Instant::now() + patience);
        }
    }
}

/// Whether a worker may take tasks.
pub struct Admission {
    standing: Mutex<Standing>,
    changed: Condvar,
}

#[derive(Default)]
pub enum Standing {
    /// Another worker has the place yet.
    Waiting,
    /// The place is its own; with what to do first.
    Admitted(Option<Job>),
    /// It will not be needed.
    Dismissed,
    /// It could not start while it waited.
    #[default]
    Failed,
}

impl Admission {
    const fn new(standing: Standing) -> Self {
        Self {
            standing: Mutex::new(standing),
            changed: Condvar::new(),
        }
    }

    /// Waits for the place, and gives what is to be done first. `None`: it is not needed.
    ///
    /// To be called detached.
    #[must_use]
    pub fn wait(&self) -> Option<Option<Job>> {
        let mut standing = self.standing.lock();
        self.changed.wait_while(&mut standing, |standing| {
            matches!(standing, Standing::Waiting)
        });
        match &mut *standing {
            Standing::Admitted(first) => Some(first.take()),
            _ => None,
        }
    }

    /// Gives it the place. It is not to be had any more: gives back what was to be done first.
    pub(super) fn admit(&self, first: Option<Job>) -> Result<(), Option<Job>> {
        let mut standing = self.standing.lock();
        if !matches!(*standing, Standing::Waiting) {
            return Err(first);
        }
        *standing = Standing::Admitted(first);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes back what it was to do first, if it has the place and has not begun.
    pub(super) fn first(&self) -> Option<Job> {
        match &mut *self.standing.lock() {
            Standing::Admitted(first) => first.take(),
            _ => None,
        }
    }

    pub(super) fn can_be_admitted(&self) -> bool {
        matches!(*self.standing.lock(), Standing::Waiting)
    }

    /// Lets go of what nobody will do here: the worker has ended.
    pub fn abandon(&self) {
        let standing = std::mem::take(&mut *self.standing.lock());
        drop(standing);
    }

    pub(super) fn dismiss(&self) {
        let mut standing = self.standing.lock();
        if matches!(*standing, Standing::Waiting) {
            *standing = Standing::Dismissed;
            self.changed.notify_one();
        }
    }

    /// It could not start. True: the place is its own, so that must be seen to.
    #[must_use]
    pub(super) fn fail(&self) -> bool {
        let mut standing = self.standing.lock();
        if matches!(*standing, Standing::Waiting) {
            *standing = Standing::Failed;
        }
        matches!(*standing, Standing::Admitted(_))
    }
}
