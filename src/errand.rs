//! Calls that no interpreter of its own can run: what main says to that, and how they end.
//!
//! Guarantees: a worker that asks gets a reply, also while the program ends; a task that went
//! elsewhere ends once, whatever becomes of the place it went to.
//!
//! The places themselves, threads and processes, are Python's (`_fallback.py`). Each call there
//! holds an `Errand`, by which it ends the task.

use crate::batch::Drained;
use crate::capture;
use crate::completer;
use crate::core::state::{Cancel, Phase};
use crate::encode;
use crate::error::Error;
use crate::ffi;
use crate::interp::nap;
use crate::once::intern;
use crate::pool::{Pool, Question, Reply, SoFar};
use crate::task::{Fallback, Task};
use crate::transfer::call::{Answer, Call};
use crate::transfer::context::Carried;
use crate::transfer::fallback::{Kind, Plan, Refusal};
use crate::transfer::graveyard::Kept;
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Errands that are not done.
static UNDERWAY: AtomicUsize = AtomicUsize::new(0);

/// Some module goes by value because no interpreter can import it.
static AUTOMATIC: AtomicBool = AtomicBool::new(false);

/// What main knows of a function with a fallback.
#[pyclass(frozen, module = "subpool._subpool")]
pub struct FallbackPlan {
    plan: Arc<Plan>,
}

#[pymethods]
impl FallbackPlan {
    /// `kind` is `"thread"` or `"process"`; `imports` names the modules that the code imports.
    #[new]
    fn new(kind: &str, imports: Vec<String>) -> PyResult<Self> {
        Ok(Self {
            plan: Arc::new(Plan::new(kind_named(kind)?, imports)),
        })
    }

    /// Whether it is known that no interpreter can run the function.
    #[getter]
    fn refused(&self) -> bool {
        self.plan.is_refused()
    }
}

pub fn kind_named(name: &str) -> PyResult<Kind> {
    Kind::named(name).ok_or_else(|| {
        PyValueError::new_err(format!(
            "fallback must be None, 'thread' or 'process', not '{name}'"
        ))
    })
}

/// What is known of a function whose calls go to `kind` if no interpreter can run them.
pub fn plan(function: &Bound<'_, PyAny>, kind: Kind) -> PyResult<Arc<Plan>> {
    let plan = helper(function.py())?
        .call_method1(intern!(function.py(), "plan"), (function, kind.name()))?;
    Ok(Arc::clone(&plan.cast::<FallbackPlan>()?.get().plan))
}

/// What a task takes along for its fallback.
pub fn fallback(
    plan: Arc<Plan>,
    function: &Bound<'_, PyAny>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<Fallback> {
    let originals = match plan.kind {
        // A thread of main sees the caller's own objects.
        Kind::Thread => {
            let kwargs = kwargs.map_or_else(|| PyDict::new(function.py()), Clone::clone);
            let all = PyTuple::new(function.py(), [function, args.as_any(), kwargs.as_any()])?;
            completer::start().map_err(Error::Thread)?;
            Some(keep(all.into_any()))
        }
        Kind::Process => None,
    };
    Ok(Fallback {
        plan,
        originals: Mutex::new(originals),
    })
}

fn keep(object: Bound<'_, PyAny>) -> Kept {
    // SAFETY: `into_ptr` gives an owned reference to an object of main, which is not null.
    unsafe { Kept::object(NonNull::new_unchecked(object.into_ptr())) }
}

fn helper(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    py.import(intern!(py, "subpool._fallback"))
}

/// Says how a call goes on (`Upcalls::consult`).
pub fn consult(question: Question) -> Reply {
    completer::ask(move |py| reply(py, question)).unwrap_or(Reply::End)
}

fn reply(py: Python<'_>, question: Question) -> Reply {
    let why_not = match by_value(py, &question) {
        Ok(Some(call)) => {
            let SoFar { first, mut tried } = question.so_far;
            let first = first.or(Some(question.call));
            tried.extend(question.refusal.modules.first().cloned());
            return Reply::Again(Box::new(call), SoFar { first, tried });
        }
        Ok(None) => None,
        // By value is one way of several.
        Err(error) => Some(error),
    };
    let Some(job) = question.job else {
        return Reply::End;
    };
    let Some(fallback) = job.fallback() else {
        let Some(why_not) = why_not else {
            return Reply::End;
        };
        let told = told(py, &job.label.to_string(), &question.refusal, why_not);
        let told = told.unwrap_or_else(|failed| failed.into_value(py).into_bound(py).into_any());
        Errand::new(question.pool, job, None).end(keep(told), true);
        return Reply::Elsewhere;
    };
    fallback.plan.refuse();
    let originals = fallback.originals.lock().take();
    let errand = Errand::new(question.pool, job.clone(), question.call.context.clone());
    let parts = match originals.and_then(Kept::into_object) {
        Some(object) => {
            // SAFETY: an owned reference to an object of main (`fallback`).
            let parts = unsafe { Bound::from_owned_ptr(py, object.as_ptr()) };
            parts.extract::<encode::Parts<'_>>()
        }
        None => encode::decode_call(py, question.so_far.first.unwrap_or(question.call)),
    };
    let kind = fallback.plan.kind;
    match parts {
        Ok((function, args, kwargs)) => {
            send(errand, kind, &function, &args, Some(&kwargs), py);
        }
        Err(error) => errand.end(keep(error.into_value(py).into_bound(py).into_any()), true),
    }
    Reply::Elsewhere
}

