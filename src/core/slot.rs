//! What a task carries: its call until somebody takes it, its answer from the end on.
//!
//! Guarantees: the call is given to the one who started the task, or dropped by the one who
//! cancelled it; of all who would answer a started task one is let through, and what that one does
//! next makes the end.

#[cfg(not(loom))]
use super::state::Ended;
use super::state::{Cancel, Phase, Start, State};
use super::sync::Mutex;

#[derive(Debug)]
pub struct Slot<C, A>(Mutex<Content<C, A>>);

#[derive(Debug)]
enum Content<C, A> {
    Call(C),
    Nothing,
    Answer(A),
}

impl<C, A> Slot<C, A> {
    #[must_use]
    #[inline]
    pub fn new(call: C) -> Self {
        Self(Mutex::new(Content::Call(call)))
    }

    /// A worker's claim. `None`: cancelled meanwhile, or started by another.
    #[must_use]
    pub fn start(&self, state: &State) -> Option<C> {
        match state.start() {
            // Only the one call that started the task comes here, so the call is still there.
            Start::Run => self.take_call(),
            Start::Cancelled => None,
        }
    }

    /// Leaves the answer of a started task. True for the first, who then calls `State::finish`.
    #[must_use]
    #[inline]
    pub fn settle(&self, state: &State, answer: A) -> bool {
        // Two may come here: the worker, and who gave up waiting for it. The first leaves its
        // answer; after the end it may be gone from here, but the phase tells.
        let mut place = self.0.lock();
        if matches!(*place, Content::Answer(_)) || state.phase() != Phase::Running {
            return false;
        }
        *place = Content::Answer(answer);
        true
    }

    /// Cancels a task that nobody has started. The call is dropped here, under no lock.
    pub fn cancel(&self, state: &State) -> Cancel {
        let cancel = state.cancel();
        if let Cancel::Cancelled(_) = cancel {
            drop(self.take_call());
        }
        cancel
    }

    /// The end, in the child of a fork, of a task that its parent sees to: it is cancelled, or gets
    /// an answer. `None`: it has ended already.
    ///
    /// A lock that is not free is that of a worker, which was at the task's end when the process
    /// forked and is not here; then there is no answer.
    #[cfg(not(loom))]
    pub fn forsake(&self, state: &State, answer: impl FnOnce() -> A) -> Option<Ended> {
        match state.cancel() {
            Cancel::Cancelled(ended) => {
                let call = self.0.try_lock();
                let call = call.map(|mut place| std::mem::replace(&mut *place, Content::Nothing));
                drop(call);
                Some(ended)
            }
            Cancel::TooLate if state.phase() == Phase::Running => {
                let answer = answer();
                if let Some(mut place) = self.0.try_lock() {
                    *place = Content::Answer(answer);
                }
                Some(state.finish())
            }
            Cancel::Already | Cancel::TooLate => None,
        }
    }

    /// The answer, once.
    #[must_use]
    pub fn take_answer(&self) -> Option<A> {
        let mut place = self.0.lock();
        match std::mem::replace(&mut *place, Content::Nothing) {
            Content::Answer(answer) => Some(answer),
            other => {
                *place = other;
                None
            }
        }
    }

    fn take_call(&self) -> Option<C> {
        let mut place = self.0.lock();
        match std::mem::replace(&mut *place, Content::Nothing) {
            Content::Call(call) => Some(call),
            other => {
                *place = other;
                None
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_call_goes_to_who_starts_and_the_answer_out_once() {
        let (slot, state) = (Slot::new(1), State::new());
        assert_eq!(slot.start(&state), Some(1));
        assert_eq!(slot.start(&state), None);
        assert_eq!(slot.cancel(&state), Cancel::TooLate);
        assert!(slot.settle(&state, 2));
        assert!(!slot.settle(&state, 3), "before the end is announced");
        let _ = state.finish();
        assert_eq!(slot.take_answer(), Some(2));
        assert!(
            !slot.settle(&state, 4),
            "the answer is gone, the end is not"
        );
        assert_eq!(slot.take_answer(), None);
    }

    #[test]
    fn what_was_cancelled_has_neither_call_nor_answer() {
        let (slot, state) = (Slot::<_, u32>::new(1), State::new());
        assert!(matches!(slot.cancel(&state), Cancel::Cancelled(_)));
        assert_eq!(slot.start(&state), None);
        assert!(!slot.settle(&state, 2));
        assert_eq!(slot.take_answer(), None);
    }
}
