//! A pool whose queue has a bound: what waits outside of it, and how it gets in.
//!
//! Guarantees: no more tasks than `max_pending` are in the queue (or, on their way to a thread or a
//! process, in that one's), but after a close; a task leaves its place when it starts or is
//! cancelled; whoever makes it leave lets in the next one, and waits for nothing.
//!
//! Tasks that wait outside are counted as the pool's (`Stats`): it grows for them as well.

use super::{Pool, Settings};
use crate::batch::Batch;
use crate::core::entrance::{Entrance, LinedUp, Turn};
use crate::task::{Keeper, Place, Task};
use std::sync::{Arc, Weak};

pub struct Door {
    entrance: Entrance<Waiting>,
    pool: Weak<Pool>,
}

/// What waits to get in.
#[derive(Clone)]
pub enum Waiting {
    Task(Arc<Task>),
    /// To be worked on by so many workers at the most.
    Batch(Arc<Batch>, usize),
    /// A place for a task that goes elsewhere.
    Place(Arc<Task>),
}

impl Waiting {
    /// Those that are counted in: they are for the pool's workers.
    #[must_use]
    pub fn tasks(&self) -> &[Task] {
        match self {
            Self::Task(task) => std::slice::from_ref(&**task),
            Self::Batch(batch, _) => batch.tasks(),
            Self::Place(_) => &[],
        }
    }

    /// It has got in, and nobody will have its futures.
    pub fn cancel(&self) {
        let elsewhere = match self {
            Self::Place(task) => std::slice::from_ref(&**task),
            _ => &[],
        };
        for task in self.tasks().iter().chain(elsewhere) {
            let _ = task.cancel();
        }
    }
}

impl Door {
    pub(super) fn before(pool: &Weak<Pool>, settings: &Settings) -> Option<Arc<Self>> {
        let most = settings.most_pending?;
        Some(Arc::new(Self {
            entrance: Entrance::new(most),
            pool: Weak::clone(pool),
        }))
    }

    pub(super) fn enter(&self) -> bool {
        self.entrance.enter(1) == 1
    }

    /// Called with the entrance's lock held, so that the order stays.
    fn admit(&self, waiting: Waiting) {
        // None: no handle and no worker is left, so nobody waits for what this was.
        let Some(pool) = self.pool.upgrade() else {
            return;
        };
        // The queue is closed after the entrance only.
        let _ = match waiting {
            Waiting::Task(task) => pool.put(task),
            Waiting::Batch(batch, workers) => pool.put_batch(&batch, workers),
            Waiting::Place(_) => true,
        };
    }
}

impl Keeper for Door {
    fn left(&self) {
        self.entrance.leave(1, |waiting| self.admit(waiting));
    }

    fn cancelled(&self, number: u64) {
        let Some(waiting) = self.entrance.step_out(number, |next| self.admit(next)) else {
            return self.left();
        };
        // No worker will come by it.
        if let Some(pool) = self.pool.upgrade() {
            pool.stats.ended();
        }
        drop(waiting);
    }
}

impl Pool {
    /// For a new task.
    #[must_use]
    #[inline]
    pub fn place(&self) -> Option<Place> {
        let door = self.door.as_ref()?;
        Some(Place::new(Arc::clone(door) as Arc<dyn Keeper>))
    }

    /// Takes places for `tasks` tasks, or for the first of them. An error: there is none, and so
    /// many should line up at once.
    pub fn enter(&self, tasks: usize) -> Result<usize, usize> {
        let Some(door) = &self.door else {
            return Ok(tasks);
        };
        match door.entrance.enter(tasks) {
            // Few wake-ups for many tasks, and the workers do not run dry meanwhile.
            0 => Err(tasks.min(door.entrance.most().div_ceil(4))),
            places => Ok(places),
        }
    }

    /// Has `waiting` stand in line, and with a `turn` a thread wait for it. Its tasks are counted in
    /// already.
    pub fn line_up(&self, waiting: Waiting, turn: Option<Turn>) -> LinedUp<Waiting> {
        let Some(door) = &self.door else {
            return LinedUp::Closed(waiting); // it does not come here
        };
        let places = waiting.tasks().len().max(1);
        door.entrance
            .line_up(waiting, places, turn, |next| door.admit(next))
    }

    /// `None`: what had this number is in, or was refused.
    pub fn step_out(&self, number: u64) -> Option<Waiting> {
        let door = self.door.as_ref()?;
        door.entrance.step_out(number, |next| door.admit(next))
    }

    /// How many stand in line.
    #[must_use]
    pub fn line_length(&self) -> usize {
        self.door
            .as_ref()
            .map_or(0, |door| door.entrance.line_length())
    }

    /// Accepts no more. Threads that wait in line are refused; what else waits there is accepted
    /// already, and gets in.
    pub fn close(&self) {
        if let Some(door) = &self.door {
            drop(door.entrance.close(|waiting| door.admit(waiting)));
        }
        self.queue.close();
    }
}
