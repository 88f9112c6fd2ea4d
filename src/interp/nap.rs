//! Threads that sleep in a call of ours, and how others get them out of it for another reason than
//! the one they sleep for: an interrupt of their task, the end of their interpreter.
//!
//! Guarantees: a disturbance of a thread that has a `Rest` gets it out of its sleep, or out of the
//! next one, once; it never blocks, and needs no GIL.
//! Not guaranteed: that the thread has anything to do then. It looks, and may sleep again.
//!
//! CPython raises what was set for a thread (`PyThreadState_SetAsyncExc`) in Python code only. So
//! who was disturbed returns there. Who enters a rest attached, and has run no Python since its
//! call began, misses none: what was set before has been raised before the call, and whoever sets
//! it later has the GIL after this thread gave it up, and finds the rest.

use super::lock::{Sleeper, Woken};
use crate::core::brief::Brief;
use crate::core::latch::Unpark;
use crate::ffi;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What a thread may be disturbed in.
pub trait Disturb: Send + Sync {
    fn disturb(&self);
}

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

struct Resting {
    number: u64,
    thread: u64,
    what: Arc<dyn Disturb>,
}

struct All {
    last: u64,
    resting: Vec<Resting>,
}

static ALL: Brief<All> = Brief::new(All {
    last: 0,
    resting: Vec::new(),
});

/// The time in which a thread can be disturbed.
pub struct Rest {
    number: u64,
    /// As in the list; written under its lock.
    thread: AtomicU64,
}

impl Rest {
    /// For the calling thread.
    #[must_use]
    pub fn new(what: Arc<dyn Disturb>) -> Self {
        let thread = own_thread();
        let mut all = ALL.lock();
        all.last += 1;
        let number = all.last;
        all.resting.push(Resting {
            number,
            thread,
            what,
        });
        Self {
            number,
            thread: AtomicU64::new(thread),
        }
    }

    /// From now on for the calling thread, which rests there in the place of the one before. Attached,
    /// as `new`.
    pub fn follow(&self) {
        let thread = own_thread();
        // Relaxed, here and below: who sees another's number goes by the list's lock.
        if self.thread.load(Ordering::Relaxed) == thread {
            return;
        }
        let mut all = ALL.lock();
        if let Some(own) = all.resting.iter_mut().find(|it| it.number == self.number) {
            own.thread = thread;
        }
        self.thread.store(thread, Ordering::Relaxed);
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        let ended = {
            let mut all = ALL.lock();
            let place = all.resting.iter().position(|it| it.number == self.number);
            place.map(|place| all.resting.swap_remove(place))
        };
        drop(ended);
    }
}

/// Gets that thread out of what it rests in.
pub fn disturb(thread: u64) {
    for resting in &ALL.lock().resting {
        if resting.thread == thread {
            resting.what.disturb();
        }
    }
}

/// The calling thread, as `threading.get_ident` has it.
#[must_use]
pub fn own_thread() -> u64 {
    // SAFETY: needs nothing.
    unsafe { ffi::PyThread_get_thread_ident() }
}

/// Keeps others out until `end_fork`.
pub fn hold_for_fork() {
    std::mem::forget(ALL.lock());
}

/// # Safety
/// The calling thread has called `hold_for_fork`; in the child of the fork, where it is `child`, or
/// in the parent.
pub unsafe fn end_fork(child: Option<u64>) {
    // SAFETY: held by this thread, by the contract.
    unsafe { ALL.force_unlock() };
    if let Some(own) = child {
        let mut all = ALL.lock();
        let (kept, others): (Vec<_>, Vec<_>) = std::mem::take(&mut all.resting)
            .into_iter()
            .partition(|it| it.thread == own);
        all.resting = kept;
        // What threads of the parent sleep in.
        std::mem::forget(others);
    }
}
