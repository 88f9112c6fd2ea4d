//! Calls that find the queue full (`max_pending`), and the threads that wait for them.
//!
//! Guarantees: a thread that waits here holds no GIL, can be interrupted by a signal, and is woken
//! by whoever lets its call in, or closes the pool; what it gives up is not run, unless it has begun.

use super::{IfFull, PoolCore};
use crate::batch::Batch;
use crate::core::entrance::{LinedUp, Turn};
use crate::core::state::Phase;
use crate::error::Error;
use crate::future::wait;
use crate::pool::Waiting;
use crate::task::{Place, Task, Terms};
use crate::transfer::call::Call;
use pyo3::prelude::*;
use std::sync::Arc;
use std::time::Duration;

impl PoolCore {
    /// Queues the first of `calls` in one message, as many as there is room for, for `workers` at
    /// the most, and leaves the rest there. Waits until there is room.
    pub fn submit_batch(
        &self,
        py: Python<'_>,
        calls: &mut Vec<Call>,
        limit: Option<Duration>,
        workers: usize,
    ) -> PyResult<Arc<Batch>> {
        self.refuse_if_closed()?;
        let room = self.pool().enter(calls.len());
        let (Ok(count) | Err(count)) = room;
        let tasks: Vec<_> = calls
            .drain(..count)
            .map(|call| Task::new(call, Terms::within(limit, self.pool().place())))
            .collect();
        let batch = Batch::new(tasks);
        // Before the push: see `Pool::push`.
        self.pool().stats.accepted(count);
        if room.is_ok() {
            let accepted = self.pool().put_batch(&batch, workers);
            self.grow(py, accepted)?;
        } else {
            let waiting = Waiting::Batch(Arc::clone(&batch), workers);
            self.line_up(py, waiting, IfFull::Block)?;
        }
        Ok(batch)
    }

    /// A place for a task that goes elsewhere at once, and whether it has to line up for that. What
    /// must not wait has none if the queue is full: that bounds what waits for interpreters.
    pub(super) fn place_elsewhere(&self, if_full: IfFull) -> (Option<Place>, bool) {
        match (self.pool().enter(1), if_full) {
            (Ok(_), _) => (self.pool().place(), false),
            (Err(_), IfFull::Block) => (self.pool().place(), true),
            (Err(_), IfFull::LineUp) => (None, false),
        }
    }

    /// Stands in line with what is counted in, and found no place.
    #[cold]
    pub(super) fn line_up(
        &self,
        py: Python<'_>,
        waiting: Waiting,
        if_full: IfFull,
    ) -> PyResult<()> {
        let turn = (if_full == IfFull::Block).then(Turn::default);
        let number = match self.pool().line_up(waiting.clone(), turn.clone()) {
            LinedUp::In => return self.grow(py, true).inspect_err(|_| waiting.cancel()),
            LinedUp::Closed(_) => return Err(self.refuse(&waiting)),
            LinedUp::Waits(number) => number,
        };
        if turn.is_none()
            && let Some(place) = waiting.tasks().first().and_then(Task::place)
        {
            place.stands_in_line(number);
        }
        // The pool may be small yet: it grows for those that stand in line as well.
        let grown = self.grow(py, true);
        let Some(turn) = turn else { return grown };
        match grown.and_then(|()| wait(py, &turn, None)) {
            Ok(_) if turn.state.phase() == Phase::Finished => Ok(()),
            Ok(_) => Err(self.refuse(&waiting)),
            Err(raised) => {
                if self.pool().step_out(number).is_some() {
                    self.pool().stats.taken_back(waiting.tasks().len());
                    return Err(raised);
                }
                if turn.state.phase() != Phase::Finished {
                    let _ = self.refuse(&waiting);
                    return Err(raised);
                }
                waiting.cancel();
                Err(raised)
            }
        }
    }

    /// What was counted in is not accepted.
    fn refuse(&self, waiting: &Waiting) -> PyErr {
        self.pool().stats.taken_back(waiting.tasks().len());
        let why = self.refuse_if_closed();
        why.err()
            .unwrap_or_else(|| Error::Closed { exiting: false }.into())
    }
}
