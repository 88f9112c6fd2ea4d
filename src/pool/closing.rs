//! How long an interpreter may take to close, and who is told if it takes longer.
//!
//! Guarantees: what runs in a close that takes too long is named, once; nobody but the end of the
//! program waits for it from then on, unless it may take as long as it takes (threads that are no
//! daemons, as at the end of any program).
//! Not guaranteed: that it ends.

use super::{Pool, Seat, look_at_all};
use crate::warden;
use std::sync::Arc;
use std::time::Instant;

/// What a worker that closes its interpreter is at.
pub struct Closing {
    what: String,
    /// Who waits goes on waiting.
    firm: bool,
    since: Instant,
    told: bool,
}

impl Pool {
    /// The worker of `seat` closes its interpreter, and is at this; with true it may take as long
    /// as it takes. `None`: at nothing that is to be timed.
    pub fn closes(&self, seat: &Seat, what: Option<(String, bool)>) {
        let now = Instant::now();
        {
            let mut place = seat.closing.lock();
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
            if place.is_none() {
                return;
            }
        }
        // No thread to be had: then nobody is told.
        if warden::start(look_at_all).is_ok()
            && let Some(at) = now.checked_add(self.farewell())
        {
            warden::wake_by(at);
        }
    }

    /// Tells of a close that takes too long, or when it will have.
    pub(super) fn look_at_close(&self, seat: &Arc<Seat>, now: Instant) -> Option<Instant> {
        let (what, firm) = {
            let mut place = seat.closing.lock();
            let closing = place.as_mut().filter(|closing| !closing.told)?;
            let due = closing.since.checked_add(self.farewell())?;
            if now < due {
                return Some(due);
            }
            closing.told = true;
            (closing.what.clone(), closing.firm)
        };
        (self.settings.upcalls.warn_of_close)(seat.name.clone(), what, self.farewell());
        if !firm {
            self.retire(seat);
        }
        None
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
