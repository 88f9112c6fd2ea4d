//! The main side of a call: which form it takes, and what its answer means.
//!
//! The fast path, a function known by name with arguments that travel as they are, stays in here.
//! Everything else is decided in Python (`subpool._encode`), where it is rare and slow anyway.

use crate::completer;
use crate::core::names::Names;
use crate::environ;
use crate::error::Error;
use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::object::{Object, Raised};
use crate::once::Once;
use crate::once::intern;
use crate::transfer::buffer::{Buffer, Side};
use crate::transfer::call::{Answer, Call, Form, Label};
use crate::transfer::codec::Nothing;
use crate::transfer::function::{Definition, Known, Source, resolve};
use crate::transfer::value::{Encoding, Payload, Transfer};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTraceback, PyTuple};
use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::Arc;

/// What the main interpreter keeps for all pools. Never dropped.
pub struct Main {
    pub transfer: Transfer<'static>,
    known: Known<'static>,
    /// The modules that go by value. Borrowed only where no Python code runs.
    by_value_modules: RefCell<Names>,
    reference: Py<PyAny>,
    by_value: Py<PyAny>,
    function_by_value: Py<PyAny>,
    arguments_by_value: Py<PyAny>,
    variable_by_value: Py<PyAny>,
    label: Py<PyAny>,
    rebuild: Py<PyAny>,
}

// SAFETY: reached through `main_side` alone, which asks for `Python<'_>`: the thread is attached to
// the main interpreter, the only one that can import this module, and its GIL keeps others out.
unsafe impl Send for Main {}
// SAFETY: as above; `Known` lets go of its borrow before anything that could release the GIL.
unsafe impl Sync for Main {}

static MAIN: Once<Main> = Once::new();

impl Main {
    /// Whether it is a pickle with a name that another interpreter cannot follow, or shall not.
    pub fn goes_by_value(&self, payload: &Payload) -> bool {
        let pickled = payload.encoding == Encoding::Pickle;
        pickled && self.by_value_modules.borrow().any_in(&payload.bytes)
    }
}

