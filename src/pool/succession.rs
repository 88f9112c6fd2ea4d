//! One worker in another's place: recycling, and what comes of a start that fails.
//!
//! Guarantees: a worker that leaves for good reason has another in its place before it goes, so the
//! pool keeps its width; the other is made ready while the first still works, on a thread of its
//! own; a start that fails costs no task, as long as a later one succeeds.
//! Not guaranteed: that the other is ready by then. Tasks wait if it is not.

use super::seat::{Seat, Standing};
use super::{Pool, STACK, fork};
use crate::batch::Job;
use crate::transfer::call::{Broken, Label};
use crate::worker;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// How often a worker that waits to try again looks whether that is needed yet.
const LOOK: Duration = Duration::from_millis(20);

/// Why a worker leaves, and another takes its place.
#[derive(Clone, Debug)]
pub enum Why {
    /// It has run as many tasks as it may.
    Worn,
    /// A task has done something to its interpreter. That is told.
    Harmed { task: Label, how: String },
}

impl Pool {
    /// Starts the thread of `seat`, which is in the seats or will be.
    pub(super) fn start(self: &Arc<Self>, seat: &Arc<Seat>) -> io::Result<()> {
        // Relaxed: asked under the seats' lock (`seal`), or by a worker that is waited for.
        if super::SEALED.load(Ordering::Relaxed) {
            return Err(io::Error::other("the program has ended"));
        }
        let (pool, mut own) = (Arc::clone(self), Arc::clone(seat));
        // Locked until the handle is there, which the thread itself may have to move.
        let mut place = seat.thread.lock();
        let handle = thread::Builder::new()
            // The operating system shows the first 15 bytes; a NUL would be a panic here.
            .name(seat.name.replace('\0', ""))
            .stack_size(STACK)
            .spawn(move || {
                loop {
                    worker::run(&pool, &own);
                    let Some(heir) = own.heir.lock().take() else {
                        break;
                    };
                    // Before anybody can wait for the thread: it is the heir's now.
                    *heir.thread.lock() = own.thread.lock().take();
                    own.end();
                    own = heir;
                }
                drop(pool);
                own.end();
            })?;
        *place = Some(handle);
        Ok(())
    }

    /// A seat with that number, for the place of `before` if there is one.
    pub(super) fn new_seat(
        &self,
        number: usize,
        environment: &Arc<super::Numbered>,
        standing: Standing,
        before: Weak<Seat>,
    ) -> Arc<Seat> {
        let name = format!("{}_{number}", self.settings.thread_name_prefix);
        Seat::new(number, name, environment, standing, before)
    }

    /// How many tasks a worker may run.
    #[must_use]
    pub const fn most_tasks(&self) -> Option<u64> {
        self.settings.most_tasks
    }

    /// Starts the one that will take the place of `seat`, whose worker has so many tasks left.
    /// No thread to be had for it: then it is tried again when the place is free.
    pub fn prepare(self: &Arc<Self>, seat: &Arc<Seat>, left: u64) {
        let outstanding = u64::try_from(self.stats.outstanding()).unwrap_or(u64::MAX);
        if fork::is_near() || self.queue.is_closed() && outstanding <= left {
            return;
        }
        let before = Arc::downgrade(seat);
        let standby = self.new_seat(seat.number, &seat.environment, Standing::Waiting, before);
        if self.start(&standby).is_ok() {
            *seat.standby.lock() = Some(standby);
        }
    }

    /// Has one stand by for the place of `seat`, and waits until it is ready, `patience` at most.
    /// False: none can be started, so the worker had better stay.
    ///
    /// The calling thread is the worker's, detached.
    #[must_use]
    pub fn has_heir(self: &Arc<Self>, seat: &Arc<Seat>, patience: Duration) -> bool {
        let standby = || seat.standby.lock().clone();
        if standby().is_none() {
            self.prepare(seat, 0);
        }
        standby().is_some_and(|standby| {
            // Ready or not: what it answers then tells.
            standby.readiness.is_done_by(Instant::now() + patience);
            standby.admission.can_be_admitted()
        })
    }

