//! A lock that one holds at a time.
//!
//! Guarantees: who waits gets it in the order in which they came, before those that come later; a
//! release hands it to the first, who holds it from then on, asleep or not.

use super::{CALLED, Fate, Line, Place, Turn, ring_all, step_out};
use crate::core::sync::{Arc, Brief};

#[derive(Default)]
pub struct Lock(Brief<Inner>);

#[derive(Default)]
struct Inner {
    /// Nobody waits while there is no holder.
    holder: Option<Place>,
    line: Line<()>,
}

impl Lock {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// False: somebody has it.
    #[must_use]
    pub fn acquire(&self, place: Place) -> bool {
        let mut inner = self.0.lock();
        let free = inner.holder.is_none();
        if free {
            inner.holder = Some(place);
        }
        free
    }

    /// False: it was free, and is now this one's.
    #[must_use]
    pub fn line_up(&self, turn: &Arc<Turn>) -> bool {
        let mut inner = self.0.lock();
        if inner.holder.is_none() {
            inner.holder = Some(turn.place);
            turn.end(CALLED);
            return false;
        }
        inner.line.push_back(Arc::clone(turn));
        true
    }

    /// False: nobody had it.
    #[must_use]
    pub fn release(&self) -> bool {
        let called = {
            let mut inner = self.0.lock();
            if inner.holder.is_none() {
                return false;
            }
            let next = inner.line.pop_front();
            if let Some(turn) = &next {
                turn.end(CALLED);
            }
            inner.holder = next.as_ref().map(|turn| turn.place);
            next
        };
        ring_all(called);
        true
    }

    #[must_use]
    pub fn is_held(&self) -> bool {
        self.0.lock().holder.is_some()
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.lock().line.len()
    }

    /// If it was called before, it has the lock.
    pub fn leave(&self, turn: &Arc<Turn>) {
        step_out(&mut self.0.lock().line, turn);
    }

    /// Leaves, and lets go of the lock if it was called.
    pub fn give_up(&self, turn: &Arc<Turn>) {
        self.leave(turn);
        if turn.fate() == Fate::Called {
            let _ = self.release();
        }
    }
}

#[cfg(not(loom))]
impl Lock {
    /// Keeps others out until `end_fork`, so that the child finds it whole.
    pub fn hold_for_fork(&self) {
        std::mem::forget(self.0.lock());
    }

    /// In the child it is held if the thread that forked has it, and free otherwise; also if a
    /// coroutine of that thread's loop had it.
    ///
    /// # Safety
    /// The calling thread has called `hold_for_fork`; in the child of the fork or in the parent.
    pub unsafe fn end_fork(&self, child: Option<u64>) {
        // SAFETY: held by this thread, by the contract.
        unsafe { self.0.force_unlock() };
        if let Some(own) = child {
            let mut inner = self.0.lock();
            super::forget_others(&mut inner.line, own);
            inner.holder = inner.holder.filter(|place| place.survives(own));
        }
    }
}