/// The token for the main interpreter.
pub fn token(_py: Python<'_>) -> Attached<'static> {
    // SAFETY: attached (`_py`). The token is kept in no place that outlives the attachment but
    // `MAIN`, whose objects are used under a `Python<'_>` again and never dropped; the main
    // interpreter ends with the process.
    unsafe { Attached::assume() }
}

pub fn main_side(py: Python<'_>) -> PyResult<&'static Main> {
    MAIN.get_or_try_init(py, || {
        let helpers = py.import("subpool._encode")?;
        let helper = |name| PyResult::Ok(helpers.getattr(name)?.unbind());
        let by_value_modules = py.import("subpool._registry")?.getattr("names")?.call0()?;
        Ok(Main {
            transfer: Transfer::start(token(py), Side::Main).map_err(|_| PyErr::fetch(py))?,
            known: Known::new(),
            by_value_modules: RefCell::new(names(by_value_modules.extract()?)),
            reference: helper("reference")?,
            by_value: helper("by_value")?,
            function_by_value: helper("function_by_value")?,
            arguments_by_value: helper("arguments_by_value")?,
            variable_by_value: helper("variable_by_value")?,
            label: helper("label")?,
            rebuild: helper("rebuild_exception")?,
        })
    })
}

pub fn object(bound: &Bound<'_, PyAny>) -> Object<'static> {
    // SAFETY: a live object of the main interpreter; the reference taken is dropped by the
    // functions below, and by `capture`, before they return, under the same `Python<'_>`.
    unsafe { Object::from_borrowed(token(bound.py()), NonNull::new_unchecked(bound.as_ptr())) }
}

/// A call, encoded, or why it cannot travel.
pub fn call<'py>(
    function: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Call> {
    let py = function.py();
    let main = main_side(py)?;
    completer::clear_graveyard(py);
    let environment = environ::number(py)?;
    let kwargs = kwargs.filter(|kwargs| !kwargs.is_empty());
    if let Some(known) = definition(main, function)? {
        let call = match kwargs {
            None => plain(main, args)?.map(|payload| (Form::Positional(known), payload)),
            Some(kwargs) => {
                let both = PyTuple::new(py, [args.as_any(), kwargs.as_any()])?;
                plain(main, &both)?.map(|payload| (Form::Keywords(known), payload))
            }
        };
        if let Some((form, payload)) = call {
            return Ok(Call::new(form, payload, environment));
        }
    }
    let kwargs = kwargs.map_or_else(|| PyDict::new(py), Clone::clone);
    let whole = PyTuple::new(py, [function, args.as_any(), kwargs.as_any()])?;
    let by_name = match is_method_without_name(function)? {
        true => None,
        false => plain(main, &whole)?,
    };
    let payload = match by_name {
        Some(payload) => payload,
        None => by_value(py, main, |sink| {
            main.by_value.bind(py).call1((function, args, kwargs, sink))
        })?,
    };
    let form = Form::Whole(label(main, function)?.into());
    Ok(Call::new(form, payload, environment))
}

/// A function on its own, for many calls: by name, or else by value.
pub fn function(function: &Bound<'_, PyAny>) -> PyResult<Arc<Definition>> {
    let py = function.py();
    let main = main_side(py)?;
    completer::clear_graveyard(py);
    if let Some(known) = definition(main, function)? {
        return Ok(known);
    }
    let payload = match plain(main, function)? {
        Some(payload) => payload,
        None => by_value(py, main, |sink| {
            main.function_by_value.bind(py).call1((function, sink))
        })?,
    };
    Ok(Arc::new(Definition::new(Source::Code {
        label: label(main, function)?,
        payload,
    })))
}

/// A call of a function that was encoded before.
pub fn call_of(known: &Arc<Definition>, args: &Bound<'_, PyTuple>) -> PyResult<Call> {
    let py = args.py();
    let main = main_side(py)?;
    let payload = match plain(main, args)? {
        Some(payload) => payload,
        None => by_value(py, main, |sink| {
            let helper = main.arguments_by_value.bind(py);
            helper.call1((known.to_string(), args, sink))
        })?,
    };
    let form = Form::Positional(Arc::clone(known));
    Ok(Call::new(form, payload, environ::number(py)?))
}

/// Whether what belongs to the module of this name goes by value.
pub fn goes_by_value(py: Python<'_>, module: &str) -> PyResult<bool> {
    Ok(main_side(py)?.by_value_modules.borrow().has(module))
}

/// A context variable's value, or a variable itself; `name` is for the error.
pub fn variable(name: impl FnOnce() -> String, value: &Bound<'_, PyAny>) -> PyResult<Payload> {
    let main = main_side(value.py())?;
    let encoded = main.transfer.encode(&object(value));
    variable_of(main, name, value, encoded)
}

/// The same with what came of the value as it is.
pub fn variable_of(
    main: &Main,
    name: impl FnOnce() -> String,
    value: &Bound<'_, PyAny>,
    encoded: Result<Payload, Raised>,
) -> PyResult<Payload> {
    let py = value.py();
    match encoded {
        Ok(payload) if !main.goes_by_value(&payload) => return watched(payload),
        Ok(_) => {}
        Err(_) => unless_fatal(py)?,
    }
    by_value(py, main, |sink| {
        let helper = main.variable_by_value.bind(py);
        helper.call1((name(), value, sink))
    })
}

/// What a call is in main: its function, and copies of its arguments.
pub type Parts<'py> = (Bound<'py, PyAny>, Bound<'py, PyTuple>, Bound<'py, PyDict>);

/// Decodes what was encoded here or by a worker.
#[inline]
pub fn decode(py: Python<'_>, payload: Payload) -> PyResult<Bound<'_, PyAny>> {
    match main_side(py)?.transfer.decode(token(py), payload) {
        // SAFETY: an owned reference to an object of main, given up by `into_ptr`.
        Ok(object) => Ok(unsafe { Bound::from_owned_ptr(py, object.into_ptr()) }),
        Err(_) => Err(PyErr::fetch(py)),
    }
}

/// Decodes a call again, for another way to run it.
pub fn decode_call(py: Python<'_>, call: Call) -> PyResult<Parts<'_>> {
    let loaded = decode(py, call.payload)?;
    let function = |known: &Definition| match &known.source {
        Source::Name { module, qualname } => {
            match resolve(token(py), module, qualname) {
                // SAFETY: as in `decode`.
                Ok(object) => Ok(unsafe { Bound::from_owned_ptr(py, object.into_ptr()) }),
                Err(_) => Err(PyErr::fetch(py)),
            }
        }
        Source::Code { payload, .. } => decode(py, payload.clone()),
    };
    Ok(match &call.form {
        Form::Positional(known) => (
            function(known)?,
            loaded.cast_into::<PyTuple>()?,
            PyDict::new(py),
        ),
        Form::Keywords(known) => {
            let (args, kwargs) = loaded.extract()?;
            (function(known)?, args, kwargs)
        }
        Form::Whole(_) => loaded.extract()?,
    })
}

/// A function's name, for error messages.
pub fn name(function: &Bound<'_, PyAny>) -> PyResult<Arc<str>> {
    Ok(label(main_side(function.py())?, function)?.into())
}

fn label(main: &Main, function: &Bound<'_, PyAny>) -> PyResult<String> {
    let label = main.label.bind(function.py()).call1((function,))?;
    Ok(label.cast::<PyString>()?.to_string_lossy().into_owned())
}

/// The value as it is. `None`: by value, or not at all; the Python side knows, and says why.
fn plain(main: &Main, value: &Bound<'_, PyAny>) -> PyResult<Option<Payload>> {
    match main.transfer.encode(&object(value)) {
        Ok(payload) if main.goes_by_value(&payload) => Ok(None),
        Ok(payload) => watched(payload).map(Some),
        Err(_) => unless_fatal(value.py()).map(|()| None),
    }
}

/// Whether it is a bound method that its object does not have by the function's name, as happens
/// with methods that a decorator has replaced: pickle takes it, and fails where it is loaded.
fn is_method_without_name(function: &Bound<'_, PyAny>) -> PyResult<bool> {
    // SAFETY: attached (`py` of `function`); the type lives as long as the interpreter.
    let is_method = unsafe {
        let method = &raw mut ffi::PyMethod_Type;
        ffi::Py_TYPE(function.as_ptr()) == method
    };
    if !is_method {
        return Ok(false);
    }
    let py = function.py();
    let found = function.getattr(intern!(py, "__name__"));
    let found = found.and_then(|name| {
        let name = name.cast_into::<PyString>()?;
        function.getattr(intern!(py, "__self__"))?.getattr(name)
    });
    match found.and_then(|found| found.eq(function)) {
        Ok(same) => Ok(!same),
        Err(error) if error.is_instance_of::<PyException>(py) => Ok(true),
        Err(error) => Err(error),
    }
}

/// What `write` has a pickler of Python's write to the sink that it is given.
fn by_value<'py>(
    py: Python<'py>,
    main: &Main,
    write: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Payload> {
    let opened = main.transfer.open_sink(token(py));
    let opened = opened.map_err(|_| PyErr::fetch(py))?;
    // SAFETY: an owned reference to an object of main.
    let sink = unsafe { Bound::from_owned_ptr(py, opened.into_ptr()) };
    write(&sink)?;
    let payload = main.transfer.collect(&object(&sink));
    watched(payload.map_err(|_| PyErr::fetch(py))?)
}

/// Sees to it that what travels beside a payload is let go of, although nobody may ever call again.
fn watched(payload: Payload) -> PyResult<Payload> {
    if payload.buffers.iter().any(Buffer::is_memory) {
        completer::start().map_err(Error::Thread)?;
    }
    Ok(payload)
}

/// Takes the exception away, so that another way can be tried; Ctrl-C and the like stay.
fn unless_fatal(py: Python<'_>) -> PyResult<()> {
    let error = PyErr::fetch(py);
    if error.is_instance_of::<PyException>(py) {
        Ok(())
    } else {
        Err(error)
    }
}

/// The function's definition, if it has a name by which any interpreter can import it.
fn definition(main: &Main, function: &Bound<'_, PyAny>) -> PyResult<Option<Arc<Definition>>> {
    let py = function.py();
    if let Some(known) = main.known.get(&object(function)) {
        return Ok(Some(known));
    }
    let found = loop {
        let cleared = main.known.cleared();
        let found = main.reference.bind(py).call1((function,))?;
        if found.is_none() {
            return Ok(None);
        }
        // Else another thread has sent the function's module by value while `reference` ran.
        if main.known.cleared() == cleared {
            break found;
        }
    };
    let (module, qualname, target) =
        found.extract::<(Bound<'_, PyString>, Bound<'_, PyString>, Bound<'_, PyAny>)>()?;
    main.known
        .enter(
            object(function),
            object(&target),
            module.to_str()?,
            qualname.to_str()?,
        )
        .map(Some)
        .map_err(|_| PyErr::fetch(py))
}

fn names(others: Vec<String>) -> Names {
    Names::new(others.iter().map(String::as_str))
}

/// Has the functions and classes of these modules, and of those below them, go by value from now
/// on, and no others. Called by `subpool._registry`, which is what `reference` asks.
#[pyfunction]
pub fn set_by_value(py: Python<'_>, modules: Vec<String>) -> PyResult<()> {
    let main = main_side(py)?;
    main.by_value_modules.replace(names(modules));
    main.known.clear();
    Ok(())
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
    /// Boxed, since every future has room for it: the exception, and its traceback.
    Error(Box<(Py<PyAny>, Option<Py<PyTraceback>>)>),
}

impl Decoded {
    pub fn error(py: Python<'_>, error: PyErr) -> Self {
        let traceback = error.traceback(py).map(Bound::unbind);
        Self::Error(Box::new((error.into_value(py).into_any(), traceback)))
    }

    #[inline]
    pub fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Value(value) => Self::Value(value.clone_ref(py)),
            Self::Error(raised) => {
                let (error, traceback) = &**raised;
                let traceback = traceback.as_ref().map(|traceback| traceback.clone_ref(py));
                Self::Error(Box::new((error.clone_ref(py), traceback)))
            }
        }
    }

    /// The value, or the exception to be raised, as it was before it was raised anywhere: each
    /// raise puts the frames that it passes before those of the worker.
    #[inline]
    pub fn into_result(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Error(raised) => {
                let (error, traceback) = *raised;
                let error = PyErr::from_value(error.into_bound(py));
                error.set_traceback(py, traceback.map(|traceback| traceback.into_bound(py)));
                Err(error)
            }
        }
    }
}

/// Decodes an answer. Whatever goes wrong meanwhile becomes the answer.
pub fn answer(py: Python<'_>, label: &Label, answer: Answer) -> Decoded {
    let decoded = match answer {
        Answer::Value(payload) => value(py, label, payload),
        Answer::Raised(encoded) => main_side(py).and_then(|main| {
            let encoded = PyBytes::new(py, &encoded);
            let rebuilt = main.rebuild.bind(py).call1((label.to_string(), encoded))?;
            Ok(Decoded::error(py, PyErr::from_value(rebuilt)))
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
        Answer::Interrupted {
            timeout,
            traceback,
            stuck,
        } => Err(Error::Interrupted {
            label: label.to_string(),
            timeout,
            traceback,
            stuck,
        }
        .into()),
        Answer::Incompatible { refusal, begun } => Err(Error::Incompatible {
            label: label.to_string(),
            refusal,
            begun,
        }
        .into()),
        Answer::Here { object, raised } => {
            // Never `None`: errand.rs, which makes these answers, keeps an object.
            let object = object.into_object().map_or_else(
                || py.None(),
                // SAFETY: an owned reference to an object of main.
                |object| unsafe { Bound::from_owned_ptr(py, object.as_ptr()).unbind() },
            );
            Ok(if raised {
                Decoded::error(py, PyErr::from_value(object.into_bound(py)))
            } else {
                Decoded::Value(object)
            })
        }
        Answer::Broken(broken) => Err(Error::Broken(broken).into()),
    };
    decoded.unwrap_or_else(|error| Decoded::error(py, error))
}

fn value(py: Python<'_>, label: &Label, payload: Payload) -> PyResult<Decoded> {
    match decode(py, payload) {
        Ok(value) => Ok(Decoded::Value(value.unbind())),
        Err(cause) => {
            let error = py
                .import("subpool.errors")?
                .getattr("unreadable_result")?
                .call1((label.to_string(), cause.into_value(py)))?;
            Ok(Decoded::error(py, PyErr::from_value(error)))
        }
    }
}
