//! What interpreters share to wait for each other: events, queues, locks; and the turns of those
//! who wait.
//!
//! Guarantees, for all three: everything happens under the thing's one lock, which is held for a
//! few instructions and never by who waits for something else; who waits stands in a line and is
//! *called* by whoever has something for it, which is handed over then and there, so that nobody
//! can take it on the way; the line is served in order; who is called is woken, whatever it sleeps
//! in; who leaves the line has been called before that, or never will be.
//! Not guaranteed: that who was called comes for it. Who will not gives it back.
//!
//! `PROTOCOL.md`, "Shared things", has the argument.

pub mod channel;
pub mod event;
pub mod lock;

use super::latch::Unpark;
use super::sync::{Arc, AtomicU32, Mutex, Ordering};
use std::collections::VecDeque;

/// Where somebody waits, or holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub interpreter: i64,
    pub thread: u64,
    /// A loop waits, and no thread sleeps for it.
    pub in_loop: bool,
}

impl Place {
    /// The same, of a loop that runs there.
    #[must_use]
    pub const fn of_loop(self) -> Self {
        Self {
            in_loop: true,
            ..self
        }
    }

    /// Whether who is there goes on in the child of a fork by the thread `own`. Coroutines do not.
    #[cfg(not(loom))]
    const fn survives(self, own: u64) -> bool {
        self.thread == own && !self.in_loop
    }
}

/// What has become of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Fate {
    Waits,
    /// What was waited for is there.
    Called,
    /// It will never be.
    Refused,
}

/// Somebody's turn in a line, with what is handed over at its end.
pub struct Turn<T = ()> {
    fate: AtomicU32,
    /// For the one who waits to take, or, if that one waits to put, to be taken.
    hand: Mutex<Option<T>>,
    bell: Arc<dyn Unpark>,
    pub place: Place,
}

const WAITS: u32 = 0;
const CALLED: u32 = 1;
const REFUSED: u32 = 2;

impl<T> Turn<T> {
    /// `bell` is rung once at most.
    pub fn new(place: Place, bell: Arc<dyn Unpark>, hand: Option<T>) -> Arc<Self> {
        Arc::new(Self {
            fate: AtomicU32::new(WAITS),
            hand: Mutex::new(hand),
            bell,
            place,
        })
    }

    pub fn fate(&self) -> Fate {
        // Acquire: pairs with the release in `end`; what was done before that is seen.
        match self.fate.load(Ordering::Acquire) {
            WAITS => Fate::Waits,
            CALLED => Fate::Called,
            _ => Fate::Refused,
        }
    }

    /// Takes what was handed over; or what was not, of a turn that has left its line.
    pub fn take(&self) -> Option<T> {
        self.hand.lock().take()
    }

    /// Under the thing's lock. `ring` follows, outside of it.
    fn end(&self, fate: u32) {
        // Release: pairs with the acquire in `fate`.
        self.fate.store(fate, Ordering::Release);
    }

    fn give(&self, item: T) {
        *self.hand.lock() = Some(item);
        self.end(CALLED);
    }

    fn ring(&self) {
        self.bell.unpark();
    }
}

/// Those who wait for the same, in order.
type Line<T> = VecDeque<Arc<Turn<T>>>;

/// Ends all turns of a line, for `ring_all` after the lock.
fn end_all<T>(line: &mut Line<T>, fate: u32) -> Line<T> {
    let ended = std::mem::take(line);
    for turn in &ended {
        turn.end(fate);
    }
    ended
}

fn ring_all<T>(ended: impl IntoIterator<Item = Arc<Turn<T>>>) {
    for turn in ended {
        turn.ring();
    }
}

/// Takes a turn out of its line. False: it is not there (any more).
fn step_out<T>(line: &mut Line<T>, turn: &Arc<Turn<T>>) -> bool {
    match line.iter().position(|other| Arc::ptr_eq(other, turn)) {
        Some(place) => line.remove(place).is_some(),
        None => false,
    }
}

/// In the child of a fork: leaves the turns of threads that only the parent has, and of loops, which
/// do not go on. They are not dropped: what they sleep in belongs to those.
#[cfg(not(loom))]
fn forget_others<T>(line: &mut Line<T>, own: u64) {
    let (kept, others): (Line<T>, Line<T>) = std::mem::take(line)
        .into_iter()
        .partition(|turn| turn.place.survives(own));
    *line = kept;
    std::mem::forget(others);
}
