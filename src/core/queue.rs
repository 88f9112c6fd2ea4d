//! The queue between submitters and workers.
//!
//! Guarantees: first in, first out; what `push` accepted is popped or drained exactly once; after
//! `close` nothing more is accepted, and `pop` ends when the rest is gone; while the queue is paused
//! nobody sleeps in `pop`; no item waits beside a sleeping worker (`sleepers.rs`). `push` never blocks beyond the short read lock that makes it
//! exclusive with `close`, and, when it wakes somebody, the lock of the sleepers' list.

use super::sleepers::{Looker, Sleepers};
use super::sync::{AtomicBool, CachePadded, Ordering, RwLock, Store};

/// Why nothing was popped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// Nothing now.
    ForNow,
    /// Closed and drained: nothing ever again.
    ForGood,
}

#[derive(Debug)]
pub struct Queue<T> {
    store: Store<T>,
    /// Written by every push, so on a line of its own. Read for a push, written for the close.
    gate: CachePadded<RwLock<()>>,
    closed: AtomicBool,
    paused: AtomicBool,
    sleepers: Sleepers,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Queue<T> {
    #[must_use]
    pub fn new() -> Self {
        Self::with_lookers(Sleepers::most_lookers())
    }

    /// A queue at which no more than `most_lookers` (at least 1) look at a time.
    #[must_use]
    pub fn with_lookers(most_lookers: u32) -> Self {
        Self {
            store: Store::new(),
            gate: CachePadded::new(RwLock::new(())),
            closed: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            sleepers: Sleepers::new(most_lookers),
        }
    }

    /// Gives `item` back if the queue is closed.
    pub fn push(&self, item: T) -> Result<(), T> {
        {
            let _gate = self.gate.read();
            if self.is_closed() {
                return Err(item);
            }
            self.store.push(item);
        }
        self.sleepers.pushed();
        Ok(())
    }

    pub fn try_pop(&self) -> Result<T, Empty> {
        if let Some(item) = self.store.pop() {
            return Ok(item);
        }
        if !self.is_closed() {
            return Err(Empty::ForNow);
        }
        // What was accepted before the close is in by now, but maybe was not at the first look.
        self.store.pop().ok_or(Empty::ForGood)
    }

    /// Looks for a moment, then sleeps. `None`: closed and drained, or paused.
    pub fn pop(&self, looker: &mut Looker) -> Option<T> {
        self.pop_with(looker, || ())
    }

    /// The same, with something to do before each sleep.
    pub fn pop_with(&self, looker: &mut Looker, before_sleep: impl Fn()) -> Option<T> {
        self.sleepers.wait(
            looker,
            || match self.try_pop() {
                Ok(item) => Some(Some(item)),
                Err(Empty::ForGood) => Some(None),
                Err(Empty::ForNow) => self.is_paused().then_some(None),
            },
            || self.len(),
            || self.is_empty() && !self.is_closed() && !self.is_paused(),
            before_sleep,
        )
    }

    pub fn close(&self) {
        {
            let _gate = self.gate.write();
            // Release: pairs with `is_closed`. Whoever sees it sees every accepted item too: each
            // was put in under a read lock that was released before the write lock was taken.
            self.closed.store(true, Ordering::Release);
        }
        self.sleepers.wake_all();
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        // Acquire: pairs with the release in `close`.
        self.closed.load(Ordering::Acquire)
    }

    /// Has every `pop` end that finds nothing, now and until `resume`, instead of waiting. Items may
    /// still be put in. Who wants to leave the rest in the queue asks `is_paused` before a pop.
    pub fn pause(&self) {
        // Release: pairs with `is_paused`. Before the sleepers are woken, as in `close`.
        self.paused.store(true, Ordering::Release);
        self.sleepers.wake_all();
    }

    pub fn resume(&self) {
        // Release: pairs with `is_paused`.
        self.paused.store(false, Ordering::Release);
    }

    #[must_use]
    pub fn is_paused(&self) -> bool {
        // Acquire: pairs with the releases in `pause` and `resume`.
        self.paused.load(Ordering::Acquire)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.store.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::core::sync::Arc;

    #[test]
    fn first_in_first_out_and_the_rest_after_close() {
        let queue = Queue::new();
        queue.push(1).unwrap();
        queue.push(2).unwrap();
        queue.close();
        assert_eq!(queue.push(3), Err(3));
        let mut looker = Looker::new();
        let mut pop = || queue.pop(&mut looker);
        assert_eq!((pop(), pop(), pop()), (Some(1), Some(2), None));
        assert_eq!(queue.try_pop(), Err(Empty::ForGood));
    }

    #[test]
    fn close_ends_a_sleeping_pop() {
        let queue = Arc::new(Queue::<u32>::new());
        let other = Arc::clone(&queue);
        let sleeper = std::thread::spawn(move || other.pop(&mut Looker::new()));
        queue.close();
        assert_eq!(sleeper.join().unwrap(), None);
    }

    #[test]
    fn a_pause_ends_a_sleeping_pop_and_keeps_what_comes() {
        let queue = Arc::new(Queue::<u32>::new());
        let other = Arc::clone(&queue);
        let sleeper = std::thread::spawn(move || other.pop(&mut Looker::new()));
        queue.pause();
        assert_eq!(sleeper.join().unwrap(), None);
        queue.push(1).unwrap();
        queue.resume();
        assert_eq!(queue.pop(&mut Looker::new()), Some(1));
    }

    #[test]
    fn every_accepted_item_is_popped_once() {
        const ITEMS: usize = 20_000;
        let queue = Arc::new(Queue::new());
        let poppers: Vec<_> = (0..3)
            .map(|_| {
                let queue = Arc::clone(&queue);
                std::thread::spawn(move || {
                    let mut looker = Looker::new();
                    std::iter::from_fn(|| queue.pop(&mut looker)).collect::<Vec<_>>()
                })
            })
            .collect();
        let pushers: Vec<_> = (0..2)
            .map(|half| {
                let queue = Arc::clone(&queue);
                std::thread::spawn(move || {
                    for item in 0..ITEMS / 2 {
                        queue.push(half * (ITEMS / 2) + item).unwrap();
                    }
                })
            })
            .collect();
        for pusher in pushers {
            pusher.join().unwrap();
        }
        queue.close();
        let mut popped: Vec<_> = poppers
            .into_iter()
            .flat_map(|p| p.join().unwrap())
            .collect();
        popped.sort_unstable();
        assert_eq!(popped, (0..ITEMS).collect::<Vec<_>>());
    }
}
