//! Threads that sleep in a call of ours, and how others get them out of it for another reason than
//! the one they sleep for: an interrupt of their task, the end of their interpreter.
//!
//! Guarantees: a disturbance of a thread that has a `Rest` gets it out of its sleep, or out of the
//! next one, once; it never blocks, and needs no GIL.
//! Not guaranteed: that the thread has anything to do then. It looks, and may sleep again.
//!
//! CPython raises what was set for a thread (`PyThreadState_SetAsyncExc`) in Python code only. So
//! who was disturbed returns there. And what was set before a wait has not always been raised in
//! the code before it: there, Python reads what there is to do, then may give the GIL up and get
//! it back, and then does what it had read. So who will sleep takes its rest first, and has Python
//! look once more after that (`core/rests.rs`).

use super::lock::{Sleeper, Woken};
use crate::core::brief::Brief;
use crate::core::latch::Unpark;
pub use crate::core::rests::Disturb;
use crate::core::rests::{All, Rests};
use crate::ffi;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A place to sleep that may be left and entered again.
pub struct Nap {
    sleeper: Sleeper,
    /// The sleeper was unparked, and has not slept since.
    rung: AtomicBool,
    disturbed: AtomicBool,
}

impl Nap {
    /// `None`: no memory for a lock.
    #[must_use]
    pub fn new() -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            sleeper: Sleeper::new()?,
            rung: AtomicBool::new(false),
            disturbed: AtomicBool::new(false),
        }))
    }

    /// Sleeps until somebody rings, or has since the last sleep. Call it detached.
    pub fn sleep(&self, limit: Option<Duration>) -> Woken {
        let woken = self.sleeper.sleep(limit);
        if woken == Woken::Unparked {
            // AcqRel: pairs with the swap in `ring`: what was done before a ring that found this
            // set, and so left it at that, is seen by the look that follows.
            self.rung.swap(false, Ordering::AcqRel);
        }
        woken
    }

    /// Whether the thread was disturbed; once for each time.
    pub fn was_disturbed(&self) -> bool {
        // Acquire: pairs with the release in `disturb`.
        self.disturbed.swap(false, Ordering::Acquire)
    }

    fn ring(&self) {
        // AcqRel: as in `sleep`. The lock is released once between two sleeps, as it wants.
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.sleeper.unpark();
        }
    }
}

impl Unpark for Nap {
    fn unpark(&self) {
        self.ring();
    }
}

impl Disturb for Nap {
    fn disturb(&self) {
        // Release: pairs with `was_disturbed`.
        self.disturbed.store(true, Ordering::Release);
        self.ring();
    }
}

static RESTS: Rests = Rests::of(Brief::new(All::none()));

pub type Rest = crate::core::rests::Rest<'static>;

/// For the calling thread, until it is dropped.
#[must_use]
pub fn rest(what: Arc<dyn Disturb>) -> Rest {
    RESTS.enter(own_thread(), what)
}

/// The same, attached, before a sleep. `look` has Python raise what was set for the thread before.
pub fn rest_and_look<E>(
    what: Arc<dyn Disturb>,
    look: impl FnOnce() -> Result<(), E>,
) -> Result<Rest, E> {
    RESTS.enter_and_look(own_thread(), what, look)
}

/// Gets that thread out of what it rests in. After something was set for it.
pub fn disturb(thread: u64) {
    RESTS.disturb(thread);
}

/// The calling thread, as `threading.get_ident` has it.
#[must_use]
pub fn own_thread() -> u64 {
    // SAFETY: needs nothing.
    unsafe { ffi::PyThread_get_thread_ident() }
}

/// Keeps others out until `end_fork`.
pub fn hold_for_fork() {
    RESTS.hold_for_fork();
}

/// # Safety
/// The calling thread has called `hold_for_fork`; in the child of the fork, where it is `child`, or
/// in the parent.
pub unsafe fn end_fork(child: Option<u64>) {
    // SAFETY: by the contract.
    unsafe { RESTS.end_fork(child) };
}
