//! A place to sleep that Ctrl-C can reach.
//!
//! CPython's own lock waits in a way that a signal interrupts, unlike Rust's; so `Future.result()`
//! sleeps as `threading.Lock.acquire()` does.

use crate::core::latch::Unpark;
use crate::ffi;
use std::time::Duration;

/// How a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Woken {
    Unparked,
    /// A signal came: run its handlers, then sleep on.
    Signal,
    TimedOut,
}

/// Asleep at birth: the first `sleep` waits until `unpark`.
pub struct Sleeper(ffi::RawLock);

// SAFETY: CPython's lock may be acquired and released by different threads; that is its purpose.
unsafe impl Send for Sleeper {}
// SAFETY: as above; all methods take the pointer by value and the lock itself is thread-safe.
unsafe impl Sync for Sleeper {}

impl Sleeper {
    /// `None`: no memory for a lock.
    #[must_use]
    pub fn new() -> Option<Self> {
        // SAFETY: needs no thread state; the new lock is free, so taking it cannot wait.
        let lock = unsafe { ffi::PyThread_allocate_lock() };
        if lock.is_null() {
            return None;
        }
        // SAFETY: `lock` was allocated above and is not shared yet.
        unsafe { ffi::PyThread_acquire_lock_timed(lock, 0, 0) };
        Some(Self(lock))
    }

    /// Sleeps, for `limit` at most. Call it detached.
    pub fn sleep(&self, limit: Option<Duration>) -> Woken {
        let microseconds = limit.map_or(-1, |limit| {
            // Rounded up, so that a deadline is never missed by a fraction, then waited for again.
            i64::try_from(limit.as_nanos().div_ceil(1000)).unwrap_or(i64::MAX / 2000)
        });
        // SAFETY: `self.0` lives until `drop`, which needs `self` whole.
        match unsafe { ffi::PyThread_acquire_lock_timed(self.0, microseconds, 1) } {
            ffi::PY_LOCK_ACQUIRED => Woken::Unparked,
            ffi::PY_LOCK_INTR => Woken::Signal,
            _ => Woken::TimedOut,
        }
    }
}

impl Unpark for Sleeper {
    fn unpark(&self) {
        // SAFETY: the lock is held since `new`, and the latch calls each sleeper once at most, so
        // it is released while locked, once. Needs no thread state.
        unsafe { ffi::PyThread_release_lock(self.0) }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // SAFETY: dropping proves that nobody sleeps in it or will release it: both hold an Arc.
        unsafe { ffi::PyThread_free_lock(self.0) }
    }
}
