//! The main side of a call: which form it takes, and what its answer means.
//!
//! The fast path, a function known by name with arguments that travel as they are, stays in here.
//! Everything else is decided in Python (`subpool._encode`), where it is rare and slow anyway.

use crate::error::Error;
use crate::interp::attach::Attached;
use crate::interp::object::Object;
use crate::transfer::call::{Answer, Call, Form, Label};
use crate::transfer::codec::Nothing;
use crate::transfer::function::{Definition, Known};
use crate::transfer::value::{Encoding, Payload, Transfer};
use memchr::memmem;
use once_cell::sync::Lazy;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use std::ptr::NonNull;
use std::sync::Arc;

/// How a pickle names the module `__main__`, which means another thing in every interpreter.
const MAIN_MODULE: &[u8] = b"\x8c\x08__main__";

fn names_main(payload: &Payload) -> bool {
    static FINDER: Lazy<memmem::Finder<'static>> = Lazy::new(|| memmem::Finder::new(MAIN_MODULE));
    payload.encoding == Encoding::Pickle && FINDER.find(&payload.bytes).is_some()
}

/// What the main interpreter keeps for all pools. Never dropped.
struct Main {
    transfer: Transfer<'static>,
    known: Known<'static>,
    reference: Py<PyAny>,
    whole: Py<PyAny>,
    rebuild: Py<PyAny>,
}

// SAFETY: reached through `main_side` alone, which asks for `Python<'_>`: the thread is attached to
// the main interpreter, the only one that can import this module, and its GIL keeps others out.
unsafe impl Send for Main {}
// SAFETY: as above; `Known` lets go of its borrow before anything that could release the GIL.
unsafe impl Sync for Main {}

static MAIN: PyOnceLock<Main> = PyOnceLock::new();

