//! What pools do for a fork, whose child CPython would crash in if an interpreter were alive.
//!
//! Guarantees: between `prepare` and `resume` no pool starts a worker, and when `prepare` found
//! nothing that still runs, no pool has one; what waits in the queues stays there, and is gone on
//! with after `resume`, by workers that come by themselves; one fork at a time is prepared, others
//! wait; in the child a pool's successor has the pool's settings and nothing of its work, and every
//! future of the parent's work has ended.
//! Not guaranteed: that a task ends within the patience. `prepare` tells what has not; for what was
//! given up before (a stuck task, a close that hangs) it does not wait.
//!
//! `core/PROTOCOL.md`, section "Fork", has the argument.

use super::{LIVING, Pool, Seat, Settings};
use crate::batch::{Drained, Job};
use crate::core::latch::Latch;
use crate::transfer::call::Broken;
use crate::transfer::environment::Numbered;
use crate::warden;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// A fork that takes longer is waited for again.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// No worker may start.
static NEAR: AtomicBool = AtomicBool::new(false);

/// Who forks, and who waits for that.
struct Gate {
    holder: Option<(ThreadId, Arc<Latch>)>,
    /// Forks within the hooks of a fork.
    depth: usize,
    /// The pools that were told to pause, whose workers held them alive, and those that want a
    /// worker since.
    paused: Vec<Arc<Pool>>,
}

const OPEN: Gate = Gate {
    holder: None,
    depth: 0,
    paused: Vec::new(),
};

static GATE: Mutex<Gate> = Mutex::new(OPEN);

/// A pool that has not come to rest.
pub struct Restless {
    pub pool: String,
    /// The functions that run there.
    pub functions: Vec<String>,
}

/// Whether a fork is being prepared or under way.
#[must_use]
pub fn is_near() -> bool {
    // Acquire: pairs with the releases in `prepare` and `resume`. Who asks under a pool's seats
    // lock, or has made its pool after `prepare` looked for pools, is ordered by that lock.
    NEAR.load(Ordering::Acquire)
}

/// Closes all interpreters, and gives what could not be closed within `patience`. On a thread that
/// is attached to nothing; `resume` must follow on the same thread.
#[must_use]
pub fn prepare(patience: Duration) -> Vec<Restless> {
    if enter() > 1 {
        return Vec::new();
    }
    // Release: pairs with `is_near`. Before the look for pools.
    NEAR.store(true, Ordering::Release);
    let pools = Pool::living();
    for pool in &pools {
        pool.queue.pause();
    }
    let until = Instant::now() + patience;
    let restless: Vec<_> = pools
        .iter()
        .filter_map(|pool| pool.come_to_rest(until))
        .collect();
    // Its locks are free in the child then.
    warden::rest(restless.is_empty());
    GATE.lock().paused.extend(pools);
    restless
}

/// Lets the pools go on, in the parent. `environment` is asked for if a pool needs workers. Gives
/// the pools that cannot go on, which the caller breaks.
#[must_use]
pub fn resume(environment: impl Fn() -> Option<Arc<Numbered>>) -> Vec<(Arc<Pool>, Broken)> {
    let paused = {
        let mut gate = GATE.lock();
        // Without `prepare`: the hooks came while a fork was under way.
        let own = thread::current().id();
        if gate
            .holder
            .as_ref()
            .is_none_or(|(holder, _)| *holder != own)
        {
            return Vec::new();
        }
        gate.depth -= 1;
        if gate.depth > 0 {
            return Vec::new();
        }
        // Release: pairs with `is_near`. Under the lock: see `keep`.
        NEAR.store(false, Ordering::Release);
        std::mem::take(&mut gate.paused)
    };
    warden::go_on();
    for pool in &paused {
        pool.queue.resume();
    }
    // Also what was submitted to pools that are newer than `prepare`.
    let living = Pool::living();
    let stuck = living.iter().filter_map(|pool| {
        let broken = pool.go_on(&environment).err()?;
        Some((Arc::clone(pool), broken))
    });
    let stuck = stuck.collect();
    let holder = GATE.lock().holder.take();
    if let Some((_, over)) = holder {
        over.fire();
    }
    stuck
}

