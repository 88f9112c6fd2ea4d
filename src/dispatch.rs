//! The executors' native half: where a call goes, `submit` and `map`.
//!
//! A base class of both executors, before the standard one, so that no Python frame of ours stands
//! between a caller and the queue. What is not for an interpreter goes on to the next class.

use crate::bridge;
use crate::errand::kind_named;
use crate::executor::{IfFull, PoolCore, Terms, time_limit};
use crate::ffi;
use crate::future::FutureCore;
use crate::map::{self, Plan};
use crate::once::Once;
use crate::once::intern;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PySuper, PyTuple, PyType};
use std::sync::OnceLock;

#[pyclass(subclass, frozen, module = "subpool._subpool")]
pub struct ExecutorCore {
    target: OnceLock<Target>,
}

struct Target {
    pool: Py<PoolCore>,
    /// Only tagged calls are for an interpreter.
    by_tag: bool,
}

impl ExecutorCore {
    fn target(&self) -> PyResult<&Target> {
        self.target
            .get()
            .ok_or_else(|| PyRuntimeError::new_err("the executor's __init__() was not called"))
    }
}

#[pymethods]
impl ExecutorCore {
    /// Takes whatever a subclass takes.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            target: OnceLock::new(),
        }
    }

    /// Sets the pool, once, in `__init__`.
    fn _use(&self, pool: Py<PoolCore>, by_tag: bool) -> PyResult<()> {
        self.target
            .set(Target { pool, by_tag })
            .map_err(|_| PyRuntimeError::new_err("the executor's __init__() was called twice"))
    }

    #[getter]
    fn _pool(&self) -> PyResult<&Py<PoolCore>> {
        Ok(&self.target()?.pool)
    }

    /// Queue ``fn(*args, **kwargs)`` and give its future.
    ///
    /// On `InterpreterPoolExecutor` every call runs in an interpreter. On
    /// `InterpreterThreadPoolExecutor` a tagged call does, and a plain one runs on a thread and
    /// gives a standard future. What cannot be sent to an interpreter ends the future with a
    /// `NotTransferableError`. If as many calls wait as `max_pending` says, a call for an
    /// interpreter waits here until another one starts or is cancelled.
    ///
    /// Raises:
    ///     RuntimeError: The executor or the program is shutting down, also while the call waits.
    ///     BrokenInterpreterPool: A worker could not start.
    #[pyo3(signature = (r#fn, /, *args, **kwargs))]
    fn submit<'py>(
        slf: &Bound<'py, Self>,
        r#fn: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if let Some(future) = slf.get().start(r#fn, args, kwargs, IfFull::Block)? {
            return Ok(future);
        }
        // A tagged call never comes here: tracing libraries patch the standard `submit`, and wrap
        // what they get in something no interpreter can import.
        let mut all = vec![r#fn.clone()];
        all.extend(args);
        PySuper::new(&py.get_type::<Self>(), slf)?.call_method(
            intern!(py, "submit"),
            PyTuple::new(py, all)?,
            kwargs,
        )
    }

    /// Queue a call for an interpreter, tagged or not. Does not wait for a place.
    #[pyo3(signature = (r#fn, /, *args, **kwargs))]
    fn _start<'py>(
        &self,
        r#fn: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let future = self.start(r#fn, args, kwargs, IfFull::LineUp)?;
        Ok(future.expect("every call is for an interpreter"))
    }

    /// The same, and a future of the running asyncio loop for it. `None`: no such loop runs.
    #[pyo3(signature = (r#fn, /, *args, **kwargs))]
    fn _run_in_loop<'py>(
        &self,
        r#fn: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(running) = bridge::running_loop(r#fn.py())? else {
            return Ok(None);
        };
        let future = self._start(r#fn, args, kwargs)?;
        bridge::awaited(&running, future.cast::<FutureCore>()?).map(Some)
    }

    /// Call ``fn(*items)`` for one item of each iterable, and give the results in order.
    ///
    /// All calls are submitted at once. Calls in interpreters travel many to a message, and are
    /// taken by the workers one at a time.
    ///
    /// Args:
    ///     fn: Tagged or not, as for `submit`.
    ///     iterables: As many as `fn` takes arguments; the shortest ends it.
    ///     timeout: Seconds from now until the last result must be there.
    ///     chunksize: Calls that travel and run together in one interpreter. Threads ignore it.
    ///     buffersize: The most calls (chunks) submitted ahead of the results taken; default all.
    #[pyo3(signature = (r#fn, *iterables, timeout=None, chunksize=1, buffersize=None))]
    fn map<'py>(
        slf: &Bound<'py, Self>,
        r#fn: &Bound<'py, PyAny>,
        iterables: &Bound<'py, PyTuple>,
        timeout: Option<f64>,
        chunksize: isize,
        buffersize: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let plan = Plan::new(timeout, chunksize, buffersize.as_ref())?;
        let Target { pool, by_tag } = slf.get().target()?;
        let none = PyTuple::empty(py);
        let tagged = route(r#fn, &none, None, *by_tag)?;
        let function = match &tagged {
            // Also `Context.run` itself, whose items are functions: `submit` takes each apart.
            None if *by_tag || is_context_run(r#fn) => None,
            None => Some(r#fn),
            Some(tagged) if tagged.args.is_empty() && tagged.kwargs.is_none() => {
                Some(&tagged.function)
            }
            // Inside a partial: `submit` fills in the arguments, call by call.
            Some(_) => None,
        };
        match function {
            // What may go elsewhere goes call by call.
            Some(function)
                if !overrides_submit(slf)? && pool.get().fallback(terms(&tagged)).is_none() =>
            {
                let limit = time_limit(terms(&tagged).timeout)?;
                let context = context_of(pool.get(), r#fn, &none)?;
                let context = context.as_ref();
                let results =
                    map::start(pool.bind(py), function, iterables, limit, &plan, context)?;
                Ok(Bound::new(py, results)?.into_any())
            }
            _ => py.import("subpool._map")?.getattr("run")?.call1((
                slf,
                r#fn,
                iterables,
                timeout,
                buffersize,
                pool.get().carries_context(),
            )),
        }
    }
}

impl ExecutorCore {
    /// Queues the call if it is for an interpreter, as it is if it may not block.
    fn start<'py>(
        &self,
        function: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
        if_full: IfFull,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Target { pool, by_tag } = self.target()?;
        let pool = pool.get();
        let by_tag = *by_tag && if_full == IfFull::Block;
        if let Some(tagged) = route(function, args, kwargs, by_tag)? {
            let context = context_of(pool, function, args)?;
            let (function, args, kwargs) = (&tagged.function, &tagged.args, tagged.kwargs.as_ref());
            let future = pool.submit(
                function,
                args,
                kwargs,
                tagged.terms,
                context.as_ref(),
                if_full,
            );
            return future.map(Some);
        }
        if !by_tag {
            let terms = Terms::default();
            return pool
                .submit(function, args, kwargs, terms, None, if_full)
                .map(Some);
        }
        Ok(None)
    }
}

/// Whether a subclass has a `submit` of its own, which `map` must go through.
fn overrides_submit(slf: &Bound<'_, ExecutorCore>) -> PyResult<bool> {
    let py = slf.py();
    let submit = intern!(py, "submit");
    let own = py.get_type::<ExecutorCore>().getattr(submit)?;
    Ok(!slf.get_type().getattr(submit)?.is(&own))
}

/// A call for an interpreter, without its tag and what was around that.
struct Tagged<'py> {
    function: Bound<'py, PyAny>,
    args: Bound<'py, PyTuple>,
    kwargs: Option<Bound<'py, PyDict>>,
    terms: Terms,
}

