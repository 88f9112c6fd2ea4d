//! The native core of `subpool.Future`.
//!
//! Guarantees: `result` and `exception` give the same object each time; a wait ends by the task's
//! end, its timeout or a signal's handler that raises, and by nothing else.
//!
//! A future made by a pool has a task. One made by hand (`Future()`) has none, and is an ordinary
//! `concurrent.futures.Future`: each method here then calls that class's own.

use crate::completer;
use crate::core::idle;
use crate::core::latch::Latch;
use crate::core::state::{Cancel, Phase};
use crate::encode::{self, Decoded};
use crate::errand;
use crate::error::{self, Error};
use crate::interp::lock::{Sleeper, Woken};
use crate::once::Once;
use crate::once::intern;
use crate::output;
use crate::pool::{Pool, look_at_all};
use crate::task::{Task, Terms};
use crate::transfer::call::Call;
use crate::warden;
use parking_lot::Mutex;
use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use std::sync::{Arc, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// The task a pool's future belongs to.
pub struct Origin {
    pub task: Arc<Task>,
}

#[pyclass(subclass, frozen, module = "subpool._subpool")]
pub struct FutureCore {
    origin: OnceLock<Origin>,
    decoded: Mutex<Option<Decoded>>,
    /// Held while an answer is decoded, which may release the GIL.
    decoding: std::sync::Mutex<()>,
}

static STANDARD: Once<Py<PyType>> = Once::new();

/// `concurrent.futures.Future`.
fn standard(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    error::class(py, &STANDARD, "concurrent.futures", "Future")
}

static CANCELLED: Once<Py<PyType>> = Once::new();

pub fn cancelled_error(py: Python<'_>) -> PyErr {
    match error::class(py, &CANCELLED, "concurrent.futures", "CancelledError") {
        Ok(class) => PyErr::from_type(class.clone(), ()),
        Err(error) => error,
    }
}

/// A new future of that class. Its `__init__` does nothing and is not called, which saves each submit
/// 136 of 4,400 instructions.
#[inline]
pub fn new<'py>(class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    let empty = PyTuple::empty(py);
    let class = class.as_type_ptr();
    // SAFETY: attached (`py`); a live class. Its `tp_new` takes a class, a tuple and null for no
    // keywords, and gives a new reference or null with an error. Each class that can be called has
    // one, by inheritance.
    unsafe {
        let new = (*class).tp_new.expect("a future's class has a constructor");
        Bound::from_owned_ptr_or_err(py, new(class, empty.as_ptr(), std::ptr::null_mut()))
    }
}

impl FutureCore {
    /// Binds a new future to a task of its own.
    #[inline]
    pub fn bind_to(&self, call: Call, terms: Option<Box<Terms>>) -> Arc<Task> {
        let task = Arc::new(Task::new(call, terms));
        let origin = Origin {
            task: Arc::clone(&task),
        };
        // A second call would mean a future handed out twice; the executor makes one per task.
        assert!(
            self.origin.set(origin).is_ok(),
            "a future belongs to one task"
        );
        task
    }

    /// Ends a new future before it has a chance to run.
    pub fn fail_early(&self, py: Python<'_>, error: PyErr) {
        *self.decoded.lock() = Some(Decoded::error(py, error));
        let task = self.bind_to(Call::without_content("".into()), None);
        let _ = task.latch.state.start();
        let _ = task.latch.state.finish();
    }

    pub fn origin(&self) -> Option<&Origin> {
        self.origin.get()
    }

    pub fn task(&self) -> Option<&Task> {
        self.origin.get().map(|origin| &*origin.task)
    }

    /// The phase that callers may see; `None` for a future made by hand.
    fn phase(&self) -> Option<Phase> {
        self.task().map(|task| task.latch.state.visible())
    }

    #[inline]
    fn known(&self, py: Python<'_>) -> Option<Decoded> {
        let decoded = self.decoded.lock();
        decoded.as_ref().map(|decoded| decoded.clone_ref(py))
    }