/// Keeps a pool alive that wants a worker, until `resume` has started one: it may have none, and its
/// owner may be about to drop it. False: no fork is near any more, so the worker is to be had.
#[must_use]
pub fn keep(pool: &Arc<Pool>) -> bool {
    let mut gate = GATE.lock();
    // `resume` takes what is kept and clears this under the one lock.
    let near = is_near();
    if near && !gate.paused.iter().any(|kept| Arc::ptr_eq(kept, pool)) {
        gate.paused.push(Arc::clone(pool));
    }
    near
}

/// Ends when the fork is over that another thread is at. `None`: none is.
#[must_use]
pub fn elsewhere() -> Option<Arc<Latch>> {
    let own = thread::current().id();
    let gate = GATE.lock();
    let (holder, over) = gate.holder.as_ref()?;
    (*holder != own).then(|| Arc::clone(over))
}

/// Takes the gate, and gives how many times this thread has it now.
fn enter() -> usize {
    let own = thread::current().id();
    loop {
        let over = {
            let mut gate = GATE.lock();
            match &gate.holder {
                Some((holder, over)) if *holder != own => Arc::clone(over),
                _ => {
                    gate.holder.get_or_insert_with(|| (own, Arc::default()));
                    gate.depth += 1;
                    return gate.depth;
                }
            }
        };
        over.is_done_by(Instant::now() + FOR_EVER);
    }
}

/// The child of a fork has none of the workers. Gives the pools of the parent.
///
/// # Safety
/// Called in the child, before it has a second thread.
pub unsafe fn forget_after_fork() -> Vec<Arc<Pool>> {
    crate::core::idle::forget_after_fork();
    // Relaxed: one thread, as the contract says.
    NEAR.store(false, Ordering::Relaxed);
    // SAFETY: this thread is the only one, so a locked lock is held by a thread that is gone. What
    // that was doing to the content is unknown, so it is overwritten unseen. The lists are whole if
    // the locks are free.
    unsafe {
        let mut pools = if GATE.is_locked() {
            GATE.force_unlock();
            Vec::new()
        } else {
            std::mem::take(&mut GATE.lock().paused)
        };
        std::ptr::write(GATE.data_ptr(), OPEN);
        if LIVING.is_locked() {
            LIVING.force_unlock();
        } else {
            pools.extend(Pool::living());
        }
        std::ptr::write(LIVING.data_ptr(), Vec::new());
        pools
    }
}

impl Pool {
    /// A worker of a paused pool leaves its seat, and what it has taken. False: it goes on, since
    /// the pool does.
    #[must_use]
    pub fn leave_for_fork(&self, seat: &Seat, first: &mut Option<Job>) -> bool {
        let mut seats = self.seats.lock();
        // Under the lock: `resume` counts the seats after it has let the queue go on.
        if !self.queue.is_paused() {
            return false;
        }
        let mut aside = self.aside.lock();
        aside.extend(first.take());
        aside.extend(seat.admission.first());
        drop(aside);
        let is_it = |other: &Arc<Seat>| std::ptr::eq(&raw const **other, seat);
        if let Some(place) = seats.iter().position(is_it) {
            let seat = seats.remove(place);
            self.width.set(seats.len());
            self.leaves(seat);
        } else {
            // It was given up; or it stands by for another, who learns by this that it does not.
            seat.admission.dismiss();
        }
        true
    }

    /// Waits for the end of all workers but those that nobody waits for any more: they have had
    /// their time. Gives what runs of those and of the others, if these do not end by then.
    fn come_to_rest(&self, until: Instant) -> Option<Restless> {
        let running = loop {
            let running = self.every_seat();
            // One that ends may have moved from one list to another meanwhile.
            match running
                .iter()
                .find(|seat| !seat.vacated.state.phase().is_done())
            {
                None => break running,
                Some(seat) if !seat.vacated.is_done_by(until) => break running,
                Some(_) => {}
            }
        };
        let (ended, running): (Vec<_>, Vec<_>) = running
            .into_iter()
            .partition(|seat| seat.exit.state.phase().is_done());
        for seat in ended {
            seat.reap();
        }
        self.leaving
            .lock()
            .retain(|seat| !seat.exit.state.phase().is_done());
        self.retired
            .lock()
            .retain(|seat| !seat.exit.state.phase().is_done());
        (!running.is_empty()).then(|| Restless {
            pool: self.settings.thread_name_prefix.clone(),
            functions: running.iter().map(|seat| seat.activity()).collect(),
        })
    }

