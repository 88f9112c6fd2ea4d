//! The crate's errors, and the one place that makes Python exceptions of them.
//!
//! The exception classes are defined in Python (`subpool.errors`), where users see them.

use crate::once::Once;
use crate::transfer::call::Broken;
use crate::transfer::fallback::Refusal;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyType;
use std::io;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub enum Error {
    /// `submit` after `shutdown`, or after the program began to end.
    Closed {
        exiting: bool,
    },
    /// A new pool after the program began to end.
    TooLate,
    Broken(Arc<Broken>),
    /// The operating system refused a thread.
    Thread(io::Error),
    /// Something cannot cross between interpreters.
    Untransferable {
        message: String,
        path: String,
        traceback: String,
    },
    Interrupted {
        label: String,
        /// The time limit that was the reason.
        timeout: Option<Duration>,
        traceback: String,
        /// It still runs, so long after the interrupt.
        stuck: Option<Duration>,
    },
    Incompatible {
        label: String,
        refusal: Arc<Refusal>,
        /// The function's body had begun.
        begun: bool,
    },
    NoMemory,
    /// tracemalloc would trace the workers, and this CPython does not bear that.
    Traced,
    Argument(&'static str),
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::Closed { exiting: false } => {
                PyRuntimeError::new_err("cannot schedule new futures after shutdown")
            }
            Error::Closed { exiting: true } => {
                PyRuntimeError::new_err("cannot schedule new futures after interpreter shutdown")
            }
            Error::TooLate => PyRuntimeError::new_err(
                "cannot make a pool while the program ends: make it, and wait for its results, \
                 before the main thread comes to its end; or call the function itself (of a tagged \
                 one, its __wrapped__)",
            ),
            Error::Thread(error) => {
                PyRuntimeError::new_err(format!("can't start a worker: {error}"))
            }
            Error::Traced => PyRuntimeError::new_err(
                "can't start a worker while tracemalloc traces: this version of CPython would \
                 hang; call tracemalloc.stop() first, or use Python 3.15",
            ),
            Error::NoMemory => pyo3::exceptions::PyMemoryError::new_err(()),
            Error::Argument(message) => PyValueError::new_err(message),
            Error::Broken(broken) => Python::attach(|py| {
                build(
                    py,
                    &BROKEN,
                    "broken_pool",
                    (&broken.message, &broken.traceback),
                )
            }),
            Error::Interrupted {
                label,
                timeout,
                traceback,
                stuck,
            } => Python::attach(|py| {
                let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
                let about = (label, seconds(timeout), traceback, seconds(stuck));
                build(py, &INTERRUPTED, "interrupted", about)
            }),
            Error::Incompatible {
                label,
                refusal,
                begun,
            } => Python::attach(|py| {
                let Refusal {
                    extension,
                    path,
                    text,
                    modules,
                    traceback,
                } = &*refusal;
                let about = (label, extension, path, text, modules, traceback, begun);
                build(py, &INCOMPATIBLE, "incompatible", about)
            }),
            Error::Untransferable {
                message,
                path,
                traceback,
            } => Python::attach(|py| {
                build(
                    py,
                    &UNTRANSFERABLE,
                    "untransferable",
                    (message, path, traceback),
                )
            }),
        }
    }
}

static BROKEN: Once<Py<PyAny>> = Once::new();
static INCOMPATIBLE: Once<Py<PyAny>> = Once::new();
static INTERRUPTED: Once<Py<PyAny>> = Once::new();
static UNTRANSFERABLE: Once<Py<PyAny>> = Once::new();

/// `subpool.errors.<name>(*args)`, which gives an exception.
fn build<'py>(
    py: Python<'py>,
    place: &Once<Py<PyAny>>,
    name: &str,
    args: impl pyo3::call::PyCallArgs<'py>,
) -> PyErr {
    let made = place
        .get_or_try_init(py, || {
            Ok(py.import("subpool.errors")?.getattr(name)?.unbind())
        })
        .and_then(|make: &Py<PyAny>| make.bind(py).call1(args));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// A class looked up once.
pub fn class<'py>(
    py: Python<'py>,
    place: &'static Once<Py<PyType>>,
    module: &str,
    name: &str,
) -> PyResult<&'py Bound<'py, PyType>> {
    place.import(py, module, name)
}
