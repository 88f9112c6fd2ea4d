//! `Executor.map` in interpreters: calls travel in batches, results come in order.
//!
//! Guarantees: as with the standard method, all calls are submitted at once (or `buffersize` of
//! them ahead of the results), and what is left is cancelled when the iterator ends early. No item
//! is held back while the user's code is asked for the next: calls are collected into one message
//! only from iterators that run no user code and cannot wait.

use crate::batch::Batch;
use crate::encode;
use crate::executor::PoolCore;
use crate::future::{cancelled_error, wait};
use crate::output;
use crate::task::Task;
use crate::transfer::context::Carried;
use crate::transfer::function::Definition;
use parking_lot::Mutex;
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyException, PyTimeoutError, PyTypeError, PyValueError};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyIterator, PyTuple, PyWeakrefReference};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Calls in one message at most: enough that the message's own cost hardly shows.
const MOST_CALLS: usize = 64;

/// Bytes in one message, about: the first results should not wait for megabytes to be encoded.
const MANY_BYTES: usize = 64 << 10;

/// The arguments of `map`, checked.
pub struct Plan {
    deadline: Option<Instant>,
    chunksize: usize,
    buffersize: Option<usize>,
}

impl Plan {
    pub fn new(
        timeout: Option<f64>,
        chunksize: isize,
        buffersize: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let buffersize = match buffersize {
            None => None,
            Some(size) if size.is_instance_of::<PyInt>() => match size.extract::<isize>() {
                Ok(size) if size < 1 => {
                    return Err(PyValueError::new_err("buffersize must be None or > 0"));
                }
                Ok(size) => Some(size.cast_unsigned()),
                Err(_) => None, // more than there is memory for
            },
            Some(_) => {
                let message = "buffersize must be an integer or None";
                return Err(PyTypeError::new_err(message));
            }
        };
        if chunksize < 1 {
            return Err(PyValueError::new_err("chunksize must be >= 1."));
        }
        let deadline = timeout.and_then(|seconds| {
            // Too far away for the clock: no deadline. Negative or not a number: now.
            let left = Duration::try_from_secs_f64(seconds);
            let left = left.or_else(|error| {
                if seconds > 0.0 {
                    Err(error)
                } else {
                    Ok(Duration::ZERO)
                }
            });
            Instant::now().checked_add(left.ok()?)
        });
        Ok(Self {
            deadline,
            chunksize: chunksize.cast_unsigned(),
            buffersize,
        })
    }
}

/// The results of a `map`: an iterator that cancels what is left when it is closed or dropped.
#[pyclass(frozen, module = "subpool._subpool")]
pub struct MapResults {
    /// Taken by whoever asks for the next result, like a generator's frame.
    state: Mutex<State>,
}

struct State {
    waiting: VecDeque<Waiting>,
    source: Option<Source>,
    deadline: Option<Instant>,
}

enum Waiting {
    /// The calls of the batch from the given one on.
    Batch(Arc<Batch>, usize),
    /// This call, or getting at it, failed in main.
    Failed(Py<PyAny>),
}

/// Where calls come from, and where they go.
struct Source {
    known: Arc<Definition>,
    /// How long each call may run.
    limit: Option<Duration>,
    /// The caller's context variables when the map was started, for all calls.
    context: Option<Arc<Carried>>,
    iterators: Vec<Py<PyIterator>>,
    /// How many calls may be collected before they are sent.
    collect: usize,
    /// Whether one worker takes them all.
    together: bool,
    /// The pool's handle, weakly: a half-used iterator does not keep a dropped executor open.
    owner: Py<PyWeakrefReference>,
}

/// Starts a map of `function`, whose arguments are the items of `iterables`, each call within
/// `limit`. `context`: see `PoolCore::submit`.
pub fn start(
    core: &Bound<'_, PoolCore>,
    function: &Bound<'_, PyAny>,
    iterables: &Bound<'_, PyTuple>,
    limit: Option<Duration>,
    plan: &Plan,
    context: Option<&Bound<'_, PyAny>>,
) -> PyResult<MapResults> {
    let py = core.py();
    let iterators: Vec<_> = iterables
        .iter()
        .map(|iterable| iterable.try_iter())
        .collect::<PyResult<_>>()?;
    let encoded = core
        .get()
        .capture(py, context)
        .and_then(|context| Ok((encode::function(function)?, context)));
    let (known, context) = match encoded {
        Ok(encoded) => encoded,
        Err(error) if error.is_instance_of::<PyException>(py) => {
            // Told like an error of the first call: that is where callers look for it.
            return Ok(MapResults::of(State {
                waiting: VecDeque::from([Waiting::failed(py, error)]),
                source: None,
                deadline: None,
            }));
        }
        Err(error) => return Err(error),
    };
    let collect = if plan.chunksize > 1 {
        plan.chunksize
    } else if plan.buffersize.is_none() && never_wait(py, &iterators)? {
        MOST_CALLS
    } else {
        1
    };
    let mut state = State {
        waiting: VecDeque::new(),
        source: Some(Source {
            known,
            limit,
            context,
            iterators: iterators.into_iter().map(Bound::unbind).collect(),
            collect,
            together: plan.chunksize > 1,
            owner: PyWeakrefReference::new(core)?.unbind(),
        }),
        deadline: plan.deadline,
    };
    let mut left = plan.buffersize.unwrap_or(usize::MAX);
    while left > 0 && state.submit(py, core)? {
        left -= 1;
        // A long list must hold up neither Ctrl-C nor the other threads.
        py.check_signals()?;
        py.detach(|| ());
    }
    if plan.buffersize.is_none() {
        state.source = None;
    }
    Ok(MapResults::of(state))
}

