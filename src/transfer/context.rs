//! Context variables on their way to a worker, and the context that a task runs in there.
//!
//! Guarantees: a task with a context runs in one of its own, a copy of the worker's with the
//! caller's values, so what it sets is gone with it; a variable that the caller has not set is not
//! set in the task either, whatever the initializer or another task did.

use super::function::follow;
use super::value::{Payload, Transfer};
use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::object::{Object, Outcome, Raised, check};
use rustc_hash::FxHashMap;
use std::collections::hash_map::Entry;
use std::ffi::CStr;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A context variable as any interpreter can have it.
#[derive(Debug)]
pub struct Variable {
    /// Never used twice in a process.
    number: u64,
    /// Modules and attributes that lead to it, the best first; never empty.
    names: Vec<(String, String)>,
    /// For one of a by-value module, which a worker cannot import: what makes it there.
    code: Option<Payload>,
}

impl Variable {
    /// Whether it goes by value.
    #[must_use]
    pub const fn by_value(&self) -> bool {
        self.code.is_some()
    }

    #[must_use]
    pub fn new(names: Vec<(String, String)>, code: Option<Payload>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Relaxed: only uniqueness matters.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            number,
            names,
            code,
        }
    }

    /// The modules and attributes that lead to it.
    #[must_use]
    pub fn names(&self) -> &[(String, String)] {
        &self.names
    }

    /// For error messages and `NotTransferableError.path`.
    #[must_use]
    pub fn label(&self) -> String {
        label(&self.names)
    }
}

/// What a variable of these names is called in error messages.
#[must_use]
pub fn label(names: &[(String, String)]) -> String {
    let (module, attribute) = names.first().map_or(("", ""), |(m, a)| (m, a));
    format!("context variable '{module}.{attribute}'")
}

/// The variables of a pool, each with its value for one call, or for all of a `map`. `None`: it is
/// not set.
#[derive(Debug)]
pub struct Carried(pub Vec<(Arc<Variable>, Option<Payload>)>);

/// Which variable could not be had here, or its value.
#[derive(Debug)]
pub struct Refused(pub String, pub Raised);

/// The variables that one worker has met.
pub struct Variables<'i> {
    places: FxHashMap<u64, Place<'i>>,
}

struct Place<'i> {
    /// The name that led to it last comes first.
    names: Vec<(Object<'i>, Object<'i>)>,
    /// One of a by-value module, once it was made.
    made: Option<Object<'i>>,
}

impl<'i> Variables<'i> {
    #[must_use]
    pub fn new() -> Self {
        Self {
            places: FxHashMap::default(),
        }
    }

    /// Enters a context of its own for a task. `helper` gives `subpool._context`.
    ///
    /// What may run Python code of modules (imports, unpickling) runs before that, in the worker's
    /// own context, where what it sets stays.
    pub fn enter(
        &mut self,
        token: Attached<'i>,
        transfer: &Transfer<'i>,
        carried: &Carried,
        helper: impl Fn() -> Outcome<'i>,
    ) -> Result<Entered<'i>, Refused> {
        let mut values = Vec::with_capacity(carried.0.len());
        let mut unset = Vec::new();
        for (variable, payload) in &carried.0 {
            let refused = |raised| Refused(variable.label(), raised);
            let place = self.place(token, variable).map_err(refused)?;
            match payload {
                None => unset.extend(place.look(token)),
                Some(payload) => {
                    let found = place.find(token, variable, transfer, &helper);
                    let value = transfer.decode(token, payload.clone());
                    values.push((found.map_err(refused)?, value.map_err(refused)?, variable));
                }
            }
        }
        let nameless = |raised| Refused("context variables".to_owned(), raised);
        // SAFETY: attached (`token`); a new reference or null with an error.
        let context = unsafe { Object::from_new(token, ffi::PyContext_CopyCurrent()) };
        let mut entered = Entered::new(context.map_err(nameless)?).map_err(nameless)?;
        // Nearly never: only an initializer, or a module's top level, sets one for the worker.
        if unset.iter().any(|variable| entered.has(variable)) {
            let context = entered.context.share();
            drop(entered);
            let without = || {
                let unset = Object::list(token, unset.iter().map(|found| Ok(found.share())))?;
                let arguments = Object::tuple(token, [context, unset])?;
                let helper = helper()?.attribute(c"without")?;
                Entered::new(helper.call(&arguments, None)?)
            };
            entered = without().map_err(nameless)?;
        }
        for (found, value, variable) in values {
            // SAFETY: a live context variable and a live value; a new reference (the variable's
            // token, which nobody wants) or null with an error.
            let set = unsafe { ffi::PyContextVar_Set(found.as_ptr(), value.as_ptr()) };
            // SAFETY: as just said.
            unsafe { Object::from_new(token, set) }
                .map_err(|raised| Refused(variable.label(), raised))?;
        }
        Ok(entered)
    }

    fn place(
        &mut self,
        token: Attached<'i>,
        variable: &Variable,
    ) -> Result<&mut Place<'i>, Raised> {
        match self.places.entry(variable.number) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let text = |text: &String| Object::string(token, text);
                let names = variable
                    .names
                    .iter()
                    .map(|(module, attribute)| Ok((text(module)?, text(attribute)?)));
                let names = names.collect::<Result<_, Raised>>()?;
                Ok(entry.insert(Place { names, made: None }))
            }
        }
    }
}

