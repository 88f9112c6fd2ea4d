//! A box that many post to and one empties, with a bell that is rung once for each emptying.
//!
//! Guarantees: what was posted is taken by an emptying that begins after the bell of its post, or
//! of an earlier post that nobody has answered yet; so no item stays behind unannounced.

use super::sync::{AtomicBool, Ordering, Store};

#[derive(Debug)]
pub struct Mailbox<T> {
    store: Store<T>,
    /// The bell was rung and not yet answered.
    rung: AtomicBool,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Mailbox<T> {
    #[must_use]
    pub fn new() -> Self {
        Self {
            store: Store::new(),
            rung: AtomicBool::new(false),
        }
    }

    /// Puts an item in. True: the caller has to ring the bell.
    #[must_use]
    pub fn post(&self, item: T) -> bool {
        self.store.push(item);
        // Release: pairs with the acquire in `answer`, which shows the item to whoever answers a
        // bell that had been rung before. Acquire: the poster sees what was done before the
        // answer that it comes after (bridge.rs, `closed`).
        !self.rung.swap(true, Ordering::AcqRel)
    }

    /// Answers the bell, before the last look into the box.
    pub fn answer(&self) {
        // A swap and no store: it reads the last post's, and so sees that post's item. Acquire:
        // pairs with the release in `post`; release: with the acquire there.
        self.rung.swap(false, Ordering::AcqRel);
    }

    /// Asks for another emptying. True: the caller has to ring the bell.
    #[must_use]
    pub fn ring_again(&self) -> bool {
        // AcqRel: as in `post`.
        !self.is_empty() && !self.rung.swap(true, Ordering::AcqRel)
    }

    pub fn take(&self) -> Option<T> {
        self.store.pop()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_bell_is_rung_once_until_it_is_answered() {
        let mailbox = Mailbox::new();
        assert!(mailbox.post(1));
        assert!(!mailbox.post(2));
        mailbox.answer();
        assert_eq!((mailbox.take(), mailbox.take()), (Some(1), Some(2)));
        assert!(mailbox.is_empty());
        assert!(mailbox.post(3));
    }
}
