//! The pool: when it grows, how it ends, what happens when it breaks.
//!
//! Guarantees: every task it accepted ends, run, cancelled or failed; its threads hold it alive, so
//! dropping the last outside handle only closes it; nothing here belongs to an interpreter, so it
//! may be dropped on any thread.
//! Not guaranteed: that closing waits. `seats` gives what to wait for.

mod closing;
mod door;
pub mod fork;
mod seat;
mod succession;
mod upkeep;

pub use door::Waiting;
pub use seat::Seat;
pub use succession::Why;
pub use upkeep::look_at_all;

use seat::Standing;

use crate::batch::{Batch, Drained, Job};
use crate::core::queue::Queue;
use crate::core::state::Ended;
use crate::core::stats::{Stats, Width, should_grow};
use crate::core::window::Ban;
use crate::desk::Patience;
use crate::task::Task;
use crate::transfer::call::{Answer, Broken, Call, Label};
use crate::transfer::environment::Numbered;
use crate::transfer::fallback::{Kind, Refusal};
use door::Door;
use parking_lot::Mutex;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

/// As much as the main thread has. CPython checks the real bounds and raises `RecursionError`.
const STACK: usize = 16 << 20;

/// What the pool asks of the side that knows the main interpreter.
pub struct Upcalls {
    /// Somebody listens to this ended task.
    pub deliver: fn(Arc<Task>),
    /// Log that a worker could not start: it is tried again after so long, or, without that, the
    /// pool broke. Called on a thread without a thread state.
    pub report: fn(&Broken, Option<Duration>),
    /// Say how a call goes on that a worker's interpreter cannot run. Waits for main.
    pub consult: fn(Question) -> Reply,
    /// Interrupt a task that has gone elsewhere.
    pub interrupt: fn(Drained, Option<Duration>),
    /// Warn of a function that has not reacted to an interrupt for so long, and will be given up
    /// after so long.
    pub warn: fn(Label, Duration, Duration),
    /// Warn of the threads in that worker's interpreter that have not ended for so long, and wait
    /// until that is done. Called on a thread of a worker, detached.
    pub warn_of_threads: fn(String, Vec<String>, Duration),
    /// Warn of what runs in that worker's interpreter as it is closed, for so long.
    pub warn_of_close: fn(String, String, Duration),
    /// Log that a task has harmed that worker's interpreter, and how, and wait until that is done.
    /// Called on a thread of a worker,
    /// detached.
    pub warn_of_harm: fn(String, Label, String),
}

/// What a worker asks main: its interpreter cannot load what a call needs.
pub struct Question {
    pub pool: Arc<Pool>,
    /// `None`: the initializer's call.
    pub job: Option<Drained>,
    pub call: Call,
    pub refusal: Arc<Refusal>,
    pub so_far: SoFar,
}

/// What main has tried for a call.
#[derive(Default)]
pub struct SoFar {
    /// The call as it was submitted, if it has become another.
    pub first: Option<Call>,
    /// Modules that were sent by value for it, without success.
    pub tried: Vec<String>,
}

pub enum Reply {
    /// Try this call instead.
    Again(Box<Call>, SoFar),
    /// The task is not the worker's any more.
    Elsewhere,
    /// That is its end.
    End,
}

#[derive(Clone)]
pub struct Settings {
    pub most_workers: usize,
    pub thread_name_prefix: String,
    pub initializer: Option<Call>,
    pub patience: Patience,
    /// What the threads that tasks have left behind may take to end.
    pub farewell: Duration,
    /// After which an idle worker ends.
    pub idle_timeout: Option<Duration>,
    /// After which it is replaced by another: so many tasks, one at least.
    pub most_tasks: Option<u64>,
    /// How long to wait before a worker that could not start is tried again, each time.
    pub retries: Vec<Duration>,
    /// Where what no interpreter can run goes, if its tag says nothing else.
    pub fallback: Option<Kind>,
    /// How many tasks may wait in the queue.
    pub most_pending: Option<usize>,
    pub upcalls: &'static Upcalls,
}

