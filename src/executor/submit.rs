//! How a call gets into the pool's queue, or where it goes instead.

use super::{PoolCore, time_limit};
use crate::encode;
use crate::errand;
use crate::future::{self, FutureCore};
use crate::pool::Waiting;
use crate::task::{self, Task};
use crate::transfer::call::Call;
use crate::transfer::context::Carried;
use crate::transfer::fallback::Kind;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::sync::Arc;
use std::time::Duration;

/// How a call is to be treated, as its tag says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// How many seconds it may run.
    pub timeout: Option<f64>,
    /// Where it goes if no interpreter can run it.
    pub fallback: Option<Kind>,
}

/// What a call does if the pool's queue is full (`max_pending`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfFull {
    /// Its thread waits until it is in.
    Block,
    /// It waits alone.
    LineUp,
}

impl PoolCore {
    /// Queues `function(*args, **kwargs)` and gives its future. The values of context variables
    /// are those in `context`, or else in the current one.
    pub fn submit<'py>(
        &self,
        function: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
        terms: Terms,
        context: Option<&Bound<'py, PyAny>>,
        if_full: IfFull,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = function.py();
        self.refuse_if_closed()?;
        let timeout = time_limit(terms.timeout)?;
        let future = future::new(self.future_class.bind(py))?;
        let core = future.cast::<FutureCore>()?.get();
        if let Some(kind) = self.fallback(terms) {
            let made = self.submit_or_else(
                core, kind, function, args, kwargs, timeout, context, if_full,
            );
            return Self::unless_encoded(py, core, made).map(|()| future);
        }
        match self.encode(function, args, kwargs, context) {
            Ok(call) => {
                let terms = task::Terms::within(timeout, self.pool().place());
                self.queue(py, core.bind_to(call, terms), if_full)?;
            }
            Err(error) => {
                let error = errand::unsendable(function, error);
                Self::unless_encoded(py, core, Err(error))?;
            }
        }
        Ok(future)
    }

    /// Queues a call that has a fallback, or takes it there at once.
    #[expect(clippy::too_many_arguments, reason = "the rare half of `submit`")]
    fn submit_or_else<'py>(
        &self,
        core: &FutureCore,
        kind: Kind,
        function: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
        timeout: Option<Duration>,
        context: Option<&Bound<'py, PyAny>>,
        if_full: IfFull,
    ) -> PyResult<()> {
        let py = function.py();
        let plan = errand::plan(function, kind)?;
        let call = match plan.is_refused() {
            true => None,
            false => match self.encode(function, args, kwargs, context) {
                Ok(call) => Some(call),
                Err(error) if !error.is_instance_of::<PyException>(py) => return Err(error),
                // An interpreter would have to do without its module, and cannot?
                Err(error) => {
                    let told = errand::unsendable(function, error.clone_ref(py));
                    if told.value(py).is(error.value(py)) {
                        return Err(error);
                    }
                    plan.refuse();
                    None
                }
            },
        };
        let Some(call) = call else {
            let context = self.capture(py, context)?;
            let nothing = Call::without_content(encode::name(function)?);
            let (place, waits) = self.place_elsewhere(if_full);
            let task = core.bind_to(nothing, task::Terms::within(timeout, place));
            if waits {
                self.line_up(py, Waiting::Place(Arc::clone(&task)), if_full)?;
            }
            errand::start(&self.pool(), &task, kind, context, function, args, kwargs);
            return Ok(());
        };
        let fallback = Some(errand::fallback(plan, function, args, kwargs)?);
        let terms = Box::new(task::Terms {
            timeout,
            fallback,
            place: self.pool().place(),
        });
        self.queue(py, core.bind_to(call, Some(terms)), if_full)
    }

    #[inline]
    fn queue(&self, py: Python<'_>, task: Arc<Task>, if_full: IfFull) -> PyResult<()> {
        let pushed = self.pool().push(task);
        match pushed {
            Ok(accepted) => self.grow(py, accepted),
            Err(waiting) => self.line_up(py, waiting, if_full),
        }
    }

    /// An error of a call that was not queued is told by its future, as one of the task: callers
    /// look for it there. Ctrl-C and the like, and a pool that is closed, are told at once.
    #[cold]
    fn unless_encoded(py: Python<'_>, core: &FutureCore, made: PyResult<()>) -> PyResult<()> {
        match made {
            Err(error) if core.task().is_none() && error.is_instance_of::<PyException>(py) => {
                core.fail_early(py, error);
                Ok(())
            }
            made => made,
        }
    }

    #[inline]
    fn encode<'py>(
        &self,
        function: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Call> {
        let context = match self.carries_context() {
            true => self.capture(function.py(), context)?,
            false => None,
        };
        Ok(encode::call(function, args, kwargs)?.within(context))
    }

    /// Where a call goes that no interpreter can run.
    pub fn fallback(&self, terms: Terms) -> Option<Kind> {
        terms.fallback.or_else(|| self.pool().fallback())
    }

    /// The values for a call's context variables, if the pool carries any.
    pub fn capture(
        &self,
        py: Python<'_>,
        context: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Arc<Carried>>> {
        match &self.context_vars {
            None => Ok(None),
            Some(variables) => variables.capture(py, context).map(Some),
        }
    }

    pub const fn carries_context(&self) -> bool {
        self.context_vars.is_some()
    }
}
