//! A flag that others wait for.
//!
//! Guarantees: who waits is called by the first `set` after it came, also if the flag is cleared at
//! once; nobody waits while the flag is set.

use super::{CALLED, Line, Turn, end_all, ring_all, step_out};
use crate::core::sync::{Arc, AtomicBool, Brief, Ordering};

#[derive(Default)]
pub struct Event {
    /// Written under the lock.
    set: AtomicBool,
    line: Brief<Line<()>>,
}

impl Event {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn is_set(&self) -> bool {
        // Acquire: pairs with the release in `set`; who sees it set sees what was done before.
        self.set.load(Ordering::Acquire)
    }

    pub fn set(&self) {
        let called = {
            let mut line = self.line.lock();
            // Release: pairs with `is_set`.
            self.set.store(true, Ordering::Release);
            end_all(&mut line, CALLED)
        };
        ring_all(called);
    }

    pub fn clear(&self) {
        let _line = self.line.lock();
        // Relaxed: there is nothing before it that anybody would have to see.
        self.set.store(false, Ordering::Relaxed);
    }

    /// False: it is set, do not wait.
    #[must_use]
    pub fn line_up(&self, turn: &Arc<Turn>) -> bool {
        // Under the lock: a `set` that comes after this look finds the turn in the line.
        let mut line = self.line.lock();
        // Relaxed: written under this lock; what was done before a `set`, that shows, too.
        let waits = !self.set.load(Ordering::Relaxed);
        if waits {
            line.push_back(Arc::clone(turn));
        }
        waits
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.line.lock().len()
    }

    pub fn leave(&self, turn: &Arc<Turn>) {
        step_out(&mut self.line.lock(), turn);
    }
}

#[cfg(not(loom))]
impl Event {
    /// Keeps others out until `end_fork`, so that the child finds it whole.
    pub fn hold_for_fork(&self) {
        std::mem::forget(self.line.lock());
    }

    /// # Safety
    /// The calling thread has called `hold_for_fork`; in the child of the fork or in the parent.
    pub unsafe fn end_fork(&self, child: Option<u64>) {
        // SAFETY: held by this thread, by the contract.
        unsafe { self.line.force_unlock() };
        if let Some(own) = child {
            super::forget_others(&mut self.line.lock(), own);
        }
    }
}