/// The token for the main interpreter.
fn token(_py: Python<'_>) -> Attached<'static> {
    // SAFETY: attached (`_py`). The token is kept in no place that outlives the attachment but
    // `MAIN`, whose objects are used under a `Python<'_>` again and never dropped; the main
    // interpreter ends with the process.
    unsafe { Attached::assume() }
}

fn main_side(py: Python<'_>) -> PyResult<&'static Main> {
    MAIN.get_or_try_init(py, || {
        let helpers = py.import("subpool._encode")?;
        let helper = |name| PyResult::Ok(helpers.getattr(name)?.unbind());
        Ok(Main {
            transfer: Transfer::start(token(py)).map_err(|_| PyErr::fetch(py))?,
            known: Known::new(),
            reference: helper("reference")?,
            whole: helper("whole")?,
            rebuild: helper("rebuild_exception")?,
        })
    })
}

fn object(bound: &Bound<'_, PyAny>) -> Object<'static> {
    // SAFETY: a live object of the main interpreter; the reference taken is dropped by the
    // functions below before they return, under the same `Python<'_>`.
    unsafe { Object::from_borrowed(token(bound.py()), NonNull::new_unchecked(bound.as_ptr())) }
}

/// A call as bytes, or why it cannot travel.
pub fn call<'py>(
    function: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Call> {
    let py = function.py();
    let main = main_side(py)?;
    let kwargs = kwargs.filter(|kwargs| !kwargs.is_empty());
    if let Some(known) = definition(main, function)? {
        let payload = match kwargs {
            None => main.transfer.encode(&object(args)),
            Some(kwargs) => {
                let both = PyTuple::new(py, [args.as_any(), kwargs.as_any()])?;
                main.transfer.encode(&object(&both))
            }
        };
        match payload {
            Ok(payload) if !names_main(&payload) => {
                let form = match kwargs {
                    None => Form::Positional(known),
                    Some(_) => Form::Keywords(known),
                };
                return Ok(Call { form, payload });
            }
            // By value, or not at all: `whole` knows and says why.
            Ok(_) => {}
            Err(_) => drop(PyErr::fetch(py)),
        }
    }
    let kwargs = kwargs.map_or_else(|| PyDict::new(py), Clone::clone);
    let reply = main.whole.bind(py).call1((function, args, kwargs))?;
    let (label, payload) = reply.extract::<(Bound<'py, PyString>, Bound<'py, PyBytes>)>()?;
    Ok(Call {
        form: Form::Whole(label.to_string_lossy().into()),
        payload: Payload::pickled(payload.as_bytes().to_vec()),
    })
}

/// The function's definition, if it has a name by which any interpreter can import it.
fn definition(main: &Main, function: &Bound<'_, PyAny>) -> PyResult<Option<Arc<Definition>>> {
    let py = function.py();
    if let Some(known) = main.known.get(&object(function)) {
        return Ok(Some(known));
    }
    let found = main.reference.bind(py).call1((function,))?;
    if found.is_none() {
        return Ok(None);
    }
    let (module, qualname, target) =
        found.extract::<(Bound<'_, PyString>, Bound<'_, PyString>, Bound<'_, PyAny>)>()?;
    let definition = Arc::new(Definition::new(
        module.to_str()?.into(),
        qualname.to_str()?.into(),
    ));
    main.known
        .enter(object(function), object(&target), &definition)
        .map_err(|_| PyErr::fetch(py))?;
    Ok(Some(definition))
}

/// `value` in the native format, or `None` if it must go by pickle. For tests.
#[pyfunction]
pub fn _native_encode<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let codec = main_side(value.py())?.transfer.codec();
    let bytes = codec.encode(&object(value), &mut Nothing);
    Ok(bytes.map(|bytes| PyBytes::new(value.py(), &bytes)))
}

/// What the native format says; `ValueError`, or another error, for what it never says. For tests.
#[pyfunction]
pub fn _native_decode<'py>(encoded: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyAny>> {
    let py = encoded.py();
    let codec = main_side(py)?.transfer.codec();
    match codec.decode(token(py), encoded.as_bytes(), &mut Nothing) {
        // SAFETY: an owned reference to a main-interpreter object, given up by `into_ptr`.
        Ok(value) => unsafe { Ok(Bound::from_owned_ptr(py, value.into_ptr())) },
        Err(_) => Err(PyErr::fetch(py)),
    }
}

/// What an answer is in the main interpreter: a value, or an exception to raise.
pub enum Decoded {
    Value(Py<PyAny>),
    Error(Py<PyAny>),
}

impl Decoded {
    pub fn error(py: Python<'_>, error: PyErr) -> Self {
        Self::Error(error.into_value(py).into_any())
    }

    pub fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Value(value) => Self::Value(value.clone_ref(py)),
            Self::Error(error) => Self::Error(error.clone_ref(py)),
        }
    }
}

/// Decodes an answer. Whatever goes wrong meanwhile becomes the answer.
pub fn answer(py: Python<'_>, label: &Label, answer: Answer) -> Decoded {
    let decoded = match answer {
        Answer::Value(payload) => value(py, label, payload),
        Answer::Raised { pickled, traceback } => main_side(py).and_then(|main| {
            let pickled = PyBytes::new(py, &pickled);
            let rebuilt = main
                .rebuild
                .bind(py)
                .call1((label.to_string(), pickled, traceback))?;
            Ok(Decoded::Error(rebuilt.unbind()))
        }),
        Answer::Untransferable {
            message,
            path,
            traceback,
        } => Err(Error::Untransferable {
            message,
            path,
            traceback,
        }
        .into()),
        Answer::Broken(broken) => Err(Error::Broken(broken).into()),
    };
    decoded.unwrap_or_else(|error| Decoded::error(py, error))
}

fn value(py: Python<'_>, label: &Label, payload: Payload) -> PyResult<Decoded> {
    match main_side(py)?.transfer.decode(token(py), payload) {
        // SAFETY: an owned reference to a main-interpreter object, given up by `into_ptr`.
        Ok(value) => unsafe {
            Ok(Decoded::Value(
                Bound::from_owned_ptr(py, value.into_ptr()).unbind(),
            ))
        },
        Err(_) => {
            let cause = PyErr::fetch(py);
            let error = py
                .import("subpool.errors")?
                .getattr("unreadable_result")?
                .call1((label.to_string(), cause.into_value(py)))?;
            Ok(Decoded::Error(error.unbind()))
        }
    }
}
