//! A queue of items, with or without a bound, as `queue.Queue` has it.
//!
//! Guarantees: items come out in the order in which they went in, each to one getter; getters are
//! served in the order in which they came, and putters that wait for room as well, before those
//! that come later; what a getter was handed and does not want goes back to the front; after
//! `shut` nobody waits: putters are refused, getters when there is nothing left; what comes back
//! after everything was dropped is dropped, too.

use super::{CALLED, Fate, Line, REFUSED, Turn, end_all, ring_all, step_out};
use crate::core::sync::{Arc, Brief};
use std::collections::VecDeque;

pub struct Channel<T>(Brief<Inner<T>>);

/// Whom to ring for, after the lock.
type Called<T> = Option<Arc<Turn<T>>>;

/// Getters wait only while there is no item, putters only while there is no room.
struct Inner<T> {
    items: VecDeque<T>,
    most: usize,
    getters: Line<T>,
    /// Each with its item in its hand.
    putters: Line<T>,
    /// Items that were accepted and not reported as done.
    unfinished: usize,
    joiners: Line<T>,
    shut: bool,
    /// What there was has been dropped.
    emptied: bool,
}

/// Why something cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not now: full, or empty.
    Now,
    Shut,
}

/// What came of lining up.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Standing {
    InLine,
    Done,
    Shut,
}

impl<T> Channel<T> {
    /// `most` is how many items there may be; 0: any number.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self(Brief::new(Inner {
            items: VecDeque::new(),
            most: if most == 0 { usize::MAX } else { most },
            getters: Line::new(),
            putters: Line::new(),
            unfinished: 0,
            joiners: Line::new(),
            shut: false,
            emptied: false,
        }))
    }

    pub fn put(&self, item: T) -> Result<(), (T, Refusal)> {
        let called = {
            let mut inner = self.0.lock();
            if inner.shut {
                return Err((item, Refusal::Shut));
            }
            if !inner.has_room() {
                return Err((item, Refusal::Now));
            }
            inner.accept(item)
        };
        ring_all(called);
        Ok(())
    }

    /// Puts what `turn` has in its hand, or lines up for room.
    pub fn put_or_line_up(&self, turn: &Arc<Turn<T>>) -> Standing {
        let called = {
            let mut inner = self.0.lock();
            if inner.shut {
                return Standing::Shut;
            }
            if !inner.has_room() {
                inner.putters.push_back(Arc::clone(turn));
                return Standing::InLine;
            }
            let Some(item) = turn.take() else {
                return Standing::Done; // it was put before
            };
            turn.end(CALLED);
            inner.accept(item)
        };
        ring_all(called);
        Standing::Done
    }

    pub fn get(&self) -> Result<T, Refusal> {
        let (item, called) = self.0.lock().remove()?;
        ring_all(called);
        Ok(item)
    }

    /// Gets an item into the hand of `turn`, or lines up for one.
    pub fn get_or_line_up(&self, turn: &Arc<Turn<T>>) -> Standing {
        let called = {
            let mut inner = self.0.lock();
            match inner.remove() {
                Ok((item, called)) => {
                    turn.give(item);
                    called
                }
                Err(Refusal::Shut) => return Standing::Shut,
                Err(Refusal::Now) => {
                    inner.getters.push_back(Arc::clone(turn));
                    return Standing::InLine;
                }
            }
        };
        ring_all(called);
        Standing::Done
    }

    /// Waits for all items to be reported as done.
    pub fn join_or_line_up(&self, turn: &Arc<Turn<T>>) -> Standing {
        let mut inner = self.0.lock();
        if inner.unfinished == 0 {
            return Standing::Done;
        }
        inner.joiners.push_back(Arc::clone(turn));
        Standing::InLine
    }

    /// An item was dealt with. False: there was none left.
    #[must_use]
    pub fn task_done(&self) -> bool {
        let called = {
            let mut inner = self.0.lock();
            if inner.unfinished == 0 {
                return false;
            }
            inner.finish_one()
        };
        ring_all(called);
        true
    }

    /// Leaves whichever line it stands in. What it has in its hand after that is its own: its item
    /// if it was not put, one that it was given if it was called.
    pub fn leave(&self, turn: &Arc<Turn<T>>) {
        let mut inner = self.0.lock();
        let _ = step_out(&mut inner.getters, turn)
            || step_out(&mut inner.putters, turn)
            || step_out(&mut inner.joiners, turn);
    }

    /// Leaves, and gives back what it was called for.
    pub fn give_up(&self, turn: &Arc<Turn<T>>, gets: bool) {
        self.leave(turn);
        if gets
            && turn.fate() == Fate::Called
            && let Some(item) = turn.take()
        {
            self.give_back(item);
        }
    }

    /// Takes back what a getter does not want: the next one has it, or it is the first again.
    pub fn give_back(&self, item: T) {
        let (dropped, called) = {
            let mut inner = self.0.lock();
            if inner.emptied {
                // Nobody would ever get it, and who joins would wait for that.
                (Some(item), inner.finish_one())
            } else if let Some(getter) = inner.getters.pop_front() {
                getter.give(item);
                (None, Line::from([getter]))
            } else {
                inner.items.push_front(item);
                (None, Line::new())
            }
        };
        ring_all(called);
        drop(dropped);
    }

    /// Accepts no more; `now` drops what there is.
    pub fn shut(&self, now: bool) {
        let (dropped, called) = {
            let mut inner = self.0.lock();
            inner.shut = true;
            inner.emptied |= now;
            let mut called = end_all(&mut inner.putters, REFUSED);
            called.extend(end_all(&mut inner.getters, REFUSED));
            let dropped = if now {
                std::mem::take(&mut inner.items)
            } else {
                VecDeque::new()
            };
            for _ in 0..dropped.len() {
                called.extend(inner.finish_one());
            }
            (dropped, called)
        };
        ring_all(called);
        drop(dropped);
    }

    /// Takes all items out, of a channel that nobody else has.
    pub fn take_all(&mut self) -> VecDeque<T> {
        std::mem::take(&mut self.0.lock().items)
    }

    /// How many wait, for whatever.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let inner = self.0.lock();
        inner.getters.len() + inner.putters.len() + inner.joiners.len()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().items.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Items that were accepted and not reported as done.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.0.lock().unfinished
    }

    #[must_use]
    pub fn is_shut(&self) -> bool {
        self.0.lock().shut
    }

    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.0.lock().has_room()
    }
}

