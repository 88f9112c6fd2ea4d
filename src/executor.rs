//! What Python sees of a pool. Checks of arguments and conversions; the logic is in `pool`.

mod submit;

pub use submit::Terms;

use crate::batch::Batch;
use crate::capture::{ContextVars, Located};
use crate::completer;
use crate::core::state::Cancel;
use crate::desk::Patience;
use crate::encode;
use crate::environ;
use crate::errand::{self, kind_named};
use crate::error::Error;
use crate::future::{keep_watch, wait};
use crate::output;
use crate::pool::{Pool, Seat, Settings, Upcalls};
use crate::transfer::outbox;
use crate::warden;
use crate::worker;
use crate::worker_api;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    pool: Arc<Pool>,
    future_class: Py<PyType>,
    context_vars: Option<ContextVars>,
}

impl Drop for PoolCore {
    fn drop(&mut self) {
        self.pool.queue.close();
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
    /// calls go that no interpreter can run.
    #[new]
    #[pyo3(signature = (max_workers, thread_name_prefix, initializer, future_class, *, patience, retries=Vec::new(), context_vars=Vec::new(), max_tasks_per_interpreter=None, idle_timeout=None, fallback=None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments, for Python")]
    fn new(
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
        refuse_if_exiting()?;
        worker_api::describe_with(completer::describe_process);
        worker::examine_with(completer::health_code);
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
            pool: Pool::new(settings),
            future_class: future_class.unbind(),
            context_vars: ContextVars::new(context_vars)?,
        })
    }

    /// How many interpreters there are at the moment.
    #[getter]
    fn width(&self) -> usize {
        self.pool.seats().len()
    }

    /// Calls accepted so far.
    #[getter]
    fn accepted(&self) -> usize {
        self.pool.stats.accepted_total()
    }

    /// What no other pool of this process has.
    #[getter]
    fn number(&self) -> u64 {
        self.pool.number
    }

    /// Starts `count` workers (all by default) and waits until they are ready.
    #[pyo3(signature = (count=None))]
    fn warm_up(&self, py: Python<'_>, count: Option<usize>) -> PyResult<()> {
        self.refuse_if_closed()?;
        let count = count.unwrap_or_else(|| self.pool.most_workers());
        self.pool
            .grow_to(count, &environ::now(py)?)
            .map_err(Error::Thread)?;
        for seat in self.pool.seats() {
            wait(py, &seat.readiness, None)?;
        }
        self.pool.broken().map_or(Ok(()), |broken| {
            Err(Error::Broken(Arc::clone(broken)).into())
        })
    }

    /// Accepts no more; with `cancel` what has not started is cancelled.
    fn close(&self, py: Python<'_>, cancel: bool) -> PyResult<()> {
        self.pool.queue.close();
        if cancel {
            cancel_waiting(py, &self.pool)?;
        }
        Ok(())
    }

    /// Interrupts every task that runs, and counts them.
    fn interrupt_all(&self) -> PyResult<usize> {
        keep_watch()?;
        Ok(self.pool.interrupt_all().map_err(Error::Thread)?)
    }

    /// Accepts no more, cancels what has not started and interrupts what has.
    fn terminate(&self, py: Python<'_>) -> PyResult<()> {
        keep_watch()?;
        let interrupted = self.pool.terminate();
        cancel_waiting(py, &self.pool)?;
        Ok(interrupted.map_err(Error::Thread)?)
    }

    /// Waits for the workers' end, with the GIL released.
    fn join(&self, py: Python<'_>) -> PyResult<()> {
        join(py, &self.pool)?;
        output::catch_up(py)
    }

    #[getter]
    fn closed(&self) -> bool {
        self.pool.queue.is_closed()
    }

    /// Why the pool is unusable, or `None`.
    #[getter]
    fn broken(&self) -> Option<&str> {
        self.pool.broken().map(|broken| broken.message.as_str())
    }

    /// Tasks accepted and not yet ended.
    #[getter]
    fn outstanding(&self) -> usize {
        self.pool.stats.outstanding()
    }

    /// The workers' threads, in the order in which they were started.
    fn threads(&self) -> Vec<WorkerThread> {
        self.pool
            .seats()
            .into_iter()
            .map(|seat| WorkerThread { seat })
            .collect()
    }
}

impl PoolCore {
    /// Queues a batch for `workers` at the most.
    pub fn push_batch(&self, py: Python<'_>, batch: &Arc<Batch>, workers: usize) -> PyResult<()> {
        self.refuse_if_closed()?;
        let accepted = self.pool.push_batch(batch, workers);
        self.grow(py, accepted)
    }

