//! One submitted call, shared by its future, the queue and the worker that runs it.
//!
//! Guarantees: the answer is written before the state says `Finished`; the call's bytes are freed
//! when it is taken or cancelled; a listener is handed out once.
//!
//! A listener is a pointer to a main-interpreter object. Workers carry it, inside the task, to the
//! completer or to an event loop's bridge and never look at it: only threads attached to the main
//! interpreter call `set_listener` and `take_listener`, and make and open an `Awaiter`.

use crate::core::latch::Latch;
use crate::core::slot::Slot;
use crate::core::state::{Cancel, Ended};
use crate::transfer::call::{Answer, Call, Label};
use crate::transfer::fallback::Plan;
use crate::transfer::graveyard::Kept;
use parking_lot::Mutex;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub struct Task {
    pub latch: Latch,
    /// The function's name.
    pub label: Label,
    /// Beside, since most have none: a burst is as fast as its tasks are small.
    terms: Option<Box<Terms>>,
    slot: Slot<Call, Answer>,
    listener: Mutex<Option<Listener>>,
    awaiters: Mutex<Vec<Awaiter>>,
    /// With the counts of the `Arc` and the allocator's head it fills whole cache lines: a worker
    /// that ends a task does not take the line of the next one, which main is making.
    _to_the_line: [usize; 2],
}

/// What a tag or a pool says of its tasks.
pub struct Terms {
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// For a function with a fallback.
    pub fallback: Option<Fallback>,
    /// In a queue with a bound.
    pub place: Option<Place>,
}

impl Terms {
    /// A limit to the time, a place in a bounded queue, and no fallback. `None`: not even that.
    #[must_use]
    #[inline]
    pub fn within(timeout: Option<Duration>, place: Option<Place>) -> Option<Box<Self>> {
        (timeout.is_some() || place.is_some()).then(|| {
            Box::new(Self {
                timeout,
                fallback: None,
                place,
            })
        })
    }
}

/// The place of a task in a bounded queue, or in the line before that. The task gives it back when
/// it starts or is cancelled, of which there is one.
pub struct Place {
    keeper: Arc<dyn Keeper>,
    number: AtomicU64,
}

/// Who sees to the places.
pub trait Keeper: Send + Sync {
    /// A task that is in has started, or was cancelled.
    fn left(&self);
    /// One was cancelled that may stand in line yet, by this number.
    fn cancelled(&self, number: u64);
}

impl Place {
    #[must_use]
    pub fn new(keeper: Arc<dyn Keeper>) -> Self {
        Self {
            keeper,
            number: AtomicU64::new(0),
        }
    }

    /// The task stands in line by this number. Only who submits it knows it yet, so nobody else can
    /// cancel it before.
    pub fn stands_in_line(&self, number: u64) {
        // Relaxed: others have the task from this thread, by way of the main GIL.
        self.number.store(number, Ordering::Relaxed);
    }
}

/// Where a task goes if no interpreter can run it.
pub struct Fallback {
    pub plan: Arc<Plan>,
    /// `(function, args, kwargs)` as main has them, for a thread of main. Let go of at the end.
    pub originals: Mutex<Option<Kept>>,
}

/// An owned reference to a main-interpreter object, opaque to everybody else.
pub struct Listener(pub NonNull<crate::ffi::PyObject>);

// SAFETY: the pointer is only used by threads attached to the main interpreter (module comment);
// moving it through other threads touches nothing behind it.
unsafe impl Send for Listener {}

/// What an event loop asked for: to have the outcome of `source` copied to `target`, its own future.
pub struct Awaiter {
    pub carrier: Arc<dyn Carrier>,
    pub source: Listener,
    pub target: Listener,
}

/// The way to an event loop.
pub trait Carrier: Send + Sync {
    /// Called by whoever ended the task, on any thread. Must not block.
    fn carry(self: Arc<Self>, awaiter: Awaiter);
}

