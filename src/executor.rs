//! What Python sees of a pool. Checks of arguments and conversions; the logic is in `pool`.

mod at_fork;
mod ending;
mod line;
mod submit;

pub use at_fork::{after_fork_in_child, after_fork_in_parent, before_fork};
pub use ending::close_all;
pub use submit::{IfFull, Terms};

use crate::capture::{ContextVars, Located};
use crate::completer;
use crate::core::latch::Latch;
use crate::core::state::Cancel;
use crate::desk::Patience;
use crate::encode;
use crate::environ;
use crate::errand::{self, kind_named};
use crate::error::Error;
use crate::future::{keep_watch, wait};
use crate::interp::untraced;
use crate::output;
use crate::pool::{Pool, Seat, Settings, Upcalls, fork};
use crate::transfer::{graveyard, outbox, shared};
use crate::worker_api;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::time::Duration;

static UPCALLS: Upcalls = Upcalls {
    deliver: completer::deliver,
    report: completer::report,
    consult: errand::consult,
    interrupt: errand::interrupt_soon,
    warn: completer::warn,
    warn_of_threads: completer::warn_of_threads,
    warn_of_close: completer::warn_of_close,
    warn_of_harm: completer::warn_of_harm,
};

/// The program ends: no pool accepts anything any more.
static EXITING: AtomicBool = AtomicBool::new(false);

/// A pool's handle. Dropping it closes the pool; its threads finish what is queued and end.
#[pyclass(frozen, weakref, module = "subpool._subpool")]
pub struct PoolCore {
    /// From `Arc::into_raw`. Another one in the child of a fork.
    pool: AtomicPtr<Pool>,
    future_class: Py<PyType>,
    context_vars: Option<ContextVars>,
}

impl Drop for PoolCore {
    fn drop(&mut self) {
        self.pool().close();
        // SAFETY: the count that `into_raw` has left to this handle; nobody uses that any more.
        drop(unsafe { Arc::from_raw(*self.pool.get_mut()) });
    }
}

#[pymethods]
impl PoolCore {
    /// `initializer` is `None` or `(function, args)`; `patience` is how many seconds after an
    /// interrupt that did nothing comes a warning, how many after it the worker is replaced, and
    /// how many the threads that tasks have left behind may take to end; `retries` are those to
    /// wait before a worker that could not start is tried again, one for each time;
    /// `max_tasks_per_interpreter` is how many tasks a worker may run;
    /// `idle_timeout` is how many seconds a worker may have nothing to do; `fallback` is where
    /// calls go that no interpreter can run; `max_pending` is how many calls may wait in the queue.
    #[new]
    #[pyo3(signature = (max_workers, thread_name_prefix, initializer, future_class, *, patience, retries=Vec::new(), context_vars=Vec::new(), max_tasks_per_interpreter=None, idle_timeout=None, fallback=None, max_pending=None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments, for Python")]
    fn new(
        py: Python<'_>,
        max_workers: usize,
        thread_name_prefix: String,
        initializer: Option<(Bound<'_, PyAny>, Bound<'_, PyTuple>)>,
        future_class: Bound<'_, PyType>,
        patience: (f64, f64, f64),
        retries: Vec<f64>,
        context_vars: Vec<Located<'_>>,
        max_tasks_per_interpreter: Option<u64>,
        idle_timeout: Option<f64>,
        fallback: Option<&str>,
        max_pending: Option<usize>,
    ) -> PyResult<Self> {
        if idle_timeout.is_some_and(|seconds| seconds.is_nan() || seconds <= 0.0) {
            return Err(Error::Argument("idle_timeout must be greater than 0").into());
        }
        if max_tasks_per_interpreter == Some(0) {
            return Err(Error::Argument("max_tasks_per_interpreter must be greater than 0").into());
        }
        if max_workers == 0 {
            return Err(Error::Argument("max_workers must be greater than 0").into());
        }
        // Relaxed: see `refuse_if_exiting`.
        if EXITING.load(Ordering::Relaxed) {
            return Err(Error::TooLate.into());
        }
        untraced::prepare(encode::token(py)).map_err(|_traced| Error::Traced)?;
        // Interrupts take a lock of theirs, also if nothing is ever shared.
        shared::survive_forks();
        worker_api::describe_with(completer::describe_process);
        worker_api::answer_with(completer::answer);
        environ::prepare(py)?;
        let initializer = initializer
            .map(|(function, args)| encode::call(&function, &args, None))
            .transpose()?;
        let idle_timeout = time_limit(idle_timeout)?;
        outbox::call_with(completer::write_soon);
        let settings = Settings {
            fallback: fallback.map(kind_named).transpose()?,
            idle_timeout,
            most_tasks: max_tasks_per_interpreter,
            retries: retries.into_iter().map(seconds).collect(),
            most_pending: max_pending,
            most_workers: max_workers,
            thread_name_prefix,
            initializer,
            patience: Patience {
                warning: seconds(patience.0),
                grace: seconds(patience.1),
            },
            farewell: seconds(patience.2),
            upcalls: &UPCALLS,
        };
        Ok(Self {
            pool: AtomicPtr::new(Arc::into_raw(Pool::new(settings)).cast_mut()),
            future_class: future_class.unbind(),
            context_vars: ContextVars::new(context_vars)?,
        })
    }