    /// The answer of a finished task, decoded once.
    pub fn decode(&self, py: Python<'_>, origin: &Origin) -> Decoded {
        if let Some(decoded) = self.known(py) {
            return decoded;
        }
        // Whoever comes meanwhile waits, with the GIL released, and finds the answer decoded. A
        // poisoned lock means that a decoder panicked: what it left is looked at, as by anybody.
        let alone = match self.decoding.try_lock() {
            // Nobody came in between: this thread has had the GIL since it looked.
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(left)) => left.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let alone = self.decoding.lock_py_attached(py);
                let alone = alone.unwrap_or_else(PoisonError::into_inner);
                if let Some(decoded) = self.known(py) {
                    return decoded;
                }
                alone
            }
        };
        let decoded = match origin.task.take_answer() {
            Some(answer) => encode::answer(py, &origin.task.label, answer),
            None => Decoded::error(
                py,
                Error::Untransferable {
                    message: format!(
                        "decoding the result of {} panicked before",
                        origin.task.label
                    ),
                    path: "result".to_owned(),
                    traceback: String::new(),
                }
                .into(),
            ),
        };
        let copy = decoded.clone_ref(py);
        *self.decoded.lock() = Some(decoded);
        drop(alone);
        // The task is over: what it was lent can go back. This may run code of the user that asks
        // for this very future, so it comes after the lock.
        completer::clear_graveyard(py);
        copy
    }

    /// Waits until the end is there and visible. `TimeoutError` or `CancelledError` otherwise.
    fn settle(slf: &Bound<'_, Self>, origin: &Origin, timeout: Option<f64>) -> PyResult<Decoded> {
        let py = slf.py();
        let state = &origin.task.latch.state;
        if !wait(py, &origin.task.latch, timeout)? {
            return Err(pyo3::exceptions::PyTimeoutError::new_err(()));
        }
        if !state.visible().is_done() {
            // Somebody listens: the end becomes visible under the listeners' lock. The completer
            // will do it, but it may be busy with a callback that waits for this very thread.
            slf.call_method0(intern!(py, "_publish"))?;
        }
        output::catch_up(py)?;
        match state.phase() {
            Phase::Cancelled => Err(cancelled_error(py)),
            _ => Ok(slf.get().decode(py, origin)),
        }
    }
}