/// The same call by value, if its function or arguments come from a module whose import leads to
/// the extension.
fn by_value(py: Python<'_>, question: &Question) -> PyResult<Option<Call>> {
    let Some(module) = question.refusal.modules.first() else {
        return Ok(None);
    };
    if question.so_far.tried.contains(module) {
        return Ok(None);
    }
    let about = (module, described(&question.refusal));
    let sendable = helper(py)?.call_method1(intern!(py, "send_by_value"), about)?;
    // Relaxed, here and below: under the main GIL.
    AUTOMATIC.store(true, Ordering::Relaxed);
    if !sendable.is_truthy()? {
        return Ok(None);
    }
    let context = question.call.context.clone();
    let environment = question.call.environment;
    let (function, args, kwargs) = encode::decode_call(py, question.call.clone())?;
    let call = encode::call(&function, &args, Some(&kwargs))?.within(context);
    // That of its submit.
    Ok(Some(Call {
        environment,
        ..call
    }))
}

/// A refusal as `subpool.errors.incompatible` takes it.
fn described(refusal: &Refusal) -> (&String, &Option<String>, &String, &Vec<String>, &String) {
    let Refusal {
        extension,
        path,
        text,
        modules,
        traceback,
    } = refusal;
    (extension, path, text, modules, traceback)
}

/// The error for a call that no interpreter can run, nor any without its module.
fn told<'py>(
    py: Python<'py>,
    label: &str,
    refusal: &Refusal,
    why_not: PyErr,
) -> PyResult<Bound<'py, PyAny>> {
    let about = (label, described(refusal), why_not.into_value(py));
    helper(py)?.call_method1(intern!(py, "told"), about)
}

/// What to say of a call that could not be encoded: `error`, unless it was tried as code alone
/// because no interpreter can import its module.
pub fn unsendable(function: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    if !AUTOMATIC.load(Ordering::Relaxed) {
        return error;
    }
    let py = function.py();
    let told = helper(py).and_then(|helper| {
        helper.call_method1(intern!(py, "unsendable"), (function, error.into_value(py)))
    });
    match told {
        Ok(told) => PyErr::from_value(told),
        Err(failed) => failed,
    }
}

/// Queues a call where no interpreter is needed; its task has not started.
pub fn start(
    pool: &Arc<Pool>,
    task: &Arc<Task>,
    kind: Kind,
    context: Option<Arc<Carried>>,
    function: &Bound<'_, PyAny>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) {
    pool.stats.accepted(1);
    let errand = Errand::new(Arc::clone(pool), Drained::Task(Arc::clone(task)), context);
    send(errand, kind, function, args, kwargs, function.py());
}

/// Whatever goes wrong becomes the task's end.
fn send(
    errand: Errand,
    kind: Kind,
    function: &Bound<'_, PyAny>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
    py: Python<'_>,
) {
    let errand = match Bound::new(py, errand) {
        Ok(errand) => errand,
        // No memory. The errand that was dropped has ended the task.
        Err(error) => return error.write_unraisable(py, None),
    };
    let sent = helper(py).and_then(|helper| {
        let take = helper.getattr(intern!(py, "take"))?;
        take.call1((&errand, kind.name(), function, args, kwargs))
    });
    if let Err(error) = sent {
        let error = error.into_value(py).into_bound(py).into_any();
        let _ = errand.get().begin();
        errand.get().end(keep(error), true);
    }
}

/// Raises `error` in a thread of main, or takes back what was not raised yet.
#[pyfunction]
pub fn raise_in_thread(thread: u64, error: Option<&Bound<'_, PyType>>) -> bool {
    let error = error.map_or(std::ptr::null_mut(), Bound::as_ptr);
    // SAFETY: called from Python, so attached to main; a live class or null, of which CPython takes
    // a reference of its own.
    let set = unsafe { ffi::PyThreadState_SetAsyncExc(thread.cast_signed(), error) != 0 };
    if set && !error.is_null() {
        nap::disturb(thread);
    }
    set
}

