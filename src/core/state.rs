//! The state of one task in one atomic word.
//!
//! Guarantees: a task runs at most once; it ends exactly once, finished or cancelled; whoever
//! finishes it learns in the same step whether somebody listens or sleeps, so no wake-up is lost.
//! Not guaranteed: the word orders nothing but itself and what is written before `finish`.
//!
//! ```text
//!             start              finish
//!   PENDING ─────────► RUNNING ─────────► FINISHED
//!      │ cancel
//!      └─────────► CANCELLED
//! ```
//!
//! Beside the phase stand four flags, each set once and never cleared: `LISTENED` (a main-side
//! listener wants the end delivered), `PUBLISHED` (the delivery has happened), `PARKED` (a thread
//! sleeps in the latch), `AWAITED` (an event loop wants to be told).

use super::sync::{AtomicU32, Ordering};

const PHASE: u32 = 0b11;
const LISTENED: u32 = 0b0_0100;
const PUBLISHED: u32 = 0b0_1000;
const PARKED: u32 = 0b1_0000;
const AWAITED: u32 = 0b10_0000;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Pending,
    Running,
    Finished,
    Cancelled,
}

impl Phase {
    const fn of(word: u32) -> Self {
        match word & PHASE {
            0 => Self::Pending,
            1 => Self::Running,
            2 => Self::Finished,
            _ => Self::Cancelled,
        }
    }

    #[must_use]
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Finished | Self::Cancelled)
    }
}

/// What a worker may do with the task it took from the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Start {
    Run,
    Cancelled,
}

/// What the one who ended a task owes to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Ended {
    /// Somebody listens: hand the task to the completer.
    pub listened: bool,
    /// Somebody sleeps: wake the latch.
    pub parked: bool,
    /// An event loop waits: tell it.
    pub awaited: bool,
}

impl Ended {
    const fn of(word: u32) -> Self {
        Self {
            listened: word & LISTENED != 0,
            parked: word & PARKED != 0,
            awaited: word & AWAITED != 0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Cancel {
    /// This call cancelled the task.
    Cancelled(Ended),
    /// An earlier call did.
    Already,
    /// It runs or has ended.
    TooLate,
}

/// The atomic word.
#[derive(Debug)]
pub struct State(AtomicU32);

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// The true phase, whatever listeners have been told.
    #[must_use]
    pub fn phase(&self) -> Phase {
        // Acquire: pairs with the release in `finish`, so a reader of Finished sees the outcome.
        Phase::of(self.0.load(Ordering::Acquire))
    }

    /// The phase as a listener may see it.
    ///
    /// A listened-to task changes for its listeners when its end is delivered, under their lock,
    /// and not a moment earlier: `as_completed` counts a future twice otherwise.
    #[must_use]
    pub fn visible(&self) -> Phase {
        // Acquire: as in `phase`.
        let word = self.0.load(Ordering::Acquire);
        let phase = Phase::of(word);
        if phase.is_done() && word & LISTENED != 0 && word & PUBLISHED == 0 {
            return if phase == Phase::Cancelled {
                Phase::Pending
            } else {
                Phase::Running
            };
        }
        phase
    }

    /// Pending → Running, by the worker that took the task.
    pub fn start(&self) -> Start {
        // Acquire on success and failure: pairs with the queue's hand-over; a canceller's writes
        // are not read. Release: none of ours are read through it, the flags ride along.
        match self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                (word & PHASE == 0).then_some(word | 1)
            }) {
            Ok(_) => Start::Run,
            Err(_) => Start::Cancelled,
        }
    }

    /// Running → Finished, by the worker that ran it, after the outcome is written.
    pub fn finish(&self) -> Ended {
        // 1 ^ 3 = 2. AcqRel: the release pairs with the acquire in `phase` and `visible` and
        // publishes the outcome; the acquire pairs with `listen` and `park`, whose writes to the
        // listener's slot and the latch this thread reads next.
        let before = self.0.fetch_xor(0b11, Ordering::AcqRel);
        debug_assert_eq!(Phase::of(before), Phase::Running);
        Ended::of(before)
    }

    /// Pending → Cancelled, by anybody.
    pub fn cancel(&self) -> Cancel {
        // AcqRel: as in `finish`.
        match self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                (word & PHASE == 0).then_some(word | 0b11)
            }) {
            Ok(before) => Cancel::Cancelled(Ended::of(before)),
            Err(word) if Phase::of(word) == Phase::Cancelled => Cancel::Already,
            Err(_) => Cancel::TooLate,
        }
    }

    /// Asks for delivery. False: the task has ended and nothing will be delivered.
    #[must_use]
    pub fn listen(&self) -> bool {
        self.raise(LISTENED)
    }

    /// Announces a sleeper. False: the task has ended, do not sleep.
    #[must_use]
    pub fn park(&self) -> bool {
        self.raise(PARKED)
    }

    /// Announces an event loop. False: the task has ended, there is nothing to wait for.
    #[must_use]
    pub fn expect(&self) -> bool {
        self.raise(AWAITED)
    }

    fn raise(&self, flag: u32) -> bool {
        // Release: pairs with the acquire in `finish` and `cancel`, which read what was written
        // before the flag. Acquire on failure: the outcome may be read at once.
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                (!Phase::of(word).is_done()).then_some(word | flag)
            })
            .is_ok()
    }

    /// Makes the end visible to listeners. True for the one call that did.
    #[must_use]
    pub fn publish(&self) -> bool {
        // AcqRel: pairs with `visible` in a thread that then reads what the publisher wrote.
        self.0.fetch_or(PUBLISHED, Ordering::AcqRel) & PUBLISHED == 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_task_runs_once_and_ends_once() {
        let state = State::new();
        assert_eq!(state.phase(), Phase::Pending);
        assert_eq!(state.start(), Start::Run);
        assert_eq!(state.start(), Start::Cancelled);
        assert_eq!(state.cancel(), Cancel::TooLate);
        assert_eq!(
            state.finish(),
            Ended {
                listened: false,
                parked: false,
                awaited: false
            }
        );
        assert_eq!(state.phase(), Phase::Finished);
        assert_eq!(state.cancel(), Cancel::TooLate);
    }

    #[test]
    fn a_cancelled_task_does_not_start() {
        let state = State::new();
        assert_eq!(
            state.cancel(),
            Cancel::Cancelled(Ended {
                listened: false,
                parked: false,
                awaited: false
            })
        );
        assert_eq!(state.cancel(), Cancel::Already);
        assert_eq!(state.start(), Start::Cancelled);
        assert_eq!(state.phase(), Phase::Cancelled);
    }

    #[test]
    fn the_end_tells_who_waits() {
        let state = State::new();
        assert!(state.listen());
        let _ = state.start();
        assert!(state.park());
        assert!(state.expect());
        assert_eq!(
            state.finish(),
            Ended {
                listened: true,
                parked: true,
                awaited: true
            }
        );
        assert!(!state.park());
        assert!(!state.listen());
        assert!(!state.expect());
    }

    #[test]
    fn listeners_see_the_end_only_once_it_is_published() {
        let state = State::new();
        assert!(state.listen());
        let _ = state.start();
        let _ = state.finish();
        assert_eq!(state.visible(), Phase::Running);
        assert_eq!(state.phase(), Phase::Finished);
        assert!(state.publish());
        assert!(!state.publish());
        assert_eq!(state.visible(), Phase::Finished);
    }

    #[test]
    fn a_late_listener_sees_the_end_at_once() {
        let state = State::new();
        let _ = state.start();
        let _ = state.finish();
        assert!(!state.listen());
        assert_eq!(state.visible(), Phase::Finished);
    }
}
