//! How long an interpreter may take to close, and who is told if it takes longer.
//!
//! Guarantees: what runs in a close that takes too long is named, once; nobody but the end of the
//! program waits for it from then on, unless it may take as long as it takes (threads that are no
//! daemons, as at the end of any program). Nobody waits for it to learn of a start that has failed.
//! Not guaranteed: that it ends.

use super::{Pool, Seat};
use crate::transfer::call::Broken;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// A close that is watched, by a thread that lives no longer than it: where nothing runs any more,
/// a fork finds one thread.
pub struct Watch {
    shared: Arc<Shared>,
    /// `None`: there was none to be had, and nobody is told.
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    closing: Mutex<Option<Closing>>,
    /// Why the worker could not start, until that is seen to.
    failure: Mutex<Option<Broken>>,
    over: AtomicBool,
}

/// What a worker that closes its interpreter is at.
struct Closing {
    what: String,
    /// Who waits goes on waiting.
    firm: bool,
    since: Instant,
    told: bool,
}

impl Watch {
    /// The worker closes its interpreter, and is at this; with true it may take as long as it
    /// takes. `None`: at nothing that is to be timed.
    pub fn step(&self, what: Option<(String, bool)>) {
        let now = Instant::now();
        {
            let mut place = self.shared.closing.lock();
            let before = place.take();
            *place = what.map(|(what, firm)| Closing {
                what,
                firm,
                // One time for all that is not firm in a row.
                since: before
                    .as_ref()
                    .filter(|before| !before.firm && !firm)
                    .map_or(now, |before| before.since),
                told: before.is_some_and(|before| before.told && before.firm == firm),
            });
        }
        self.wake();
    }

    /// The interpreter is closed. Gives why the worker could not start, if that is yet to be seen to.
    #[must_use]
    pub fn end(&self) -> Option<Broken> {
        // Release: pairs with the acquire in `watch`.
        self.shared.over.store(true, Ordering::Release);
        self.wake();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // It calls nothing of the user's, and has no panic to tell of.
            let _ = thread.join();
        }
        self.shared.failure.lock().take()
    }

    fn wake(&self) {
        if let Some(thread) = &*self.thread.lock() {
            thread.thread().unpark();
        }
    }
}

impl Pool {
    /// Watches the close of `seat`, whose worker could not start if there is a `failure`, until
    /// `Watch::end`.
    #[must_use]
    pub fn watch_close(self: &Arc<Self>, seat: &Arc<Seat>, failure: Option<Broken>) -> Watch {
        if failure.is_some() && !seat.admission.fail() {
            seat.ready(); // it never will be, and does not get the place it stands by for
        }
        let shared = Arc::new(Shared {
            failure: Mutex::new(failure),
            ..Shared::default()
        });
        let (pool, seat, own) = (Arc::clone(self), Arc::clone(seat), Arc::clone(&shared));
        let thread = thread::Builder::new().name("subpool-closing".to_owned());
        let thread = thread.spawn(move || {
            // Acquire: pairs with the release in `end`.
            while !own.over.load(Ordering::Acquire) {
                let now = Instant::now();
                match pool.look_at_close(&seat, &own, now) {
                    Some(at) => thread::park_timeout(at - now),
                    None => thread::park(),
                }
            }
        });
        Watch {
            shared,
            thread: Mutex::new(thread.ok()),
        }
    }

    /// Tells of a close that takes too long, or when it will have.
    fn look_at_close(&self, seat: &Arc<Seat>, shared: &Shared, now: Instant) -> Option<Instant> {
        let (what, firm) = {
            let mut place = shared.closing.lock();
            let closing = place.as_mut().filter(|closing| !closing.told)?;
            let due = closing.since.checked_add(self.farewell())?;
            if now < due {
                return Some(due);
            }
            closing.told = true;
            (closing.what.clone(), closing.firm)
        };
        (self.settings.upcalls.warn_of_close)(seat.name.clone(), what, self.farewell());
        // Before nobody waits for it any more: who waited finds what it was to do ended.
        self.see_to_failure(seat, shared);
        if !firm {
            self.retire(seat);
        }
        None
    }

    /// The worker of `seat` has left its loop, but its interpreter has threads that do not end.
    /// Nobody waits for it any more but the end of the program.
    ///
    /// The calling thread is the worker's, detached.
    pub fn overstays(&self, seat: &Arc<Seat>, watch: &Watch, threads: Vec<String>) {
        thread::scope(|scope| {
            let see_to_failure = || self.see_to_failure(seat, &watch.shared);
            // No thread to be had: then it is seen to when the interpreter is closed.
            drop(thread::Builder::new().spawn_scoped(scope, see_to_failure));
        });
        (self.settings.upcalls.warn_of_threads)(seat.name.clone(), threads, self.farewell());
        self.retire(seat);
    }

    /// The worker of `seat` is not tried again if it could not start: that takes too long.
    ///
    /// The calling thread has no thread state.
    fn see_to_failure(&self, seat: &Seat, shared: &Shared) {
        let failure = shared.failure.lock().take();
        let Some(broken) = failure else { return };
        if seat.admission.fail() {
            self.break_down(broken);
            seat.admission.abandon();
        } else {
            self.tell_of_standby(&broken);
        }
    }

    /// Nobody waits for this one any more but the end of the program.
    pub(super) fn retire(&self, seat: &Arc<Seat>) {
        let is_it = |other: &Arc<Seat>| Arc::ptr_eq(other, seat);
        {
            let (mut seats, mut leaving) = (self.seats.lock(), self.leaving.lock());
            seats.retain(|other| !is_it(other));
            leaving.retain(|other| !is_it(other));
            self.width.set(seats.len());
            let mut retired = self.retired.lock();
            // It is if it was given up before; and it was in neither list if it only stood by.
            if !retired.iter().any(is_it) {
                retired.push(Arc::clone(seat));
            }
        }
        seat.ready();
        seat.vacated.fire();
    }
}
