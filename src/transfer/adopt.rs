//! The worker's half of an environment: it becomes the worker's own before the function is resolved.
//!
//! Guarantees: what main has changed since this worker's last task is changed here, and nothing
//! else, so what a task has added to its own `sys.path` or `os.environ` stays; nothing is imported
//! from a path, but `warnings` in a program with `-W`; what a task prints goes where its caller's
//! output goes, unless a task of this worker has set a stream of its own.
//!
//! The process's environment (`getenv`) is one for all interpreters, and main has changed it; only
//! the dict behind `os.environ` is brought up to date here.

use super::environment::{Environment, Numbered, Output, OutputKind, Text, find};
use super::voice::{self, Channel};
use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::object::{Object, Outcome, Raised, check};
use std::ffi::CStr;
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

/// `subpool._filters`, which sets the filters of warnings, in a worker: a name of its own, since it
/// is there without its package.
const HELPER: &CStr = c"_subpool_filters";

/// Its code, marshalled. Main has it before any filters of its own are known here.
static CODE: OnceLock<Box<[u8]>> = OnceLock::new();

/// Keeps the code of `subpool._filters`; the first one stays.
pub fn keep_code(code: &[u8]) {
    let _ = CODE.set(code.into());
}

/// What surrounds the tasks of one worker.
pub struct Surroundings<'i> {
    token: Attached<'i>,
    /// What the last task had; a number that nobody knows any more changes the number alone.
    number: u64,
    current: Arc<Numbered>,
    /// The filters that were set last.
    filters: Option<Arc<[u8]>>,
    speakers: [Speaker<'i>; 2],
}

/// What stands for `sys.stdout`, or for `sys.stderr`.
struct Speaker<'i> {
    attribute: &'static CStr,
    /// What CPython has made for this interpreter, over the process's descriptor.
    own: Object<'i>,
    /// What sends the output to main, once it was needed.
    voice: Option<Object<'i>>,
    channel: Arc<Channel>,
    /// What was set last.
    last: Object<'i>,
}

impl<'i> Surroundings<'i> {
    /// Sets all of it, but the path, in a new interpreter.
    pub fn start(token: Attached<'i>, first: &Arc<Numbered>) -> Result<Self, Raised> {
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
        let mut speakers = [
            Speaker::start(&system, c"stdout", 0)?,
            Speaker::start(&system, c"stderr", 1)?,
        ];
        for (speaker, output) in speakers.iter_mut().zip(environment.outputs) {
            speaker.direct_to(token, output)?;
        }
        let mut surroundings = Self {
            token,
            number: 0,
            current: Arc::clone(first),
            filters: None,
            speakers,
        };
        // What failed is tried again, and told of, by the first task.
        match surroundings.go_to(first.number) {
            Ok(()) => {}
            Err(raised) => raised.clear(token),
        }
        Ok(surroundings)
    }

    /// Sets what is not as in the environment of that number. What failed is tried again for the
    /// next task.
    #[inline]
    pub fn enter(&mut self, number: u64) -> Result<(), Raised> {
        if number == self.number {
            return Ok(());
        }
        self.go_to(number)
    }

    /// Sends what the task has printed without a line's end, before its end is told.
    #[inline]
    pub fn finish_lines(&self) {
        for speaker in &self.speakers {
            speaker.channel.finish_line();
        }
    }

    #[cold]
    fn go_to(&mut self, number: u64) -> Result<(), Raised> {
        if let Some(next) = find(number) {
            // For the time of the change no number is the right one.
            self.number = 0;
            let last = std::mem::replace(&mut self.current, next);
            self.change(&last.environment)?;
        }
        self.number = number;
        Ok(())
    }

    fn change(&mut self, old: &Environment) -> Result<(), Raised> {
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
        for (speaker, output) in self.speakers.iter_mut().zip(new.outputs) {
            speaker.direct_to(token, output)?;
        }
        // Last: this alone runs Python code, which may be interrupted.
        if new.filters != self.filters {
            adopt_filters(token, self.filters.as_deref(), new)?;
            self.filters.clone_from(&new.filters);
        }
        Ok(())
    }
}

impl<'i> Speaker<'i> {
    fn start(system: &Object<'i>, attribute: &'static CStr, which: usize) -> Result<Self, Raised> {
        let own = system.attribute(attribute)?;
        Ok(Self {
            attribute,
            last: own.share(),
            own,
            voice: None,
            channel: Channel::new(which),
        })
    }

    fn direct_to(&mut self, token: Attached<'i>, output: Output) -> Result<(), Raised> {
        let (fileno, terminal) = match output.kind {
            OutputKind::Forwarded { fileno, terminal } => (fileno, terminal),
            OutputKind::Own | OutputKind::Absent => (None, false),
        };
        // Also of one that is not `sys.stdout` now: somebody may have kept it.
        self.channel.direct_to(output.stream, fileno, terminal);
        let next = match (output.kind, &self.voice) {
            (OutputKind::Own, _) => self.own.share(),
            (OutputKind::Absent, _) => Object::none(token),
            (OutputKind::Forwarded { .. }, Some(voice)) => voice.share(),
            (OutputKind::Forwarded { .. }, None) => {
                let voice = voice::open(token, &self.channel)?;
                self.voice = Some(voice.share());
                voice
            }
        };
        if next.as_ptr() == self.last.as_ptr() {
            return Ok(());
        }
        let system = Object::import(token, c"sys")?;
        // A task that has set one of its own, or none, keeps it.
        let is_ours = match system.attribute(self.attribute) {
            Ok(present) => present.as_ptr() == self.last.as_ptr(),
            Err(raised) => {
                raised.clear(token);
                false
            }
        };
        if is_ours {
            system.set_attribute(self.attribute, &next)?;
            self.last = next;
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

fn adopt_filters(token: Attached<'_>, old: Option<&[u8]>, new: &Environment) -> Result<(), Raised> {
    let described = |filters: Option<&[u8]>| match filters {
        Some(filters) => Object::bytes(token, filters),
        None => Ok(Object::none(token)),
    };
    let both = [described(old)?, described(new.filters.as_deref())?];
    let arguments = Object::tuple(token, both)?;
    let adopt = helper(token)?.attribute(c"adopt")?;
    adopt.call(&arguments, None).map(drop)
}

/// The helper, made from its code the first time.
fn helper(token: Attached<'_>) -> Outcome<'_> {
    let known = Object::import(token, c"sys")?
        .attribute(c"modules")?
        .item_named(HELPER);
    known.or_else(|raised| {
        raised.clear(token);
        let code = CODE.get().map_or(&[][..], |code| &**code);
        // SAFETY: attached; pointer and length of one slice, read during the call, which refuses
        // what is no code; new references or null with an error.
        unsafe {
            let (start, size) = (code.as_ptr().cast(), code.len().cast_signed());
            let code = ffi::PyMarshal_ReadObjectFromString(start, size);
            let code = Object::from_new(token, code)?;
            let made = ffi::PyImport_ExecCodeModule(HELPER.as_ptr(), code.as_ptr());
            Object::from_new(token, made)
        }
    })
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