pub struct Pool {
    /// Never used twice in a process.
    pub number: u64,
    pub queue: Queue<Job>,
    pub stats: Stats,
    /// If the queue has a bound.
    door: Option<Arc<Door>>,
    settings: Settings,
    /// Batches that workers may be at: taken from the queue, and with calls nobody has claimed.
    batches: Mutex<Vec<Weak<Batch>>>,
    /// In the order of their numbers.
    seats: Mutex<Vec<Arc<Seat>>>,
    /// Seats that nobody waits for before the program's end: their workers are stuck in a task, or
    /// their interpreters have threads that do not end.
    retired: Mutex<Vec<Arc<Seat>>>,
    /// What workers had taken and left behind for a fork: invitations to batches, calls that move.
    aside: Mutex<Vec<Job>>,
    /// Nothing starts any more.
    ban: Ban,
    /// Seats that are free again, their workers being about to end.
    leaving: Mutex<Vec<Arc<Seat>>>,
    /// The length of `seats`.
    width: Width,
    /// The beginning of the time that `Seat::idle` counts.
    epoch: Instant,
    broken: OnceLock<Arc<Broken>>,
    /// A worker has started well.
    proven: AtomicBool,
}

/// Pools whose threads must be gone before the process may finalize Python.
static LIVING: Mutex<Vec<Weak<Pool>>> = Mutex::new(Vec::new());

/// The program is past its wait for workers: none starts any more.
static SEALED: AtomicBool = AtomicBool::new(false);