fn terms(tagged: &Option<Tagged<'_>>) -> Terms {
    tagged
        .as_ref()
        .map_or_else(Terms::default, |tagged| tagged.terms)
}

static TAG: Once<Py<PyType>> = Once::new();
static TERMED: Once<Py<PyType>> = Once::new();
static PARTIAL: Once<Py<PyType>> = Once::new();
static ROUTE: Once<Py<PyAny>> = Once::new();

/// Finds a call's tag. `None`: a plain call. If not `by_tag`, what `Context.run` would call needs no
/// tag: no interpreter could have the `Context`.
///
/// The shapes that are common are decided here; those that may hide a tag in something else are
/// peeled by `subpool.routing.route`.
fn route<'py>(
    function: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
    by_tag: bool,
) -> PyResult<Option<Tagged<'py>>> {
    let py = function.py();
    let kind = function.get_type_ptr();
    if kind == TAG.import(py, "subpool.routing", "Tagged")?.as_type_ptr() {
        return Ok(Some(Tagged {
            function: function.getattr(intern!(py, "__wrapped__"))?,
            args: args.clone(),
            kwargs: kwargs.cloned(),
            terms: Terms::default(),
        }));
    }
    let hides = is_context_run(function)
        || kind == &raw mut ffi::PyMethod_Type
        || kind == PARTIAL.import(py, "functools", "partial")?.as_type_ptr()
        || kind
            == TERMED
                .import(py, "subpool.routing", "Termed")?
                .as_type_ptr();
    if !hides {
        return Ok(None);
    }
    let peel = ROUTE.get_or_try_init(py, || {
        PyResult::Ok(py.import("subpool.routing")?.getattr("route")?.unbind())
    })?;
    let kwargs = kwargs.map_or_else(|| PyDict::new(py), Clone::clone);
    let found = peel.bind(py).call1((function, args, kwargs, by_tag))?;
    if found.is_none() {
        return Ok(None);
    }
    let (function, args, kwargs, timeout, fallback) = found.extract::<(
        Bound<'py, PyAny>,
        Bound<'py, PyTuple>,
        Bound<'py, PyDict>,
        Option<f64>,
        Option<String>,
    )>()?;
    let fallback = fallback.as_deref().map(kind_named).transpose()?;
    Ok(Some(Tagged {
        function,
        args,
        kwargs: Some(kwargs).filter(|kwargs| !kwargs.is_empty()),
        terms: Terms { timeout, fallback },
    }))
}

/// Whether it is `Context.run`, bound (or another method of a context). Other C functions are what
/// they are.
fn is_context_run(function: &Bound<'_, PyAny>) -> bool {
    if function.get_type_ptr() != &raw mut ffi::PyCFunction_Type {
        return false;
    }
    // SAFETY: an exact C function, as just seen; the borrowed `self`, which may be null, is looked
    // at while `function` keeps it alive.
    unsafe {
        let bound_to = ffi::PyCFunction_GetSelf(function.as_ptr());
        !bound_to.is_null() && ffi::PyContext_CheckExact(bound_to) != 0
    }
}

/// The context that a call asks for by `Context.run`, for a pool that carries context variables.
fn context_of<'py>(
    pool: &PoolCore,
    function: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = function.py();
    if !pool.carries_context() {
        return Ok(None);
    }
    let found = py
        .import(intern!(py, "subpool.routing"))?
        .call_method1(intern!(py, "context_of"), (function, args))?;
    Ok(Some(found).filter(|found| !found.is_none()))
}