/// Interrupts a task that has gone elsewhere, whose `timeout` may be the reason. False: it is not
/// there, or does not run.
pub fn interrupt(py: Python<'_>, task: &Task, timeout: Option<Duration>) -> PyResult<bool> {
    // Relaxed: set under the main GIL.
    if UNDERWAY.load(Ordering::Relaxed) == 0 {
        return Ok(false);
    }
    let timeout = timeout.map(|timeout| timeout.as_secs_f64());
    let interrupted = helper(py)?.call_method1(intern!(py, "interrupt"), (key(task), timeout))?;
    interrupted.extract()
}

/// The same from a worker (`Upcalls::interrupt`), which does not wait for it.
pub fn interrupt_soon(job: Drained, timeout: Option<Duration>) {
    completer::run_soon(Box::new(move |py| {
        if let Err(error) = interrupt(py, &job, timeout) {
            error.write_unraisable(py, None);
        }
    }));
}

fn key(task: &Task) -> usize {
    std::ptr::from_ref(task) as usize
}

/// A call on its way through a thread or a process. Dropped, it ends its task.
#[pyclass(frozen, module = "subpool._subpool")]
pub struct Errand {
    pool: Arc<Pool>,
    job: Drained,
    context: Option<Arc<Carried>>,
    done: AtomicBool,
}

impl Errand {
    fn new(pool: Arc<Pool>, job: Drained, context: Option<Arc<Carried>>) -> Self {
        UNDERWAY.fetch_add(1, Ordering::Relaxed);
        Self {
            pool,
            job,
            context,
            done: AtomicBool::new(false),
        }
    }

    fn end(&self, object: Kept, raised: bool) {
        self.finish(Answer::Here { object, raised });
    }

    fn finish(&self, answer: Answer) {
        if self.is_done_now() {
            return;
        }
        let ended = self.job.finish(answer, || self.pool.stats.ended());
        self.pool.deliver_if_listened(&self.job, ended);
    }

    /// True for all but the first.
    fn is_done_now(&self) -> bool {
        let before = self.done.swap(true, Ordering::Relaxed);
        if !before {
            UNDERWAY.fetch_sub(1, Ordering::Relaxed);
        }
        before
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        if self.done.load(Ordering::Relaxed) {
            return;
        }
        // Pending or running: it ends either way.
        let _ = self.job.start();
        self.finish(Answer::Untransferable {
            message: format!("{} was lost on its way to its fallback", self.job.label),
            path: String::new(),
            traceback: String::new(),
        });
    }
}

#[pymethods]
impl Errand {
    /// The function's name.
    #[getter]
    fn label(&self) -> String {
        self.job.label.to_string()
    }

    /// Seconds that it may run.
    #[getter]
    fn timeout(&self) -> Option<f64> {
        self.job.timeout().map(|limit| limit.as_secs_f64())
    }

    /// The number of its pool.
    #[getter]
    fn pool(&self) -> u64 {
        self.pool.number
    }

    /// The pool's initializer, `(function, args, kwargs)`.
    fn initializer<'py>(&self, py: Python<'py>) -> PyResult<Option<encode::Parts<'py>>> {
        let call = self.pool.initializer();
        call.map(|call| encode::decode_call(py, call)).transpose()
    }

    /// What `interrupt` finds it by.
    #[getter]
    fn key(&self) -> usize {
        key(&self.job)
    }

    /// Starts the task. False: it was cancelled.
    fn begin(&self) -> bool {
        if self.job.latch.state.phase() == Phase::Running || self.job.start().is_some() {
            return true;
        }
        if !self.is_done_now() {
            self.pool.abandon(&self.job);
        }
        false
    }

    /// Cancels the task if it waits.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        if let Cancel::Cancelled(ended) = self.job.cancel()
            && ended.listened
            && let Some(task) = self.job.listenable()
        {
            completer::deliver_at_once(py, task)?;
        }
        Ok(())
    }

    /// Leaves the task to the parent, in the child of a fork: it is cancelled, or ends with what
    /// `lost` makes of its name.
    fn forsake(&self, py: Python<'_>, lost: &Bound<'_, PyAny>) {
        if !self.is_done_now() {
            completer::forsake(py, &self.job, lost);
        }
    }

    /// Ends the task with a result.
    fn succeed(&self, value: Bound<'_, PyAny>) {
        self.end(keep(value), false);
    }

    /// Ends it with an exception.
    fn fail(&self, error: Bound<'_, PyAny>) {
        self.end(keep(error), true);
    }

    /// The context variables that go along: the names that lead to each, and its value.
    fn variables<'py>(&self, py: Python<'py>) -> PyResult<Vec<capture::Valued<'py>>> {
        let carried = self.context.as_ref();
        carried.map_or_else(|| Ok(Vec::new()), |carried| capture::values(py, carried))
    }
}