impl Task {
    #[must_use]
    #[inline]
    pub fn new(call: Call, terms: Option<Box<Terms>>) -> Self {
        Self {
            latch: Latch::new(),
            label: call.label(),
            terms,
            slot: Slot::new(call),
            listener: Mutex::new(None),
            awaiters: Mutex::new(Vec::new()),
            _to_the_line: [0; 2],
        }
    }

    /// How long it may run.
    #[must_use]
    #[inline]
    pub fn timeout(&self) -> Option<Duration> {
        self.terms.as_ref().and_then(|terms| terms.timeout)
    }

    /// Where it goes if no interpreter can run it.
    #[must_use]
    #[inline]
    pub fn fallback(&self) -> Option<&Fallback> {
        self.terms
            .as_ref()
            .and_then(|terms| terms.fallback.as_ref())
    }

    /// Its place in a bounded queue.
    #[must_use]
    #[inline]
    pub fn place(&self) -> Option<&Place> {
        self.terms.as_ref().and_then(|terms| terms.place.as_ref())
    }

    /// A worker's claim. `None`: cancelled meanwhile.
    #[must_use]
    #[inline]
    pub fn start(&self) -> Option<Call> {
        let call = self.slot.start(&self.latch.state);
        if call.is_some()
            && let Some(place) = self.place()
        {
            place.keeper.left();
        }
        call
    }

    /// The end of a started task, unless somebody else has ended it. The caller hands it on if
    /// somebody listens.
    ///
    /// `before` is called in between: the end is certain and nobody knows of it.
    pub fn finish(&self, answer: Answer, before: impl FnOnce()) -> Option<Ended> {
        if !self.slot.settle(&self.latch.state, answer) {
            return None;
        }
        before();
        self.let_go();
        let ended = self.latch.state.finish();
        self.tell(ended);
        Some(ended)
    }

    /// Cancels a task that nobody has started.
    pub fn cancel(&self) -> Cancel {
        let cancel = self.slot.cancel(&self.latch.state);
        if let Cancel::Cancelled(ended) = cancel {
            if let Some(place) = self.place() {
                // Relaxed: see `stands_in_line`.
                match place.number.load(Ordering::Relaxed) {
                    0 => place.keeper.left(),
                    number => place.keeper.cancelled(number),
                }
            }
            self.let_go();
            self.tell(ended);
        }
        cancel
    }

    /// The end, in the child of a fork, of a task that its parent sees to: cancelled if it waits, with
    /// `answer` if it runs. Who sleeps is woken; loops are the parent's.
    pub fn forsake(&self, answer: impl FnOnce() -> Answer) {
        if let Some(ended) = self.slot.forsake(&self.latch.state, answer) {
            self.let_go();
            self.latch.wake(ended);
        }
    }

    /// Of what is main's: nobody needs it any more.
    fn let_go(&self) {
        if let Some(fallback) = self.fallback() {
            drop(fallback.originals.lock().take());
        }
    }

    /// Those who sleep and the event loops; who listens is the caller's business.
    fn tell(&self, ended: Ended) {
        self.latch.wake(ended);
        if ended.awaited {
            let awaiters = std::mem::take(&mut *self.awaiters.lock());
            for awaiter in awaiters {
                Arc::clone(&awaiter.carrier).carry(awaiter);
            }
        }
    }

    /// Has `awaiter` carried to its loop at the end. Gives it back if the task has ended.
    pub fn expect(&self, awaiter: Awaiter) -> Result<(), Awaiter> {
        let mut awaiters = self.awaiters.lock();
        // The flag is raised under the lock: an ender that sees it takes the lock after us.
        if !self.latch.state.expect() {
            return Err(awaiter);
        }
        awaiters.push(awaiter);
        Ok(())
    }

    /// Calls `look` for each awaiter that has not been carried yet, under the lock.
    pub fn awaiters(&self, look: impl FnMut(&Awaiter)) {
        self.awaiters.lock().iter().for_each(look);
    }

    /// The answer, once.
    #[must_use]
    pub fn take_answer(&self) -> Option<Answer> {
        self.slot.take_answer()
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
