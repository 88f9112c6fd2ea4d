//! A task's end, and the threads that sleep until it comes.
//!
//! Guarantees: `wake` after the end wakes every thread registered before it; a thread that comes
//! after the end is turned away instead of put to sleep. Threads sleep in whatever they bring
//! (`Unpark`), so that a Python thread can sleep in a lock a signal may interrupt.

use super::state::{Ended, Start, State};
use super::sync::{Arc, Mutex};
#[cfg(not(loom))]
use std::{thread, time::Instant};

/// A sleeping thread, as seen by the one who wakes it.
pub trait Unpark: Send + Sync {
    /// May come before the thread sleeps, and only once.
    fn unpark(&self);
}

/// A thread in `park`.
#[cfg(not(loom))]
struct Parked(thread::Thread);

#[cfg(not(loom))]
impl Unpark for Parked {
    fn unpark(&self) {
        self.0.unpark();
    }
}

/// A state word and the sleepers that wait for its end.
#[derive(Default)]
pub struct Latch {
    pub state: State,
    sleepers: Mutex<Vec<Arc<dyn Unpark>>>,
}

impl Latch {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends a latch that has no task behind it, if it has not ended yet.
    pub fn fire(&self) {
        if self.state.start() == Start::Run {
            self.wake(self.state.finish());
        }
    }

    /// Enters `sleeper`. False: the end has come, do not sleep.
    #[must_use]
    pub fn register(&self, sleeper: Arc<dyn Unpark>) -> bool {
        // The flag is raised under the lock: an ender that sees it takes the lock after us.
        let mut sleepers = self.sleepers.lock();
        if !self.state.park() {
            return false;
        }
        sleepers.push(sleeper);
        true
    }

    /// Waits for the end until then, on a thread of ours: no signal ends the wait.
    #[cfg(not(loom))]
    pub fn is_done_by(&self, until: Instant) -> bool {
        let sleeper: Arc<dyn Unpark> = Arc::new(Parked(thread::current()));
        if !self.register(Arc::clone(&sleeper)) {
            return true;
        }
        // `park` also returns for tokens that others left.
        while !self.state.phase().is_done() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.leave(&sleeper);
                return self.state.phase().is_done();
            }
            thread::park_timeout(left);
        }
        true
    }

    /// Removes a sleeper that gave up (a timeout, a signal).
    pub fn leave(&self, sleeper: &Arc<dyn Unpark>) {
        self.sleepers
            .lock()
            .retain(|other| !Arc::ptr_eq(other, sleeper));
    }

    /// The ender's duty: wakes those that sleep.
    pub fn wake(&self, ended: Ended) {
        if ended.parked {
            let sleepers = std::mem::take(&mut *self.sleepers.lock());
            for sleeper in sleepers {
                sleeper.unpark();
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::mpsc;

    struct Channel(Mutex<mpsc::Sender<()>>);
    impl Unpark for Channel {
        fn unpark(&self) {
            self.0.lock().send(()).unwrap();
        }
    }
    fn sleeper() -> (Arc<dyn Unpark>, mpsc::Receiver<()>) {
        let (sender, receiver) = mpsc::channel();
        (Arc::new(Channel(Mutex::new(sender))), receiver)
    }

    #[test]
    fn the_end_wakes_all_that_stayed() {
        let latch = Latch::new();
        let (first, first_woken) = sleeper();
        let (second, second_woken) = sleeper();
        assert!(latch.register(first.clone()));
        assert!(latch.register(second));
        latch.leave(&first);
        let _ = latch.state.start();
        latch.wake(latch.state.finish());
        assert!(first_woken.try_recv().is_err());
        assert!(second_woken.try_recv().is_ok());
    }

    #[test]
    fn it_fires_once() {
        let latch = Latch::new();
        let (sleeper, woken) = sleeper();
        assert!(latch.register(sleeper));
        latch.fire();
        latch.fire();
        assert_eq!(woken.try_iter().count(), 1);
        assert!(latch.state.phase().is_done());
    }

    #[test]
    fn nobody_sleeps_after_the_end() {
        let latch = Latch::new();
        let _ = latch.state.start();
        latch.wake(latch.state.finish());
        assert!(!latch.register(sleeper().0));
    }

    #[test]
    fn no_wake_up_is_lost_between_two_threads() {
        for _ in 0..2_000 {
            let latch = Arc::new(Latch::new());
            let _ = latch.state.start();
            let other = Arc::clone(&latch);
            let ender = std::thread::spawn(move || other.wake(other.state.finish()));
            let (handle, woken) = sleeper();
            if latch.register(handle) {
                woken
                    .recv_timeout(std::time::Duration::from_secs(20))
                    .expect("lost wake-up");
            }
            ender.join().unwrap();
        }
    }
}