    /// The worker of `seat` leaves after its last task. Another takes its place, and `first`.
    ///
    /// The calling thread is the worker's, detached, and takes no more tasks.
    pub fn recycle(self: &Arc<Self>, seat: &Arc<Seat>, why: Why, first: Option<Job>) {
        self.hand_over(seat, first);
        if let Why::Harmed { task, how } = why {
            (self.settings.upcalls.warn_of_harm)(seat.name.clone(), task, how);
        }
    }

    fn hand_over(self: &Arc<Self>, seat: &Arc<Seat>, first: Option<Job>) {
        let mut seats = self.seats.lock();
        let Some(place) = seats.iter().position(|other| Arc::ptr_eq(other, seat)) else {
            return; // it was given up, and another has the place already
        };
        if self.queue.is_closed() && self.queue.is_empty() && first.is_none() {
            return; // for what?
        }
        if fork::is_near() {
            // The next one comes after that.
            self.aside.lock().extend(first);
            let seat = seats.remove(place);
            self.width.set(seats.len());
            self.leaves(seat);
            return;
        }
        let heir = self.successor(seat, first).unwrap_or_else(|(heir, _)| {
            // Then on this thread, when the interpreter is closed.
            *seat.heir.lock() = Some(Arc::clone(&heir));
            heir
        });
        let seat = std::mem::replace(&mut seats[place], heir);
        self.leaves(seat);
    }

    /// The one in the place of `seat`, with its thread. An error: with the thread yet to come.
    pub(super) fn successor(
        self: &Arc<Self>,
        seat: &Arc<Seat>,
        mut first: Option<Job>,
    ) -> Result<Arc<Seat>, (Arc<Seat>, io::Error)> {
        let standby = seat.standby.lock().take();
        if let Some(standby) = standby {
            match standby.admission.admit(first) {
                Ok(()) => return Ok(standby),
                Err(back) => {
                    first = back;
                    self.leaves(standby);
                }
            }
        }
        let (standing, before) = (Standing::Admitted(first), Arc::downgrade(seat));
        let heir = self.new_seat(seat.number, &seat.environment, standing, before);
        match self.start(&heir) {
            Ok(()) => Ok(heir),
            Err(error) => Err((heir, error)),
        }
    }

    /// A seat that nobody sits at any more, or will, but whose thread is to be waited for.
    pub(super) fn leaves(&self, seat: Arc<Seat>) {
        let mut leaving = self.leaving.lock();
        leaving.retain(|seat| !seat.exit.state.phase().is_done());
        leaving.push(seat);
    }

    /// The worker of `seat` takes no more tasks: whoever was to take its place is not needed.
    pub fn dismiss_standby(&self, seat: &Seat) {
        let standby = seat.standby.lock().take();
        if let Some(standby) = standby {
            standby.admission.dismiss();
            self.leaves(standby);
        }
    }

    /// A worker has started well. From now on one that does not is tried again.
    pub fn worker_started(&self) {
        // Relaxed: a mark; who misses it breaks the pool as the first worker would.
        self.proven.store(true, Ordering::Relaxed);
    }

    /// The worker of `seat` could not start, `failures` times before. True: it is to try again now.
    ///
    /// The calling thread has no thread state: its interpreter is closed.
    #[must_use]
    pub fn start_failed(&self, seat: &Seat, broken: &Broken, failures: usize) -> bool {
        if !seat.admission.fail() {
            self.tell_of_standby(broken);
            return false;
        }
        let pause = self.settings.retries.get(failures);
        // Relaxed: as in `worker_started`.
        match pause.filter(|_| self.proven.load(Ordering::Relaxed)) {
            None => self.break_down(broken.clone()),
            Some(pause) => {
                (self.settings.upcalls.report)(broken, Some(*pause));
                let until = Instant::now() + *pause;
                while !(self.queue.is_closed() && self.stats.outstanding() == 0) {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return true;
                    }
                    if self.leave_for_fork(seat, &mut None) {
                        return false;
                    }
                    thread::sleep(left.min(LOOK));
                }
            }
        }
        false
    }

    /// One that stood by could not start, and nobody has relied on it. The next one is tried when
    /// the place is free.
    ///
    /// The calling thread has no thread state.
    pub(super) fn tell_of_standby(&self, broken: &Broken) {
        (self.settings.upcalls.report)(broken, Some(Duration::ZERO));
    }
}

impl Seat {
    /// Its worker has ended.
    fn end(&self) {
        self.ready();
        self.exit.fire();
        self.vacated.fire();
    }
}