/// Whether the iterators are known to run no user code and to have their items at hand.
fn never_wait(py: Python<'_>, iterators: &[Bound<'_, PyIterator>]) -> PyResult<bool> {
    let at_hand = py.import("subpool._map")?.getattr("AT_HAND")?;
    for iterator in iterators {
        if !at_hand.contains(iterator.get_type())? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[pymethods]
impl MapResults {
    const fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        // Locked: another thread waits for a result here, or an iterable of this very map asks.
        let mut state = self
            .state
            .try_lock()
            .ok_or_else(|| PyValueError::new_err("map iterator already executing"))?;
        state.next(py)
    }

    /// Cancels what has not started; there are no more results after that.
    fn close(&self) -> PyResult<()> {
        let mut state = self
            .state
            .try_lock()
            .ok_or_else(|| PyValueError::new_err("map iterator already executing"))?;
        state.give_up(());
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Locked means in use, and so no garbage.
        let Some(state) = self.state.try_lock() else {
            return Ok(());
        };
        if let Some(source) = &state.source {
            for iterator in &source.iterators {
                visit.call(iterator)?;
            }
            visit.call(&source.owner)?;
        }
        for waiting in &state.waiting {
            if let Waiting::Failed(error) = waiting {
                visit.call(error)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        if let Some(mut state) = self.state.try_lock() {
            state.give_up(());
        }
    }
}

impl MapResults {
    const fn of(state: State) -> Self {
        Self {
            state: Mutex::new(state),
        }
    }
}

impl Waiting {
    fn failed(py: Python<'_>, error: PyErr) -> Self {
        Self::Failed(error.into_value(py).into_any())
    }
}

impl State {
    /// Submits the next message. False: there are no more calls.
    fn submit(&mut self, py: Python<'_>, core: &Bound<'_, PoolCore>) -> PyResult<bool> {
        let Some(source) = &self.source else {
            return Ok(false);
        };
        let mut calls = Vec::new();
        let mut bytes = 0;
        let mut failed = None;
        let mut more = true;
        while more
            && failed.is_none()
            && calls.len() < source.collect
            && (bytes < MANY_BYTES || source.together)
        {
            match source.next_call(py) {
                Ok(Some(args)) => match encode::call_of(&source.known, &args) {
                    Ok(call) => {
                        bytes += call.payload.bytes.len();
                        calls.push(call.within(source.context.clone()));
                    }
                    Err(error) if error.is_instance_of::<PyException>(py) => failed = Some(error),
                    Err(error) => return Err(self.give_up(error)),
                },
                Ok(None) => more = false,
                Err(error) => return Err(self.give_up(error)),
            }
        }
        let workers = if source.together { 1 } else { usize::MAX };
        let limit = source.limit;
        while !calls.is_empty() {
            match core.get().submit_batch(py, &mut calls, limit, workers) {
                Ok(batch) => self.waiting.push_back(Waiting::Batch(batch, 0)),
                Err(error) => return Err(self.give_up(error)),
            }
        }
        if let Some(error) = failed {
            self.waiting.push_back(Waiting::failed(py, error));
        }
        if !more {
            self.source = None;
        }
        Ok(more)
    }

    /// The next result, waited for.
    fn next(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        if let Some(source) = &self.source
            && let Some(owner) = source.owner.bind(py).upgrade()
        {
            self.submit(py, owner.cast::<PoolCore>()?)?;
        }
        match self.waiting.pop_front() {
            None => Ok(None),
            Some(Waiting::Failed(error)) => {
                Err(self.give_up(PyErr::from_value(error.into_bound(py))))
            }
            Some(Waiting::Batch(batch, index)) => {
                // Kept while it is waited for: what ends the wait cancels this call too.
                if index + 1 < batch.tasks().len() {
                    let rest = Waiting::Batch(Arc::clone(&batch), index + 1);
                    self.waiting.push_front(rest);
                }
                let task = &batch.tasks()[index];
                self.take(py, task).map(Some).map_err(|error| {
                    // Does nothing to one that is done.
                    let _ = task.cancel();
                    self.give_up(error)
                })
            }
        }
    }

    fn take(&self, py: Python<'_>, task: &Task) -> PyResult<Py<PyAny>> {
        let left = self.deadline.map(|deadline| {
            deadline
                .saturating_duration_since(Instant::now())
                .as_secs_f64()
        });
        if !wait(py, &task.latch, left)? {
            return Err(PyTimeoutError::new_err(()));
        }
        output::catch_up(py)?;
        let Some(answer) = task.take_answer() else {
            return Err(cancelled_error(py));
        };
        encode::answer(py, &task.label, answer).into_result(py)
    }

    /// Cancels what is left, because of `error` or because nobody wants it.
    fn give_up<E>(&mut self, error: E) -> E {
        self.source = None;
        for waiting in self.waiting.drain(..) {
            if let Waiting::Batch(batch, index) = waiting {
                for task in &batch.tasks()[index..] {
                    // Nobody listens to the tasks of a batch.
                    let _ = task.cancel();
                }
            }
        }
        error
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.give_up(());
    }
}

impl Source {
    /// One item of each iterator, or `None` when the shortest has ended.
    fn next_call<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let mut items = Vec::with_capacity(self.iterators.len());
        for iterator in &self.iterators {
            match iterator.bind(py).clone().next() {
                Some(item) => items.push(item?),
                None => return Ok(None),
            }
        }
        if items.is_empty() {
            return Ok(None);
        }
        PyTuple::new(py, items).map(Some)
    }
}