    /// How many interpreters there are at the moment.
    #[getter]
    fn width(&self) -> usize {
        self.pool().seats().len()
    }

    /// Calls accepted so far.
    #[getter]
    fn accepted(&self) -> usize {
        self.pool().stats.accepted_total()
    }

    /// What no other pool of this process has.
    #[getter]
    fn number(&self) -> u64 {
        self.pool().number
    }

    /// Starts `count` workers (all by default) and waits until they are ready.
    #[pyo3(signature = (count=None))]
    fn warm_up(&self, py: Python<'_>, count: Option<usize>) -> PyResult<()> {
        self.refuse_if_closed()?;
        let count = count.unwrap_or_else(|| self.pool().most_workers());
        loop {
            self.pool()
                .grow_to(count, &environ::now(py)?)
                .map_err(Error::Thread)?;
            for seat in self.pool().seats() {
                wait(py, &seat.readiness, None)?;
            }
            // A fork has ended them, or lets none begin.
            match fork::elsewhere() {
                Some(over) => wait(py, &over, None)?,
                None => break,
            };
        }
        self.pool().broken().map_or(Ok(()), |broken| {
            Err(Error::Broken(Arc::clone(broken)).into())
        })
    }

    /// Accepts no more; with `cancel` what has not started is cancelled.
    fn close(&self, py: Python<'_>, cancel: bool) -> PyResult<()> {
        self.pool().close();
        if cancel {
            cancel_waiting(py, &self.pool())?;
        }
        Ok(())
    }

    /// Interrupts every task that runs, and counts them.
    fn interrupt_all(&self) -> PyResult<usize> {
        keep_watch()?;
        Ok(self.pool().interrupt_all().map_err(Error::Thread)?)
    }

    /// Accepts no more, cancels what has not started and interrupts what has.
    fn terminate(&self, py: Python<'_>) -> PyResult<()> {
        keep_watch()?;
        let interrupted = self.pool().terminate();
        cancel_waiting(py, &self.pool())?;
        Ok(interrupted.map_err(Error::Thread)?)
    }

    /// Waits for the workers' end, with the GIL released.
    fn join(&self, py: Python<'_>) -> PyResult<()> {
        join(py, &self.pool(), |latch| wait(py, latch, None).map(drop))?;
        output::catch_up(py)
    }

    #[getter]
    fn closed(&self) -> bool {
        self.pool().queue.is_closed()
    }

    /// Whether it lets its workers leave for a fork.
    #[getter]
    fn resting(&self) -> bool {
        self.pool().queue.is_paused()
    }

    /// Why the pool is unusable, or `None`.
    #[getter]
    fn broken(&self) -> Option<String> {
        self.pool().broken().map(|broken| broken.message.clone())
    }

    /// Tasks accepted and not yet ended.
    #[getter]
    fn outstanding(&self) -> usize {
        self.pool().stats.outstanding()
    }

    /// Calls that wait for a place in the queue.
    #[getter]
    fn lined_up(&self) -> usize {
        self.pool().line_length()
    }

    /// The workers' threads, in the order in which they were started.
    fn threads(&self) -> Vec<WorkerThread> {
        self.pool()
            .seats()
            .into_iter()
            .map(|seat| WorkerThread { seat })
            .collect()
    }
}

impl PoolCore {
    /// The pool, borrowed.
    fn pool(&self) -> ManuallyDrop<Arc<Pool>> {
        // Relaxed: `new` has written it before anybody sees this handle, and `succeed` writes it
        // while there is one thread.
        let pool = self.pool.load(Ordering::Relaxed);
        // SAFETY: from `into_raw`, with a count that is given back in `drop` or never (`succeed`).
        ManuallyDrop::new(unsafe { Arc::from_raw(pool) })
    }

