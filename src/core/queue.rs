//! The queue between submitters and workers.
//!
//! Guarantees: first in, first out; what `push` accepted is popped or drained exactly once; after
//! `close` nothing more is accepted, and `pop` ends when the rest is gone. `push` never blocks
//! beyond the short read lock that makes it exclusive with `close`.

use super::idle;
use super::sync::RwLock;
use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};

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
    /// `None` once closed. Dropping the one sender is what ends the receivers' wait.
    sender: RwLock<Option<Sender<T>>>,
    receiver: Receiver<T>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Queue<T> {
    #[must_use]
    pub fn new() -> Self {
        let (sender, receiver) = unbounded();
        Self {
            sender: RwLock::new(Some(sender)),
            receiver,
        }
    }

    /// Gives `item` back if the queue is closed.
    pub fn push(&self, item: T) -> Result<(), T> {
        match &*self.sender.read() {
            // The channel has a receiver for as long as `self` lives.
            Some(sender) => sender.send(item).map_err(|refused| refused.0),
            None => Err(item),
        }
    }

    pub fn try_pop(&self) -> Result<T, Empty> {
        self.receiver.try_recv().map_err(|error| match error {
            TryRecvError::Empty => Empty::ForNow,
            TryRecvError::Disconnected => Empty::ForGood,
        })
    }

    /// Looks for a moment, then sleeps, after a call of `before_sleep`. `None`: closed and drained.
    pub fn pop(&self, before_sleep: impl FnOnce()) -> Option<T> {
        let looked = idle::look(|| match self.try_pop() {
            Ok(item) => Some(Some(item)),
            Err(Empty::ForNow) => None,
            Err(Empty::ForGood) => Some(None),
        });
        looked.unwrap_or_else(|| {
            before_sleep();
            self.receiver.recv().ok()
        })
    }

    pub fn close(&self) {
        *self.sender.write() = None;
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sender.read().is_none()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.receiver.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }
}

#[cfg(test)]
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
        assert_eq!(
            (queue.pop(|| ()), queue.pop(|| ()), queue.pop(|| ())),
            (Some(1), Some(2), None)
        );
        assert_eq!(queue.try_pop(), Err(Empty::ForGood));
    }

    #[test]
    fn close_ends_a_sleeping_pop() {
        let queue = Arc::new(Queue::<u32>::new());
        let other = Arc::clone(&queue);
        let sleeper = std::thread::spawn(move || other.pop(|| ()));
        queue.close();
        assert_eq!(sleeper.join().unwrap(), None);
    }

    #[test]
    fn every_accepted_item_is_popped_once() {
        const ITEMS: usize = 20_000;
        let queue = Arc::new(Queue::new());
        let poppers: Vec<_> = (0..3)
            .map(|_| {
                let queue = Arc::clone(&queue);
                std::thread::spawn(move || {
                    std::iter::from_fn(|| queue.pop(|| ())).collect::<Vec<_>>()
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