    /// Starts workers for what was pushed, or says why it was not accepted.
    fn grow(&self, py: Python<'_>, accepted: bool) -> PyResult<()> {
        if !accepted {
            self.refuse_if_closed()?;
            return Err(Error::Closed { exiting: false }.into());
        }
        if self.pool.wants_worker() {
            let environment = environ::now(py)?;
            self.pool.grow(&environment).map_err(Error::Thread)?;
        }
        Ok(())
    }

    fn refuse_if_closed(&self) -> PyResult<()> {
        if let Some(broken) = self.pool.broken() {
            return Err(Error::Broken(Arc::clone(broken)).into());
        }
        refuse_if_exiting()?;
        if self.pool.queue.is_closed() {
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

/// Waits for all workers but those that were given up, or whose threads do not end.
fn join(py: Python<'_>, pool: &Pool) -> PyResult<()> {
    loop {
        let seats = pool.seats();
        for seat in &seats {
            wait(py, &seat.vacated, None)?;
            if seat.exit.state.phase().is_done() {
                py.detach(|| seat.reap());
            }
        }
        // One that was vacated has another in its place.
        let after = pool.seats();
        for seat in pool.leaving() {
            wait(py, &seat.vacated, None)?;
            join_seat(py, &seat, Some(0.0))?;
        }
        if after
            .iter()
            .all(|seat| seats.iter().any(|seen| Arc::ptr_eq(seat, seen)))
        {
            return Ok(());
        }
    }
}

/// Waits for those as well.
fn join_retired(py: Python<'_>, pool: &Pool) -> PyResult<()> {
    for seat in pool.retired() {
        join_seat(py, &seat, None)?;
    }
    Ok(())
}

fn join_seat(py: Python<'_>, seat: &Seat, timeout: Option<f64>) -> PyResult<()> {
    if wait(py, &seat.exit, timeout)? {
        py.detach(|| seat.reap());
    }
    Ok(())
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
        join_seat(py, &self.seat, timeout)
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

/// In the child of a fork.
#[pyfunction]
pub fn forget_after_fork() {
    // SAFETY: `os.register_at_fork` (executors.py) calls this in the child, which has one thread.
    unsafe {
        crate::completer::forget_after_fork();
        crate::pool::forget_after_fork();
        crate::warden::forget_after_fork();
        crate::transfer::graveyard::forget_after_fork();
        crate::transfer::environment::forget_after_fork();
        crate::transfer::outbox::forget_after_fork();
        crate::output::forget_after_fork();
    }
}

/// The end of the program: finishes what is queued everywhere, closes the interpreters, joins the
/// threads. Registered with `threading`, so it runs before Python finalizes.
///
/// A signal whose handler raises (Ctrl-C) is told as unraisable, cancels what has not started and
/// interrupts what runs; the wait for that goes on, since Python must not finalize with an
/// interpreter alive. Another one calls `give_up`, which ends the process. `finish` waits for what
/// runs in threads and processes instead.
#[pyfunction]
pub fn close_all(
    py: Python<'_>,
    give_up: &Bound<'_, PyAny>,
    finish: &Bound<'_, PyAny>,
) -> PyResult<()> {
    // Relaxed: see `refuse_if_exiting`.
    EXITING.store(true, Ordering::Relaxed);
    let pools = Pool::living();
    for pool in &pools {
        pool.queue.close();
    }
    let mut interrupted = false;
    for pool in &pools {
        while let Err(raised) = join(py, pool)
            .and_then(|()| join_retired(py, pool))
            // One that stood by for a stuck one.
            .and_then(|()| join(py, pool))
            .and_then(|()| finish.call1((pool.number,)).map(drop))
        {
            if interrupted {
                give_up.call0()?;
            }
            interrupted = true;
            raised.write_unraisable(py, None);
            // Without a watch nobody would warn or give up; the interrupts come all the same.
            let _ = keep_watch();
            for pool in &pools {
                // No thread to be had: the next Ctrl-C ends the process.
                let _ = pool.terminate();
                if let Err(passed) = cancel_waiting(py, pool) {
                    passed.write_unraisable(py, None);
                }
            }
        }
    }
    if let Some(warden) = warden::stop() {
        // It has no panic to tell of but one that is printed already.
        let _ = py.detach(|| warden.join());
    }
    completer::stop(py);
    // What the last workers let go of. From here on only threads of main let go of anything.
    completer::clear_graveyard(py);
    output::catch_up_or_tell(py);
    Ok(())
}