impl Pool {
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let pool = Arc::new_cyclic(|pool| Self {
            // Relaxed: only uniqueness matters.
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            queue: Queue::new(),
            stats: Stats::default(),
            door: Door::before(pool, &settings),
            settings,
            batches: Mutex::new(Vec::new()),
            seats: Mutex::new(Vec::new()),
            retired: Mutex::new(Vec::new()),
            aside: Mutex::new(Vec::new()),
            ban: Ban::new(),
            leaving: Mutex::new(Vec::new()),
            width: Width::default(),
            epoch: Instant::now(),
            broken: OnceLock::new(),
            proven: AtomicBool::new(false),
        });
        let mut living = LIVING.lock();
        living.retain(|pool| pool.strong_count() > 0);
        living.push(Arc::downgrade(&pool));
        pool
    }

    /// Every pool there is.
    #[must_use]
    pub fn living() -> Vec<Arc<Self>> {
        LIVING.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Accepts a task. False: the pool is closed. An error: its queue is full, so the task, counted
    /// in already, has to line up.
    pub fn push(&self, task: Arc<Task>) -> Result<bool, Waiting> {
        // Counted first: a worker may end the task before this thread goes on.
        self.stats.accepted(1);
        if let Some(door) = &self.door
            && !door.enter()
        {
            return Err(Waiting::Task(task));
        }
        Ok(self.put(task))
    }

    fn put(&self, task: Arc<Task>) -> bool {
        let accepted = self.queue.push(Job::Task(task)).is_ok();
        if !accepted {
            self.stats.ended();
        }
        accepted
    }

    /// Accepts a batch whose tasks are counted in and have their places, to be worked on by
    /// `workers` at the same time at most. False: the pool is closed. Then what no worker has
    /// claimed meanwhile is cancelled.
    #[must_use]
    pub fn put_batch(&self, batch: &Arc<Batch>, workers: usize) -> bool {
        self.remember(batch);
        let invitations = workers.clamp(1, self.settings.most_workers);
        let accepted = (0..invitations.min(batch.tasks().len()))
            .all(|_| self.queue.push(Job::Batch(Arc::clone(batch))).is_ok());
        if !accepted {
            for task in Drained::of(Job::Batch(Arc::clone(batch))) {
                // Nobody listens to the tasks of a batch.
                let _ = task.cancel();
                self.stats.ended();
            }
        }
        accepted
    }

    /// Whether `grow` would start a worker.
    #[must_use]
    pub fn wants_worker(&self) -> bool {
        self.width
            .wants_another(&self.stats, self.settings.most_workers)
    }

    /// Starts workers while there is more work than workers. None during a fork, after which the
    /// pool grows by itself.
    pub fn grow(self: &Arc<Self>, environment: &Arc<Numbered>) -> io::Result<()> {
        let wants_another =
            |seats: usize| should_grow(self.stats.outstanding(), seats, self.settings.most_workers);
        loop {
            let mut seats = self.seats.lock();
            while wants_another(seats.len()) && !fork::is_near() {
                self.seat(&mut seats, None, environment)?;
            }
            if !wants_another(seats.len()) {
                return Ok(());
            }
            drop(seats);
            if fork::keep(self) {
                return Ok(());
            }
        }
    }

    /// Starts workers until there are `count`. None during a fork.
    pub fn grow_to(self: &Arc<Self>, count: usize, environment: &Arc<Numbered>) -> io::Result<()> {
        let mut seats = self.seats.lock();
        let count = count.min(self.settings.most_workers);
        while seats.len() < count && !self.queue.is_closed() && !fork::is_near() {
            self.seat(&mut seats, None, environment)?;
        }
        Ok(())
    }

    /// Starts a worker, at the first number that is free, with something to do before all else.
    fn seat(
        self: &Arc<Self>,
        seats: &mut Vec<Arc<Seat>>,
        first: Option<Job>,
        environment: &Arc<Numbered>,
    ) -> io::Result<()> {
        let taken = |(place, seat): &(usize, &Arc<Seat>)| *place == seat.number;
        let number = seats.iter().enumerate().take_while(taken).count();
        let standing = Standing::Admitted(first);
        let seat = self.new_seat(number, environment, standing, Weak::new());
        self.start(&seat)
            .inspect_err(|_| self.aside.lock().extend(seat.admission.first()))?;
        seats.insert(number, seat);
        self.width.set(seats.len());
        Ok(())
    }

    /// Lets no worker start any more in any pool, for the end of the program. After this `seats`
    /// shows all that there will ever be: who started one before had the lock before.
    pub fn seal() {
        // Relaxed: who asks has the seats' lock after this, or is a worker that is waited for.
        SEALED.store(true, Ordering::Relaxed);
        for pool in Self::living() {
            drop(pool.seats.lock());
        }
    }

    #[must_use]
    pub fn seats(&self) -> Vec<Arc<Seat>> {
        self.seats.lock().clone()
    }

    /// A copy of the initializer's call, for one worker.
    #[must_use]
    pub fn initializer(&self) -> Option<Call> {
        self.settings.initializer.clone()
    }

    #[must_use]
    pub const fn farewell(&self) -> Duration {
        self.settings.farewell
    }

    #[must_use]
    pub const fn most_workers(&self) -> usize {
        self.settings.most_workers
    }

    /// Where what no interpreter can run goes.
    #[must_use]
    pub const fn fallback(&self) -> Option<Kind> {
        self.settings.fallback
    }

    #[must_use]
    pub fn consult(&self, question: Question) -> Reply {
        (self.settings.upcalls.consult)(question)
    }

    /// Interrupts a task that has gone elsewhere, whose `timeout` may be the reason.
    pub fn interrupt_elsewhere(&self, job: &Drained, timeout: Option<Duration>) {
        (self.settings.upcalls.interrupt)(job.clone(), timeout);
    }

    /// Hands an ended task on to its listener.
    pub fn deliver_if_listened(&self, task: &Drained, ended: Option<Ended>) {
        if let Some(task) = task.listenable()
            && ended.is_some_and(|ended| ended.listened)
        {
            (self.settings.upcalls.deliver)(Arc::clone(task));
        }
    }

    fn remember(&self, batch: &Arc<Batch>) {
        let mut batches = self.batches.lock();
        if batches.len() == batches.capacity() {
            batches.retain(|batch| batch.strong_count() > 0);
            // Twice the room of what lives, so that looking costs no more than growing.
            let living = batches.len();
            batches.reserve(living.max(16));
        }
        batches.push(Arc::downgrade(batch));
    }

    /// Takes every task that nobody has started. After the queue was closed it finds them all.
    pub fn drain(&self) -> impl Iterator<Item = Drained> + '_ {
        std::iter::from_fn(|| self.queue.try_pop().ok())
            .chain(std::iter::from_fn(|| {
                let mut batches = self.batches.lock();
                std::iter::from_fn(|| batches.pop())
                    .find_map(|batch| batch.upgrade())
                    .map(Job::Batch)
            }))
            .flat_map(Drained::of)
            .inspect(|_| self.stats.ended())
    }

    /// Why the pool is unusable, if it is.
    #[must_use]
    pub fn broken(&self) -> Option<&Arc<Broken>> {
        self.broken.get()
    }

    /// A worker could not start: no task can be trusted to find its place, so all that wait fail.
    ///
    /// The calling thread has no thread state: its interpreter is closed.
    pub fn break_down(&self, broken: Broken) {
        // Logged before any future fails, so that who sees the failure finds the log complete.
        (self.settings.upcalls.report)(&broken, None);
        let broken = Arc::clone(self.broken.get_or_init(|| Arc::new(broken)));
        self.close();
        for task in self.drain() {
            if task.start().is_some() {
                let ended = task.finish(Answer::Broken(Arc::clone(&broken)), || ());
                self.deliver_if_listened(&task, ended);
            }
        }
        // Nobody takes it up: a call that moves ends with it (`lose`).
        let aside = std::mem::take(&mut *self.aside.lock());
        drop(aside);
    }
}
