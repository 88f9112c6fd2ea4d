//! The context variables that a pool carries: what they are for a call, taken when it is submitted.

use crate::encode;
use crate::ffi;
use crate::once::Once;
use crate::once::intern;
use crate::transfer::context::{Carried, Variable, label};
use crate::transfer::function::follow;
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::ptr;
use std::sync::Arc;

/// A variable, and the modules and attributes that lead to it.
pub type Located<'py> = (Bound<'py, PyAny>, Vec<(String, String)>);

/// The modules and attributes that lead to a variable, and its value.
pub type Valued<'py> = (Vec<(String, String)>, Bound<'py, PyAny>);

pub struct ContextVars(Vec<Entry>);

struct Entry {
    given: Py<PyAny>,
    names: Vec<(String, String)>,
    /// The first of the names, as the interpreter's own strings.
    module: Py<PyString>,
    attribute: Py<PyString>,
    /// The variable that the first of the names led to last, and what workers are told of it.
    last: Mutex<Option<(Py<PyAny>, Arc<Variable>)>>,
}

impl ContextVars {
    /// `None`: there are none, and calls travel without a context.
    pub fn new(located: Vec<Located<'_>>) -> PyResult<Option<Self>> {
        let entries = located.into_iter().map(|(variable, names)| {
            let Some((module, attribute)) = names.first() else {
                return Err(PyValueError::new_err("a context variable without a name"));
            };
            let text = |text: &str| PyString::intern(variable.py(), text).unbind();
            Ok(Entry {
                module: text(module),
                attribute: text(attribute),
                given: variable.unbind(),
                names,
                last: Mutex::new(None),
            })
        });
        let entries = entries.collect::<PyResult<Vec<_>>>()?;
        Ok((!entries.is_empty()).then_some(Self(entries)))
    }

    /// The values in `context`, or else in the current one.
    pub fn capture(
        &self,
        py: Python<'_>,
        context: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Arc<Carried>> {
        let mut carried = Vec::with_capacity(self.0.len());
        for entry in &self.0 {
            let variable = entry.variable(py);
            let sent = entry.sent(&variable)?;
            let payload = value(&variable, context)?
                .map(|value| encode::variable(|| label(&entry.names), &value))
                .transpose()?;
            carried.push((sent, payload));
        }
        Ok(Arc::new(Carried(carried)))
    }
}

/// The variables of `carried` that are set: their names, and copies of the values.
pub fn values<'py>(py: Python<'py>, carried: &Carried) -> PyResult<Vec<Valued<'py>>> {
    let set = carried
        .0
        .iter()
        .filter_map(|(variable, payload)| Some((variable.names().to_vec(), payload.clone()?)));
    set.map(|(names, payload)| Ok((names, encode::decode(py, payload)?)))
        .collect()
}

impl Entry {
    /// What the name leads to now, after a reload or in a notebook's next cell; if that is no
    /// context variable any more, the one that the pool was given.
    fn variable<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        let module = encode::object(self.module.bind(py));
        let attribute = encode::object(self.attribute.bind(py));
        match follow(&module, &[attribute]) {
            Ok(found) => {
                // SAFETY: an owned reference to an object of main.
                let found = unsafe { Bound::from_owned_ptr(py, found.into_ptr()) };
                if is_variable(&found) {
                    return found;
                }
            }
            Err(raised) => raised.clear(module.token()),
        }
        self.given.bind(py).clone()
    }

    /// What workers are told of the variable: the same as long as it is the same one.
    fn sent(&self, variable: &Bound<'_, PyAny>) -> PyResult<Arc<Variable>> {
        let by_value = encode::goes_by_value(variable.py(), &self.names[0].0)?;
        if let Some((last, sent)) = &*self.last.lock()
            && last.is(variable)
            && sent.by_value() == by_value
        {
            return Ok(Arc::clone(sent));
        }
        // Not under the lock: pickling a default runs the user's code.
        let code = match by_value {
            true => Some(encode::variable(|| label(&self.names), variable)?),
            false => None,
        };
        let sent = Arc::new(Variable::new(self.names.clone(), code));
        let made = (variable.clone().unbind(), Arc::clone(&sent));
        let before = self.last.lock().replace(made);
        // After the lock was let go: a finalizer may submit.
        drop(before);
        Ok(sent)
    }
}

fn is_variable(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: live; looks at its type.
    unsafe { ffi::PyContextVar_CheckExact(object.as_ptr()) != 0 }
}

static UNSET: Once<Py<PyAny>> = Once::new();

/// The variable's value, if it is set; its default does not count.
fn value<'py>(
    variable: &Bound<'py, PyAny>,
    context: Option<&Bound<'py, PyAny>>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = variable.py();
    let unset = UNSET.get_or_try_init(py, || {
        let object = py.import("builtins")?.getattr("object")?;
        PyResult::Ok(object.call0()?.unbind())
    })?;
    let unset = unset.bind(py);
    let value = match context {
        Some(context) => context.call_method1(intern!(py, "get"), (variable, unset))?,
        None => {
            let mut value = ptr::null_mut();
            // SAFETY: attached; a live variable (`Entry::variable` saw its type, and Python has
            // checked the given ones); `value` becomes a new reference or null with an error.
            unsafe {
                ffi::PyContextVar_Get(variable.as_ptr(), unset.as_ptr(), &raw mut value);
                Bound::from_owned_ptr_or_err(py, value)?
            }
        }
    };
    Ok(Some(value).filter(|value| !value.is(unset)))
}
