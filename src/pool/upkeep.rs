//! What a pool does to workers that do not end their tasks: interrupts, and replacement.
//!
//! Guarantees: a task that was asked to end has ended for its future when the grace is over; the
//! pool keeps its width then, and what else its worker had taken is done by the one in its place.
//! Not guaranteed: that a replaced worker ever ends. The end of the program waits for it.

use super::{Pool, Seat, Settings, fork};
use crate::batch::{Drained, Job};
use crate::core::state::{Cancel, Phase};
use crate::desk::Stuck;
use crate::task::Task;
use crate::transfer::call::{Answer, Broken};
use crate::warden;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Does what is due in every pool, and tells when the next is.
pub fn look_at_all(now: Instant) -> Option<Instant> {
    let pools = Pool::living();
    pools.iter().filter_map(|pool| pool.look(now)).min()
}

impl Pool {
    /// Interrupts `task` if it runs here.
    pub fn interrupt(&self, task: &Task) -> io::Result<bool> {
        // Twice, since it may have moved past this thread, to a worker that was not there before.
        for _ in 0..2 {
            for seat in self.desks() {
                if seat.desk.interrupt(task, None)? {
                    return Ok(true);
                }
            }
            if task.latch.state.phase() != Phase::Running {
                break;
            }
        }
        Ok(false)
    }

    /// All seats where a task may be: one that leaves may have left its task for its successor, and
    /// comes before it, so that who looks in this order finds the task.
    fn desks(&self) -> impl Iterator<Item = Arc<Seat>> {
        let seats = self.seats.lock();
        let leaving = self.leaving.lock().clone();
        leaving.into_iter().chain(seats.clone())
    }

    /// Does what is due, and tells when the next is.
    fn look(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        let Settings {
            patience, upcalls, ..
        } = &self.settings;
        let look = |seat: &Arc<Seat>| {
            let found = seat.desk.look(now, *patience);
            if let Some((job, waited)) = found.slow {
                let left = patience.grace.saturating_sub(waited);
                (upcalls.warn)(job.label.clone(), waited, left);
            }
            match found.stuck {
                None => found.next,
                Some(stuck) => {
                    self.give_up(seat, &stuck);
                    None
                }
            }
        };
        let tasks = self.desks().filter_map(|seat| look(&seat)).min();
        let seats = self.seats();
        let sleep = seats
            .iter()
            .filter_map(|seat| self.look_at_sleep(seat, now))
            .min();
        [tasks, sleep].into_iter().flatten().min()
    }

    /// A worker is about to sleep.
    pub fn falls_asleep(&self, seat: &Seat) {
        if let Some(timeout) = self.settings.idle_timeout {
            let now = Instant::now();
            // Relaxed, here and below: a stamp is all there is, and the warden's lock is taken by
            // this thread after it was written, and by the warden before it looks.
            seat.idle.store(self.stamp(now), Ordering::Relaxed);
            if let Some(at) = now.checked_add(timeout) {
                warden::wake_by(at);
            }
        }
    }

    /// It has work again.
    pub fn wakes_up(&self, seat: &Seat) {
        if self.settings.idle_timeout.is_some() {
            seat.idle.store(0, Ordering::Relaxed);
        }
    }

