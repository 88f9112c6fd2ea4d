//! A lock that is held for moments, and that the child of a fork can let go of.
//!
//! Guarantees: one has it at a time, who sees what was done under it before; who waits for it leaves
//! no trace of that anywhere, so that in the child of a fork, where those who waited are gone, it is
//! free as soon as the thread that took it before the fork lets go of it.
//! Not guaranteed: order. Who waits looks again, after turns, then after naps that grow to a
//! millisecond: so nobody may keep it for longer than moments but for a fork.
//!
//! `parking_lot` has one table for all locks of the process, of the threads that sleep in them. In
//! a child those of the parent are in it for ever: they are handed the lock, or woken in the place of
//! others.

use parking_lot::lock_api::{GuardNoSend, RawMutex};
use std::hint;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// As `parking_lot::Mutex`, for what is taken for a fork.
pub type Brief<T> = parking_lot::lock_api::Mutex<Raw, T>;

pub struct Raw(AtomicBool);

/// Turns, of twice the length each, before a core is left to others.
const SPINS: u32 = 6;
/// Turns before sleep.
const YIELDS: u32 = 16;
const SHORTEST: Duration = Duration::from_micros(20);
const LONGEST: Duration = Duration::from_millis(1);

// SAFETY: `try_lock` alone sets the flag, and for one at a time; only `unlock` clears it.
unsafe impl RawMutex for Raw {
    #[allow(clippy::declare_interior_mutable_const)] // the trait has it so
    const INIT: Self = Self(AtomicBool::new(false));
    type GuardMarker = GuardNoSend;

    #[inline]
    fn lock(&self) {
        if !self.try_lock() {
            self.wait();
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        // Acquire: pairs with the release in `unlock`. Relaxed: nothing was gained.
        let taken = self
            .0
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok()
    }

    #[inline]
    unsafe fn unlock(&self) {
        // Release: pairs with the acquire in `try_lock`.
        self.0.store(false, Ordering::Release);
    }
}

impl Raw {
    #[cold]
    fn wait(&self) {
        let mut turn = 0;
        let mut nap = SHORTEST;
        loop {
            if turn < SPINS {
                (0..1_u32 << turn).for_each(|_| hint::spin_loop());
            } else if turn < YIELDS {
                thread::yield_now();
            } else {
                // Its holder has lost its core to who wants it, or forks.
                thread::sleep(nap);
                nap = (nap * 2).min(LONGEST);
            }
            turn = turn.saturating_add(1);
            // Relaxed: only to leave the holder's cache line alone.
            if !self.0.load(Ordering::Relaxed) && self.try_lock() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    #[cfg(all(target_os = "linux", not(miri)))]
    use std::sync::atomic::AtomicI32;

    const TIMES: u32 = if cfg!(miri) { 50 } else { 10_000 };

    #[test]
    fn one_has_it_at_a_time() {
        let count = Arc::new(Brief::new(0_u32));
        let threads = [0; 4].map(|_| {
            let count = Arc::clone(&count);
            thread::spawn(move || {
                for _ in 0..TIMES {
                    let mut count = count.lock();
                    let before = *count;
                    hint::spin_loop();
                    *count = before + 1;
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(*count.lock(), 4 * TIMES);
    }

    #[test]
    fn who_has_it_keeps_others_out() {
        let lock = Brief::new(());
        let held = lock.lock();
        assert!(lock.try_lock().is_none());
        drop(held);
        assert!(lock.try_lock().is_some());
    }

    /// The mutex of `parking_lot` was handed to a thread that the child does not have.
    #[test]
    #[cfg(all(target_os = "linux", not(miri)))] // which has no fork
    fn in_the_child_of_a_fork_those_who_waited_are_gone() {
        let shared = Arc::new((Brief::new(()), AtomicI32::new(0)));
        let other = Arc::clone(&shared);
        let (lock, waiter) = &*shared;
        let held = lock.lock();
        let thread = thread::spawn(move || {
            // SAFETY: needs nothing.
            other.1.store(unsafe { libc::gettid() }, Ordering::Relaxed);
            drop(other.0.lock());
        });
        let sleeps = |number: i32| {
            let state = std::fs::read_to_string(format!("/proc/self/task/{number}/stat"));
            state.is_ok_and(|state| state.contains(") S "))
        };
        while !sleeps(waiter.load(Ordering::Relaxed)) {
            thread::yield_now();
        }
        // SAFETY: the child, which has this thread alone, calls nothing but this lock and `_exit`;
        // the lock is held here.
        let child = unsafe {
            let child = libc::fork();
            if child == 0 {
                lock.force_unlock();
                libc::_exit(i32::from(lock.try_lock().is_none()));
            }
            child
        };
        drop(held);
        thread.join().unwrap();
        let mut status = -1;
        // SAFETY: a child of ours, and a place for its end.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(status, 0);
    }
}
