//! The worker's half of an environment: it becomes the worker's own before the function is resolved.
//!
//! Guarantees: what main has changed since this worker's last task is changed here, and nothing
//! else, so what a task has added to its own `sys.path` or `os.environ` stays; nothing is imported
//! but for filters of warnings that are not CPython's own.
//!
//! The process's environment (`getenv`) is one for all interpreters, and main has changed it; only
//! the dict behind `os.environ` is brought up to date here.

use super::environment::{Environment, Numbered, Text, find};
use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::object::{Object, Outcome, Raised, check};
use std::ffi::CStr;
use std::ptr::NonNull;
use std::sync::Arc;

/// The helper (`_environment.py`) that sets the filters of warnings.
const ADOPT_FILTERS: &CStr = c"adopt_filters";

/// What surrounds the tasks of one worker.
pub struct Surroundings<'i> {
    token: Attached<'i>,
    /// What the last task had; a number that nobody knows any more changes the number alone.
    number: u64,
    current: Arc<Numbered>,
    /// The filters that were set last.
    filters: Option<Arc<[u8]>>,
}

impl<'i> Surroundings<'i> {
    /// Sets all of it, in a new interpreter. `helper` gives `subpool._environment`.
    pub fn start(
        token: Attached<'i>,
        first: &Arc<Numbered>,
        helper: impl FnOnce() -> Outcome<'i>,
    ) -> Result<Self, Raised> {
        let environment = &first.environment;
        let system = Object::import(token, c"sys")?;
        system.set_attribute(c"argv", &Object::texts(token, &environment.argv)?)?;
        let variables = variables(token)?;
        // SAFETY: live; not a dict only if somebody rebuilt `posix`: then nothing happens.
        unsafe { ffi::PyDict_Clear(variables.as_ptr()) };
        for (name, value) in &*environment.variables {
            set_variable(&variables, name, value)?;
        }
        set_recursion_limit(token, environment);
        if environment.filters.is_some() {
            adopt_filters(token, None, environment, helper)?;
        }
        Ok(Self {
            token,
            number: first.number,
            current: Arc::clone(first),
            filters: environment.filters.clone(),
        })
    }

    /// Sets what is not as in the environment of that number. What failed is tried again for the
    /// next task.
    pub fn enter(
        &mut self,
        number: u64,
        helper: impl FnOnce() -> Outcome<'i>,
    ) -> Result<(), Raised> {
        if number == self.number {
            return Ok(());
        }
        if let Some(next) = find(number) {
            // For the time of the change no number is the right one.
            self.number = 0;
            let last = std::mem::replace(&mut self.current, next);
            self.change(&last.environment, helper)?;
        }
        self.number = number;
        Ok(())
    }

    fn change(
        &mut self,
        old: &Environment,
        helper: impl FnOnce() -> Outcome<'i>,
    ) -> Result<(), Raised> {
        let (token, new) = (self.token, &self.current.environment);
        if new.path != old.path {
            let path = Object::import(token, c"sys")?.attribute(c"path")?;
            rebase(&path, &old.path, &new.path)?;
        }
        if new.argv != old.argv {
            let argv = Object::texts(token, &new.argv)?;
            Object::import(token, c"sys")?.set_attribute(c"argv", &argv)?;
        }
        if new.variables != old.variables {
            let variables = variables(token)?;
            for name in old.variables.keys() {
                if !new.variables.contains_key(name) {
                    unset_variable(&variables, name)?;
                }
            }
            for (name, value) in &*new.variables {
                if old.variables.get(name) != Some(value) {
                    set_variable(&variables, name, value)?;
                }
            }
        }
        if new.recursion_limit != old.recursion_limit {
            set_recursion_limit(token, new);
        }
        // Last: this alone runs Python code, which may be interrupted.
        if new.filters != self.filters {
            adopt_filters(token, self.filters.as_deref(), new, helper)?;
            self.filters.clone_from(&new.filters);
        }
        Ok(())
    }
}