    fn stamp(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX).max(1)
    }

    /// Asks for one worker less if this one has slept too long; tells when it will have.
    fn look_at_sleep(&self, seat: &Seat, now: Instant) -> Option<Instant> {
        let timeout = self.settings.idle_timeout?;
        let since = seat.idle.load(Ordering::Relaxed);
        if since == 0 {
            return None;
        }
        let until = self.epoch + Duration::from_nanos(since);
        let until = until.checked_add(timeout)?;
        if now < until {
            return Some(until);
        }
        // Which worker comes by and leaves is not known. If it is another one, this one is asked
        // for again when it has slept as long once more.
        let asked = seat.idle.compare_exchange(
            since,
            self.stamp(now),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        // Closed: then all leave.
        if asked.is_ok() && self.queue.push(Job::Leave).is_ok() {
            return now.checked_add(timeout);
        }
        None
    }

    /// Whether the worker of `seat` may leave; then its seat is free already.
    #[must_use]
    pub fn leave(&self, seat: &Seat) -> bool {
        let mut seats = self.seats.lock();
        let place = seats
            .iter()
            .position(|other| std::ptr::eq(&raw const **other, seat));
        let most = self.settings.most_workers;
        let Some(place) = place else {
            return false; // it was given up, and learns it otherwise
        };
        if self.queue.is_closed() || !self.width.shrink(&self.stats, seats.len(), most) {
            return false;
        }
        let seat = seats.remove(place);
        // Before it: who waits for those that leave looks at them once.
        self.dismiss_standby(&seat);
        self.leaves(seat);
        true
    }

    /// The seats whose workers are about to end, since they were not needed.
    #[must_use]
    pub fn leaving(&self) -> Vec<Arc<Seat>> {
        self.leaving.lock().clone()
    }

    /// Ends a task that does not react, and gives its worker's place to another. Nothing of it if
    /// the task has ended meanwhile.
    fn give_up(self: &Arc<Self>, seat: &Arc<Seat>, stuck: &Stuck) {
        let Stuck { job, asked } = stuck;
        let answer = Answer::Interrupted {
            timeout: asked.timeout,
            traceback: String::new(),
            stuck: Some(self.settings.patience.grace),
        };
        let mut replaced = Ok(());
        let ended = job.finish(answer, || {
            self.stats.ended();
            // Before anybody knows of the end, and could ask for the pool's width.
            replaced = self.replace(seat, job.rest());
        });
        self.deliver_if_listened(job, ended);
        if let Err(error) = replaced {
            // The rest may have nobody to do it.
            self.break_down(Broken {
                message: format!("a worker in place of a stuck one could not start: {error}"),
                traceback: String::new(),
            });
        }
    }

    /// Seats another worker in the place of a stuck one, which ends when its task does.
    fn replace(self: &Arc<Self>, seat: &Arc<Seat>, first: Option<Job>) -> io::Result<()> {
        let mut seats = self.seats.lock();
        let Some(place) = seats.iter().position(|other| Arc::ptr_eq(other, seat)) else {
            return Ok(()); // it has left
        };
        {
            let mut retired = self.retired.lock();
            retired.retain(|seat| !seat.exit.state.phase().is_done());
            retired.push(Arc::clone(seat));
        }
        let seated = if self.queue.is_closed() && self.stats.outstanding() == 0 {
            Ok(None) // for what?
        } else if fork::is_near() {
            self.aside.lock().extend(first);
            Ok(None)
        } else {
            self.successor(seat, first).map(Some)
        };
        let seated = match seated {
            Ok(Some(heir)) => {
                seats[place] = heir;
                Ok(())
            }
            other => {
                seats.remove(place);
                self.width.set(seats.len());
                other.map(drop).map_err(|(_, error)| error)
            }
        };
        drop(seats);
        self.dismiss_standby(seat);
        // After that: who waits for this seat looks for others then.
        seat.vacated.fire();
        seated
    }

    /// The seats whose workers are stuck in tasks that were given up, or whose interpreters have
    /// threads that do not end.
    #[must_use]
    pub fn retired(&self) -> Vec<Arc<Seat>> {
        self.retired.lock().clone()
    }

    /// Interrupts whatever runs here, and counts it.
    pub fn interrupt_all(&self) -> io::Result<usize> {
        let mut count = 0;
        for seat in self.desks() {
            count += usize::from(seat.desk.interrupt_any()?);
        }
        Ok(count)
    }

    /// Closes the pool, lets nothing start any more, and interrupts what runs. What has not started
    /// is for the caller to cancel (`drain`).
    pub fn terminate(&self) -> io::Result<()> {
        self.close();
        self.ban.raise();
        self.interrupt_all().map(drop)
    }

    #[must_use]
    pub fn is_terminated(&self) -> bool {
        self.ban.is_raised()
    }

    /// The end of a task that was started and that no worker is left to perform.
    pub fn lose(&self, job: &Drained) {
        let answer = match self.broken() {
            Some(broken) => Answer::Broken(Arc::clone(broken)),
            None => Answer::Untransferable {
                message: format!(
                    "{} was not run: an earlier task had harmed the interpreter that had taken \
                     it, and no other took it up",
                    job.label
                ),
                path: String::new(),
                traceback: String::new(),
            },
        };
        let ended = job.finish(answer, || self.stats.ended());
        self.deliver_if_listened(job, ended);
    }

    /// The end of a task that a worker has taken and does not start.
    pub fn abandon(&self, job: &Drained) {
        self.stats.ended();
        if let Cancel::Cancelled(ended) = job.cancel() {
            self.deliver_if_listened(job, Some(ended));
        }
    }
}