impl<T> Inner<T> {
    fn has_room(&self) -> bool {
        self.items.len() < self.most && self.putters.is_empty()
    }

    /// Takes an item in; gives whom to ring for.
    fn accept(&mut self, item: T) -> Called<T> {
        self.unfinished += 1;
        if let Some(getter) = self.getters.pop_front() {
            getter.give(item);
            return Some(getter);
        }
        self.items.push_back(item);
        None
    }

    /// Takes the first item out, and lets the first putter in.
    fn remove(&mut self) -> Result<(T, Called<T>), Refusal> {
        let none = if self.shut {
            Refusal::Shut
        } else {
            Refusal::Now
        };
        let item = self.items.pop_front().ok_or(none)?;
        let mut called = None;
        // What was given back may have been one too many.
        if self.items.len() < self.most
            && let Some(putter) = self.putters.pop_front()
        {
            if let Some(waiting) = putter.take() {
                self.items.push_back(waiting);
                self.unfinished += 1;
            }
            putter.end(CALLED);
            called = Some(putter);
        }
        Ok((item, called))
    }

    fn finish_one(&mut self) -> Line<T> {
        self.unfinished = self.unfinished.saturating_sub(1);
        if self.unfinished == 0 {
            return end_all(&mut self.joiners, CALLED);
        }
        Line::new()
    }
}

#[cfg(not(loom))]
impl<T> Channel<T> {
    /// Keeps others out until `end_fork`, so that the child finds it whole.
    pub fn hold_for_fork(&self) {
        std::mem::forget(self.0.lock());
    }

    /// # Safety
    /// The calling thread has called `hold_for_fork`; in the child of the fork or in the parent.
    pub unsafe fn end_fork(&self, child: Option<u64>) {
        // SAFETY: held by this thread, by the contract.
        unsafe { self.0.force_unlock() };
        if let Some(own) = child {
            let mut inner = self.0.lock();
            super::forget_others(&mut inner.getters, own);
            super::forget_others(&mut inner.putters, own);
            super::forget_others(&mut inner.joiners, own);
        }
    }
}