    /// Takes a new pool, in the child of a fork. The old one stays for ever: a caller further up may
    /// have borrowed it.
    fn succeed(&self) {
        let successor = self.pool().successor_after_fork();
        // Relaxed: see `pool`.
        self.pool
            .store(Arc::into_raw(successor).cast_mut(), Ordering::Relaxed);
    }

    /// Starts workers for what was pushed, or says why it was not accepted.
    fn grow(&self, py: Python<'_>, accepted: bool) -> PyResult<()> {
        if !accepted {
            self.refuse_if_closed()?;
            return Err(Error::Closed { exiting: false }.into());
        }
        if self.pool().wants_worker() {
            let environment = environ::now(py)?;
            self.pool().grow(&environment).map_err(Error::Thread)?;
        }
        Ok(())
    }

    fn refuse_if_closed(&self) -> PyResult<()> {
        if let Some(broken) = self.pool().broken() {
            return Err(Error::Broken(Arc::clone(broken)).into());
        }
        refuse_if_exiting()?;
        if self.pool().queue.is_closed() {
            return Err(Error::Closed { exiting: false }.into());
        }
        Ok(())
    }
}

/// Seconds as a time; one that is too long for a clock is long.
fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or(Duration::from_secs(u32::MAX.into()))
}

/// What a limit in seconds means. Starts what will see to it.
pub fn time_limit(seconds: Option<f64>) -> PyResult<Option<Duration>> {
    // Too long for a clock: no limit.
    let limit = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    if limit.is_some() {
        keep_watch()?;
    }
    Ok(limit)
}

fn refuse_if_exiting() -> PyResult<()> {
    // Relaxed: set and read with the main GIL held.
    if EXITING.load(Ordering::Relaxed) {
        return Err(Error::Closed { exiting: true }.into());
    }
    Ok(())
}

/// Cancels what has not started. All of it: the first thing a callback lets pass comes after that.
fn cancel_waiting(py: Python<'_>, pool: &Pool) -> PyResult<()> {
    let mut passed = Ok(());
    for task in pool.drain() {
        if let Cancel::Cancelled(ended) = task.cancel()
            && ended.listened
            && let Some(task) = task.listenable()
        {
            passed = passed.and(completer::deliver_at_once(py, task));
        }
    }
    passed
}

/// Waits for all workers but those that were given up, or whose threads do not end. `wait` waits for
/// a latch.
fn join<E>(
    py: Python<'_>,
    pool: &Pool,
    mut wait: impl FnMut(&Latch) -> Result<(), E>,
) -> Result<(), E> {
    loop {
        let seats = pool.seats();
        for seat in &seats {
            wait(&seat.vacated)?;
            reap(py, seat);
        }
        // After a fork others go on with what was left.
        let fork = fork::elsewhere();
        if let Some(over) = &fork {
            wait(over)?;
        }
        // One that was vacated has another in its place.
        let after = pool.seats();
        for seat in pool.leaving() {
            wait(&seat.vacated)?;
            reap(py, &seat);
        }
        let is_known = |seat| seats.iter().any(|seen| Arc::ptr_eq(seat, seen));
        if fork.is_none() && after.iter().all(is_known) {
            return Ok(());
        }
    }
}

/// Waits for the thread itself, if there is nothing left to do for it.
fn reap(py: Python<'_>, seat: &Seat) {
    if seat.exit.state.phase().is_done() {
        py.detach(|| seat.reap());
    }
}

/// A worker's thread, with the part of `threading.Thread` that makes sense for it.
#[pyclass(frozen, module = "subpool._subpool")]
pub struct WorkerThread {
    seat: Arc<Seat>,
}

#[pymethods]
impl WorkerThread {
    #[getter]
    fn name(&self) -> &str {
        &self.seat.name
    }

    fn is_alive(&self) -> bool {
        !self.seat.exit.state.phase().is_done()
    }

    #[pyo3(signature = (timeout=None))]
    fn join(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        if wait(py, &self.seat.exit, timeout)? {
            reap(py, &self.seat);
        }
        Ok(())
    }

    fn __repr__(&self) -> String {
        let state = if self.is_alive() {
            "started"
        } else {
            "stopped"
        };
        format!("<WorkerThread({}, {state})>", self.seat.name)
    }
}

/// For tests: how many buffers of main's objects are not released, after what waited for it was.
#[pyfunction]
pub fn _lent_buffers(py: Python<'_>) -> usize {
    completer::clear_graveyard(py);
    graveyard::buffers()
}