impl Default for Variables<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'i> Place<'i> {
    /// The variable, if its module is there already.
    ///
    /// Looked for anew each time: a task may reload a module, and its functions then use the new
    /// variable.
    fn look(&mut self, token: Attached<'i>) -> Option<Object<'i>> {
        if let Some(made) = &self.made {
            return Some(made.share());
        }
        for index in 0..self.names.len() {
            let (module, attribute) = &self.names[index];
            match follow(module, std::slice::from_ref(attribute)) {
                Ok(found) if is_variable(&found) => {
                    self.names.swap(0, index);
                    return Some(found);
                }
                Ok(_) => {}
                Err(raised) => raised.clear(token),
            }
        }
        None
    }

    /// The variable, its module imported if need be.
    fn find(
        &mut self,
        token: Attached<'i>,
        variable: &Variable,
        transfer: &Transfer<'i>,
        helper: impl Fn() -> Outcome<'i>,
    ) -> Outcome<'i> {
        if let Some(code) = &variable.code {
            if let Some(made) = &self.made {
                return Ok(made.share());
            }
            let made = transfer.decode(token, code.clone())?;
            self.made = Some(made.share());
            return Ok(made);
        }
        if let Some(found) = self.look(token) {
            return Ok(found);
        }
        let pairs = self
            .names
            .iter()
            .map(|(module, attribute)| Object::tuple(token, [module.share(), attribute.share()]));
        let pairs = Object::list(token, pairs)?;
        helper()?.attribute(IMPORT)?.call1(&pairs)
    }
}

/// The helper (`_context.py`) that imports a variable by one of its names, and checks what it got.
const IMPORT: &CStr = c"import_variable";

fn is_variable(object: &Object<'_>) -> bool {
    // SAFETY: live; looks at its type.
    unsafe { ffi::PyContextVar_CheckExact(object.as_ptr()) != 0 }
}

/// The thread runs in this context, until it is dropped.
pub struct Entered<'i> {
    context: Object<'i>,
}

impl<'i> Entered<'i> {
    fn new(context: Object<'i>) -> Result<Self, Raised> {
        // SAFETY: live; an error for what is no context, or one that is entered already.
        check(unsafe { ffi::PyContext_Enter(context.as_ptr()) })?;
        Ok(Self { context })
    }

    /// Whether the variable is set in this context.
    fn has(&self, variable: &Object<'i>) -> bool {
        let mut value = ptr::null_mut();
        // SAFETY: a live variable. The context takes the place of the value where there is none:
        // nobody else has it, so it is no value. `value` is a new reference or null.
        unsafe {
            let context = self.context.as_ptr();
            if ffi::PyContextVar_Get(variable.as_ptr(), context, &raw mut value) < 0 {
                Raised::pending(self.context.token()).clear(self.context.token());
                return false;
            }
            ffi::Py_XDECREF(value);
            value != context
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        // SAFETY: `new` entered the context on this thread (the guard is not `Send`, as it holds an
        // object). What the task raised is pending, and kept past an error of the exit's own: that
        // comes only if a C function of the task left another context entered.
        unsafe {
            let raised = ffi::PyErr_GetRaisedException();
            if ffi::PyContext_Exit(self.context.as_ptr()) < 0 {
                ffi::PyErr_WriteUnraisable(self.context.as_ptr());
            }
            if !raised.is_null() {
                ffi::PyErr_SetRaisedException(raised);
            }
        }
    }
}