#[pymethods]
impl FutureCore {
    /// Takes whatever a subclass takes: its `__init__` is the one to refuse something.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            origin: OnceLock::new(),
            decoded: Mutex::new(None),
            decoding: std::sync::Mutex::new(()),
        }
    }

    /// Builds nothing: the standard class's Condition costs ten times the rest of a submit.
    #[expect(clippy::unused_self, reason = "the signature of __init__")]
    const fn __init__(&self) {}

    #[pyo3(signature = (timeout=None))]
    fn result<'py>(slf: &Bound<'py, Self>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let Some(origin) = slf.get().origin.get() else {
            return standard(py)?.call_method1(intern!(py, "result"), (slf, timeout));
        };
        let decoded = Self::settle(slf, origin, timeout)?;
        decoded.into_result(py).map(|value| value.into_bound(py))
    }

    #[pyo3(signature = (timeout=None))]
    fn exception<'py>(slf: &Bound<'py, Self>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let Some(origin) = slf.get().origin.get() else {
            return standard(py)?.call_method1(intern!(py, "exception"), (slf, timeout));
        };
        match Self::settle(slf, origin, timeout)? {
            Decoded::Value(_) => Ok(py.None().into_bound(py)),
            Decoded::Error(raised) => Ok(raised.0.into_bound(py)),
        }
    }

    fn done(slf: &Bound<'_, Self>) -> PyResult<bool> {
        Self::is(slf, intern!(slf.py(), "done"), Phase::is_done)
    }

    fn running(slf: &Bound<'_, Self>) -> PyResult<bool> {
        Self::is(slf, intern!(slf.py(), "running"), |phase| {
            phase == Phase::Running
        })
    }

    fn cancelled(slf: &Bound<'_, Self>) -> PyResult<bool> {
        Self::is(slf, intern!(slf.py(), "cancelled"), |phase| {
            phase == Phase::Cancelled
        })
    }

    fn cancel(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let py = slf.py();
        let Some(Origin { task, .. }) = slf.get().origin.get() else {
            return standard(py)?
                .call_method1(intern!(py, "cancel"), (slf,))?
                .extract();
        };
        match task.cancel() {
            Cancel::TooLate => {
                slf.get().interrupt_if_abandoned(py)?;
                return Ok(false);
            }
            Cancel::Already => {
                // Another thread may be about to say so; who is told "cancelled" here shall see it.
                if !task.latch.state.visible().is_done() {
                    slf.call_method0(intern!(py, "_publish"))?;
                }
            }
            // Unlike the standard class, which leaves it to a worker: those who wait need not
            // wait for a worker to come by the cancelled task.
            Cancel::Cancelled(ended) if ended.listened => completer::deliver_at_once(py, task)?,
            Cancel::Cancelled(_) => {}
        }
        Ok(true)
    }

    /// Raises `TaskInterrupted` in the task. False: it does not run.
    fn interrupt(&self, py: Python<'_>) -> PyResult<bool> {
        let Some(task) = self.task() else {
            return Ok(false);
        };
        if task.latch.state.phase() != Phase::Running {
            return Ok(false);
        }
        keep_watch()?;
        // Looked for in every pool: that costs an interrupt a little, and a submit nothing.
        for pool in Pool::living() {
            if pool.interrupt(task).map_err(Error::Thread)? {
                return Ok(true);
            }
        }
        errand::interrupt(py, task, None)
    }

    /// Whether a pool made this future.
    #[getter]
    fn _has_task(&self) -> bool {
        self.origin.get().is_some()
    }

    /// The state by the standard library's name for it.
    fn _phase_name<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyString>> {
        Ok(match self.phase() {
            None | Some(Phase::Pending) => intern!(py, "PENDING"),
            Some(Phase::Running) => intern!(py, "RUNNING"),
            Some(Phase::Finished) => {
                output::catch_up(py)?;
                intern!(py, "FINISHED")
            }
            Some(Phase::Cancelled) => intern!(py, "CANCELLED_AND_NOTIFIED"),
        })
    }

    /// Asks for `_deliver()` once the task has ended. False: it has ended already.
    fn _listen(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let Some(task) = slf.get().task() else {
            return Ok(false);
        };
        completer::start().map_err(Error::Thread)?;
        let listener = completer::entrust(slf.clone().into_any());
        let refused = task.set_listener(listener).err();
        Ok(refused
            .map(|unused| completer::reclaim(slf.py(), unused))
            .is_none())
    }

    /// Makes the end visible. True for the one call that did. Under the listeners' lock.
    fn _mark_published(&self) -> bool {
        self.task().is_some_and(|task| task.latch.state.publish())
    }

    /// `(result, exception)` of a task that has ended, visible or not; `None` before, and for a
    /// cancelled one.
    fn _outcome(slf: &Bound<'_, Self>) -> PyResult<Option<(Py<PyAny>, Py<PyAny>)>> {
        let py = slf.py();
        let origin = slf.get().origin.get();
        let ended = |origin: &&Origin| origin.task.latch.state.phase() == Phase::Finished;
        let Some(origin) = origin.filter(ended) else {
            return Ok(None);
        };
        output::catch_up(py)?;
        Ok(Some(match slf.get().decode(py, origin) {
            Decoded::Value(value) => (value, py.None()),
            Decoded::Error(raised) => (py.None(), raised.0),
        }))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Locked means that another thread, without the GIL, could be in here: then the object is
        // in use and no garbage.
        if let Some(decoded) = self.decoded.try_lock() {
            match &*decoded {
                Some(Decoded::Value(object)) => visit.call(object)?,
                Some(Decoded::Error(raised)) => {
                    visit.call(&raised.0)?;
                    // Its frames have variables, of which one may be this future.
                    visit.call(&raised.1)?;
                }
                None => {}
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let decoded = self
            .decoded
            .try_lock()
            .and_then(|mut decoded| decoded.take());
        drop(decoded);
    }
}

impl FutureCore {
    /// asyncio cancels a future that it has chained (`to_thread`, `run_in_executor`) and looks no
    /// further. Who awaited it waits no more, so what runs is interrupted.
    fn interrupt_if_abandoned(&self, py: Python<'_>) -> PyResult<()> {
        let mut targets = Vec::new();
        if let Some(task) = self.task() {
            task.awaiters(|awaiter| targets.push(completer::another(py, &awaiter.target)));
        }
        for target in targets {
            if target.call_method0(intern!(py, "cancelled"))?.is_truthy()? {
                self.interrupt(py)?;
                break;
            }
        }
        Ok(())
    }

    fn is(
        slf: &Bound<'_, Self>,
        name: &Bound<'_, PyString>,
        test: impl Fn(Phase) -> bool,
    ) -> PyResult<bool> {
        match slf.get().phase() {
            Some(phase) => {
                if phase == Phase::Finished {
                    output::catch_up(slf.py())?;
                }
                Ok(test(phase))
            }
            None => standard(slf.py())?.call_method1(name, (slf,))?.extract(),
        }
    }
}

/// Starts what sees to interrupts: the warden, and the completer, on which it warns.
pub fn keep_watch() -> PyResult<()> {
    completer::start()
        .and_then(|()| warden::start(look_at_all))
        .map_err(|error| Error::Thread(error).into())
}

/// The longest sleep without a look at the signals. One that comes a moment before the sleep wakes
/// nobody, and the moment is long when another thread wants the GIL: then giving it up waits until
/// that one has it. (CPython's own locks have that gap.)
const LONGEST_NAP: Duration = Duration::from_secs(1);

/// Waits for a latch with the GIL released: a short look, then a sleep that signals interrupt.
/// False: the timeout (seconds) came first.
pub fn wait(py: Python<'_>, latch: &Latch, timeout: Option<f64>) -> PyResult<bool> {
    let ended = || latch.state.phase().is_done();
    if ended() {
        return Ok(true);
    }
    let begin = Instant::now();
    let timeout = timeout.map(|seconds| {
        Duration::try_from_secs_f64(seconds).unwrap_or(
            // Negative or not a number: do not wait. Too large for a clock: wait for ever, nearly.
            if seconds > 0.0 {
                Duration::from_secs(u32::MAX.into())
            } else {
                Duration::ZERO
            },
        )
    });
    if timeout == Some(Duration::ZERO) {
        return Ok(false);
    }
    if py
        .detach(|| idle::look_if_there_is_room(|| ended().then_some(())))
        .is_some()
    {
        return Ok(true);
    }
    // A signal that came during the look would not end the sleep.
    py.check_signals()?;
    let sleeper = Arc::new(Sleeper::new().ok_or(Error::NoMemory)?);
    let entry: Arc<dyn crate::core::latch::Unpark> = sleeper.clone();
    if !latch.register(Arc::clone(&entry)) {
        return Ok(true);
    }
    loop {
        let left = timeout.map(|timeout| timeout.saturating_sub(begin.elapsed()));
        let nap = left.map_or(LONGEST_NAP, |left| left.min(LONGEST_NAP));
        match py.detach(|| sleeper.sleep(Some(nap))) {
            Woken::Unparked => return Ok(true),
            Woken::TimedOut if left == Some(nap) => {
                latch.leave(&entry);
                return Ok(ended());
            }
            Woken::TimedOut | Woken::Signal => {
                if let Err(raised) = py.check_signals() {
                    latch.leave(&entry);
                    return Err(raised);
                }
            }
        }
    }
}
