//! Several calls in one message: a batch is queued once per worker and taken one call at a time.
//!
//! Guarantees: each call is claimed once; whoever works on a batch holds up none of its calls but
//! the one that runs, since every other worker can claim the next.

use crate::again::Again;
use crate::task::Task;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the queue holds.
pub enum Job {
    Task(Arc<Task>),
    Batch(Arc<Batch>),
    /// A task that has been started, for the worker in the place of the one that had it. Never in
    /// the queue.
    Again(Box<Again>),
    /// For a worker that is not needed any more.
    Leave,
}

pub struct Batch {
    tasks: Box<[Task]>,
    next: AtomicUsize,
}

impl Batch {
    #[must_use]
    pub fn new(tasks: Vec<Task>) -> Arc<Self> {
        Arc::new(Self {
            tasks: tasks.into_boxed_slice(),
            next: AtomicUsize::new(0),
        })
    }

    #[must_use]
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    fn claim_index(&self) -> usize {
        // Relaxed: the tasks came with the batch through the queue; only uniqueness matters. It
        // passes the end once per claimant at most, so it cannot overflow.
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// One task of what was taken from the queue.
#[derive(Clone)]
pub enum Drained {
    Task(Arc<Task>),
    Claimed(Arc<Batch>, usize),
}

impl Drained {
    /// The tasks of a job that nobody has taken, each claimed when it is asked for.
    pub fn of(job: Job) -> impl Iterator<Item = Self> {
        let mut job = Some(job);
        let mut last = None::<Self>;
        std::iter::from_fn(move || {
            last = match job.take() {
                Some(job) => Self::first(job),
                None => last.take().and_then(Self::next),
            };
            last.clone()
        })
    }

    /// The first of a job's tasks, claimed.
    #[must_use]
    pub fn first(job: Job) -> Option<Self> {
        match job {
            Job::Task(task) => Some(Self::Task(task)),
            Job::Batch(batch) => Self::claim(batch),
            Job::Again(_) | Job::Leave => None,
        }
    }

    /// The next of the same job, claimed now. The batch is handed on: its count is every worker's.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        match self {
            Self::Task(_) => None,
            Self::Claimed(batch, _) => Self::claim(batch),
        }
    }

    fn claim(batch: Arc<Batch>) -> Option<Self> {
        let index = batch.claim_index();
        (index < batch.tasks.len()).then_some(Self::Claimed(batch, index))
    }

    /// What to take up where a worker that had claimed this one is gone: the rest of its batch.
    #[must_use]
    pub fn rest(&self) -> Option<Job> {
        match self {
            Self::Task(_) => None,
            Self::Claimed(batch, _) => Some(Job::Batch(Arc::clone(batch))),
        }
    }

    /// The task as one that can have listeners, which those of a batch have not.
    #[must_use]
    pub const fn listenable(&self) -> Option<&Arc<Task>> {
        match self {
            Self::Task(task) => Some(task),
            Self::Claimed(..) => None,
        }
    }
}

impl Deref for Drained {
    type Target = Task;

    fn deref(&self) -> &Task {
        match self {
            Self::Task(task) => task,
            Self::Claimed(batch, index) => &batch.tasks[*index],
        }
    }
}