    fn every_seat(&self) -> Vec<Arc<Seat>> {
        let seats = self.seats.lock();
        let (leaving, retired) = (self.leaving.lock(), self.retired.lock());
        let all = seats.iter().chain(&*leaving).chain(&*retired);
        all.cloned().collect()
    }

    /// Starts the workers that the work needs.
    fn go_on(
        self: &Arc<Self>,
        environment: impl Fn() -> Option<Arc<Numbered>>,
    ) -> Result<(), Broken> {
        let has_more = || !self.aside.lock().is_empty();
        // Relaxed: past the program's end nothing is waited for that is not cancelled.
        if super::SEALED.load(Ordering::Relaxed) || !has_more() && !self.wants_worker() {
            return Ok(());
        }
        let started = environment().map(|environment| {
            {
                let mut seats = self.seats.lock();
                // There is a seat for each: who put it aside has left one.
                while has_more() {
                    let job = self.aside.lock().pop();
                    self.seat(&mut seats, job, &environment)?;
                }
            }
            self.grow(&environment)
        });
        let why = match started {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => error.to_string(),
            None => "the state of the main interpreter could not be read".to_owned(),
        };
        Err(Broken {
            message: format!("no worker could be started after a fork: {why}"),
            traceback: String::new(),
        })
    }

    /// A pool for the child of a fork, in the place of its parent's.
    #[must_use]
    pub fn successor_after_fork(&self) -> Arc<Self> {
        let successor = Self::new(Settings::clone(&self.settings));
        if let Some(broken) = self.broken() {
            let _ = successor.broken.set(Arc::clone(broken));
        }
        if self.is_terminated() {
            successor.ban.raise();
        }
        if self.queue.is_closed() {
            successor.close();
        }
        successor
    }

    /// Gives `end`, in the child of a fork, each task that the parent's pool has to do, waiting or
    /// running.
    ///
    /// A list that is not free is held by a worker that did not come to rest, and is passed by.
    pub fn forsake(&self, mut end: impl FnMut(&Drained)) {
        // Also what stands in line gets into the queue.
        self.close();
        let queued = std::iter::from_fn(|| self.queue.try_pop().ok());
        let batches = self
            .batches
            .try_lock()
            .map(|mut it| std::mem::take(&mut *it));
        let batches = batches.into_iter().flatten();
        let batches = batches.filter_map(|batch| batch.upgrade()).map(Job::Batch);
        queued
            .chain(batches)
            .flat_map(Drained::of)
            .for_each(|job| end(&job));
        // A call that moves: its worker has left, so no desk in the lists has it.
        let aside = self.aside.try_lock();
        let moving = aside.iter().flat_map(|aside| aside.iter());
        moving
            .filter_map(|job| match job {
                Job::Again(again) => again.job(),
                _ => None,
            })
            .for_each(&mut end);
        let lists = [&self.seats, &self.leaving, &self.retired].map(Mutex::try_lock);
        let seats = lists.iter().flatten().flat_map(|list| list.iter());
        seats
            .filter_map(|seat| seat.desk.job_if_free())
            .for_each(|job| end(&job));
    }
}

impl Seat {
    /// The function that runs, or what else keeps the worker.
    fn activity(&self) -> String {
        match self.desk.job() {
            Some(job) => job.label.to_string(),
            None if self.readiness.state.phase().is_done() => {
                format!("what tasks of {} have left behind", self.name)
            }
            None => "the start of an interpreter, or its initializer".to_owned(),
        }
    }
}
