//! One submitted call, shared by its future, the queue and the worker that runs it.
//!
//! Guarantees: the answer is written before the state says `Finished`; the call's bytes are freed
//! when it is taken or cancelled; a listener is handed out once.
//!
//! The listener is a pointer to a main-interpreter object. Workers carry it, inside the task, to
//! the completer and never look at it: only threads attached to the main interpreter call
//! `set_listener` and `take_listener`.

use crate::core::latch::Latch;
use crate::core::state::{Cancel, Ended, Phase, Start};
use crate::transfer::call::{Answer, Call};
use parking_lot::Mutex;
use std::ptr::NonNull;
use std::time::Duration;

pub struct Task {
    pub latch: Latch,
    /// How long it may run.
    pub timeout: Option<Duration>,
    call: Mutex<Option<Call>>,
    answer: Mutex<Option<Answer>>,
    listener: Mutex<Option<Listener>>,
}

/// An owned reference to a main-interpreter object, opaque to everybody else.
pub struct Listener(pub NonNull<crate::ffi::PyObject>);

// SAFETY: the pointer is only used by threads attached to the main interpreter (module comment);
// moving it through other threads touches nothing behind it.
unsafe impl Send for Listener {}

impl Task {
    #[must_use]
    pub fn new(call: Call) -> Self {
        Self {
            latch: Latch::new(),
            timeout: None,
            call: Mutex::new(Some(call)),
            answer: Mutex::new(None),
            listener: Mutex::new(None),
        }
    }

    /// The task with a limit to its time.
    #[must_use]
    pub fn within(self, timeout: Option<Duration>) -> Self {
        Self { timeout, ..self }
    }

    /// A worker's claim. `None`: cancelled meanwhile.
    #[must_use]
    pub fn start(&self) -> Option<Call> {
        match self.latch.state.start() {
            // Only the one call that started the task comes here, so the call is still there.
            Start::Run => self.call.lock().take(),
            Start::Cancelled => None,
        }
    }

    /// The end of a started task, unless somebody else has ended it. The caller hands it on if
    /// somebody listens.
    ///
    /// `before` is called in between: the end is certain and nobody knows of it.
    pub fn finish(&self, answer: Answer, before: impl FnOnce()) -> Option<Ended> {
        {
            // Two may come here: the worker and who gave up waiting for it (pool.rs). The first
            // leaves its answer; after the end it may be gone from here, but the phase tells.
            let mut place = self.answer.lock();
            if place.is_some() || self.latch.state.phase() != Phase::Running {
                return None;
            }
            *place = Some(answer);
        }
        before();
        let ended = self.latch.state.finish();
        self.latch.wake(ended);
        Some(ended)
    }

    /// Cancels a task that nobody has started.
    pub fn cancel(&self) -> Cancel {
        let cancel = self.latch.state.cancel();
        if let Cancel::Cancelled(ended) = cancel {
            drop(self.call.lock().take());
            self.latch.wake(ended);
        }
        cancel
    }

    /// The answer, once.
    #[must_use]
    pub fn take_answer(&self) -> Option<Answer> {
        self.answer.lock().take()
    }

    /// Asks for delivery to `listener`. Gives it back if the task has ended, or has one already.
    pub fn set_listener(&self, listener: Listener) -> Result<(), Listener> {
        let mut place = self.listener.lock();
        if place.is_some() {
            return Err(listener);
        }
        // Written before the flag: the ender that sees the flag finds the listener.
        *place = Some(listener);
        if self.latch.state.listen() {
            return Ok(());
        }
        Err(place.take().expect("written above, under the lock"))
    }

    /// Puts back what `take_listener` gave, for somebody else to deliver to.
    pub fn return_listener(&self, listener: Listener) {
        *self.listener.lock() = Some(listener);
    }

    #[must_use]
    pub fn take_listener(&self) -> Option<Listener> {
        self.listener.lock().take()
    }
}