/// The dict behind `os.environ`: `os` takes it as it is, and need not be imported here.
fn variables(token: Attached<'_>) -> Outcome<'_> {
    Object::import(token, c"posix")?.attribute(c"environ")
}

fn set_variable(variables: &Object<'_>, name: &[u8], value: &[u8]) -> Result<(), Raised> {
    let name = Object::bytes(variables.token(), name)?;
    let value = Object::bytes(variables.token(), value)?;
    // SAFETY: live; an error for what is no dict.
    check(unsafe { ffi::PyDict_SetItem(variables.as_ptr(), name.as_ptr(), value.as_ptr()) })
}

fn unset_variable(variables: &Object<'_>, name: &[u8]) -> Result<(), Raised> {
    let name = Object::bytes(variables.token(), name)?;
    // SAFETY: live; 0 if there is no such item, an error for what is no dict.
    unsafe {
        if ffi::PyDict_Contains(variables.as_ptr(), name.as_ptr()) == 1 {
            check(ffi::PyDict_DelItem(variables.as_ptr(), name.as_ptr()))?;
        }
    }
    Ok(())
}

fn set_recursion_limit(_token: Attached<'_>, environment: &Environment) {
    // SAFETY: attached (`_token`): it is the interpreter's own limit.
    unsafe { ffi::Py_SetRecursionLimit(environment.recursion_limit) };
}

fn adopt_filters<'i>(
    token: Attached<'i>,
    old: Option<&[u8]>,
    new: &Environment,
    helper: impl FnOnce() -> Outcome<'i>,
) -> Result<(), Raised> {
    let described = |filters: Option<&[u8]>| match filters {
        Some(filters) => Object::bytes(token, filters),
        None => Ok(Object::none(token)),
    };
    let both = [described(old)?, described(new.filters.as_deref())?];
    let arguments = Object::tuple(token, both)?;
    let adopt = helper()?.attribute(ADOPT_FILTERS)?;
    adopt.call(&arguments, None).map(drop)
}

/// Puts `new` where `old` was in a list that tasks may have changed: what they have put before it
/// or behind it stays there, and what they have removed stays away.
fn rebase(list: &Object<'_>, old: &[Text], new: &[Text]) -> Result<(), Raised> {
    let token = list.token();
    let Some(items) = items(list) else {
        return Ok(()); // a task has put something else in its place
    };
    let texts: Vec<_> = items.iter().map(Object::to_encoded_text).collect();
    let is_ours = |text: &Option<Vec<u8>>| {
        let text = text.as_deref();
        text.is_some_and(|text| old.iter().any(|known| **known == *text))
    };
    let first = texts.iter().position(is_ours).unwrap_or(items.len());
    let removed =
        |text: &Text| old.contains(text) && !texts.iter().flatten().any(|t| **t == **text);
    let (before, after) = items.split_at(first);
    let after = after.iter().zip(&texts[first..]);
    let kept = after.filter(|(_, text)| !is_ours(text));
    let changed = before
        .iter()
        .map(|item| Ok(item.share()))
        .chain(
            new.iter()
                .filter(|text| !removed(text))
                .map(|text| Object::text(token, text)),
        )
        .chain(kept.map(|(item, _)| Ok(item.share())));
    let changed = Object::list(token, changed)?;
    // SAFETY: two live lists (`items`); the whole of the one is replaced.
    check(unsafe { ffi::PyList_SetSlice(list.as_ptr(), 0, ffi::PY_SSIZE_T_MAX, changed.as_ptr()) })
}

/// The items of a list; `None` if it is none.
fn items<'i>(list: &Object<'i>) -> Option<Vec<Object<'i>>> {
    // SAFETY: live, and checked to be a list, which nobody changes here; each item is borrowed
    // from it, and made owned at once.
    unsafe {
        if ffi::PyList_Check(list.as_ptr()) == 0 {
            return None;
        }
        let size = ffi::PyList_Size(list.as_ptr());
        let item = |index| {
            let item = ffi::PyList_GetItem(list.as_ptr(), index);
            NonNull::new(item).map(|item| Object::from_borrowed(list.token(), item))
        };
        (0..size).map(item).collect()
    }
}
