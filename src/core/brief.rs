//! A lock that is held for moments, and that the child of a fork can let go of.
//!
//! Guarantees: one has it at a time, who sees what was done under it before; who waits sleeps, and
//! whoever lets go wakes one of those who do; nothing is known of who waits but in the lock's own
//! word, so that in the child of a fork, where those who waited are gone, it is free as soon as the
//! thread that took it before the fork lets go of it.
//! Not guaranteed: order. Nor, on systems without futexes, that anybody is woken: who waits there
//! looks again after a nap.
//!
//! `parking_lot` has one table for all locks of the process, of the threads that sleep in them. In
//! a child those of the parent are in it for ever: they are handed the lock, or woken in the place of
//! others. The kernel's own table, which futexes are in, has nothing of the parent's in a child.

use super::sync::{AtomicU32, Ordering};

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Held, and somebody may sleep until it is free.
const WANTED: u32 = 2;

#[inline]
pub fn try_take(word: &AtomicU32) -> bool {
    // Acquire: pairs with the release in `let_go`. Relaxed: nothing was gained.
    word.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
        .is_ok()
}

/// Takes it, however long that takes. `sleep` sleeps if the word has the value that it is given,
/// until it is woken, and may wake for nothing.
pub fn take(word: &AtomicU32, sleep: impl Fn(&AtomicU32, u32)) {
    // Acquire: pairs with the release in `let_go`. Who was woken leaves it wanted, since it does
    // not know of others that sleep.
    while word.swap(WANTED, Ordering::Acquire) != FREE {
        sleep(word, WANTED);
    }
}

/// True: one of those who sleep is to be woken.
#[inline]
pub fn let_go(word: &AtomicU32) -> bool {
    // Release: pairs with the acquire of who takes it next.
    word.swap(FREE, Ordering::Release) == WANTED
}

#[cfg(not(loom))]
pub use lock::{Brief, Raw};

#[cfg(not(loom))]
mod lock {
    use super::{AtomicU32, FREE, Ordering, WANTED, let_go, take, try_take};
    use parking_lot::lock_api::{GuardNoSend, Mutex, RawMutex};
    use std::hint;

    /// As `parking_lot::Mutex`, for what is taken for a fork.
    pub type Brief<T> = Mutex<Raw, T>;

    pub struct Raw(AtomicU32);

    /// Looks, with twice as many turns after each, before sleep.
    const LOOKS: u32 = 6;

    // SAFETY: `try_take` and `take` alone set the word, for one at a time; only `unlock` clears it.
    unsafe impl RawMutex for Raw {
        #[allow(clippy::declare_interior_mutable_const)] // the trait has it so
        const INIT: Self = Self(AtomicU32::new(FREE));
        type GuardMarker = GuardNoSend;

        #[inline]
        fn lock(&self) {
            if !try_take(&self.0) {
                self.wait();
            }
        }

        #[inline]
        fn try_lock(&self) -> bool {
            try_take(&self.0)
        }

        #[inline]
        unsafe fn unlock(&self) {
            if let_go(&self.0) {
                wake(&self.0);
            }
        }
    }

    impl Raw {
        #[cold]
        fn wait(&self) {
            for look in 0..LOOKS {
                (0..1_u32 << look).for_each(|_| hint::spin_loop());
                // Relaxed: only to leave the holder's cache line alone.
                match self.0.load(Ordering::Relaxed) {
                    FREE if try_take(&self.0) => return,
                    WANTED => break, // others sleep already
                    _ => {}
                }
            }
            take(&self.0, sleep);
        }
    }

    #[cfg(target_os = "linux")]
    fn sleep(word: &AtomicU32, value: u32) {
        let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        let forever = std::ptr::null::<libc::timespec>();
        // SAFETY: a word that lives for the call, and no time.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, forever) };
    }

    /// The word may be gone by now: the address is not looked into, and who sleeps at it in
    /// another lock is woken for nothing.
    #[cold]
    #[cfg(target_os = "linux")]
    fn wake(word: *const AtomicU32) {
        let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: the kernel takes any address.
        unsafe { libc::syscall(libc::SYS_futex, word, operation, 1) };
    }

    #[cfg(not(target_os = "linux"))]
    fn sleep(_word: &AtomicU32, _value: u32) {
        std::thread::sleep(std::time::Duration::from_micros(50));
    }

    #[cfg(not(target_os = "linux"))]
    fn wake(_word: *const AtomicU32) {}
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::hint;
    use std::sync::Arc;
    #[cfg(all(target_os = "linux", not(miri)))]
    use std::sync::atomic::AtomicI32;
    use std::thread;

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

    #[cfg(all(target_os = "linux", not(miri)))]
    fn until_asleep(thread: &AtomicI32) {
        loop {
            let number = thread.load(Ordering::Relaxed);
            let state = std::fs::read_to_string(format!("/proc/self/task/{number}/stat"));
            if state.is_ok_and(|state| state.contains(") S ")) {
                return;
            }
            thread::yield_now();
        }
    }

    /// They looked again after naps, and so starved beside those who came and went. One that is
    /// not woken waits for ever.
    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn all_who_sleep_are_woken_one_by_one() {
        let lock = Arc::new(Brief::new(0_u32));
        let held = lock.lock();
        let threads = [0; 3].map(|_| {
            let (lock, known) = (Arc::clone(&lock), Arc::new(AtomicI32::new(0)));
            let own = Arc::clone(&known);
            let thread = thread::spawn(move || {
                // SAFETY: needs nothing.
                own.store(unsafe { libc::gettid() }, Ordering::Relaxed);
                *lock.lock() += 1;
            });
            (thread, known)
        });
        for (_, known) in &threads {
            until_asleep(known);
        }
        drop(held);
        for (thread, _) in threads {
            thread.join().unwrap();
        }
        assert_eq!(*lock.lock(), 3);
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
        until_asleep(waiter);
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
