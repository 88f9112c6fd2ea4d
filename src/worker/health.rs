//! Whether a worker's interpreter still does what a new one does.
//!
//! Guarantees: a look costs nothing but after a failure, and runs no Python code unless something is
//! not as it was; what was there at the beginning is kept where no task finds it by its name.
//! Not guaranteed: that all harm is found. A worker in which everything works that we need of it
//! stays, whatever its modules have become.
//!
//! `subpool._health` has what is looked at in Python. Its code runs with the builtins that were kept,
//! since those that are there now may be what is harmed.

use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::object::{Object, Outcome, Raised, check};
use crate::interp::visit::is_interrupt;
use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::{CStr, c_int};
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// That of `subpool._health`, marshalled. Kept before there is a worker: main would run Python code
/// to answer a worker that asks, and with it finalizers, which may wait for that very worker.
static CODE: OnceLock<Box<[u8]>> = OnceLock::new();

/// How often the builtins of some worker have changed. Who finds it changed looks at its own.
static CHANGES: AtomicU64 = AtomicU64::new(0);

const ESSENTIAL: [&CStr; 3] = [c"sys", c"builtins", c"_subpool_worker"];

/// Keeps the code of `subpool._health`; the first one stays.
pub fn keep_code(code: &[u8]) {
    let _ = CODE.set(code.into());
}

/// With less than this not even an import works, or the look in Python.
const LEAST_DEPTH: c_int = 150;

/// `sys.monitoring` has so many tools.
const TOOLS: i64 = 6;

/// What an interpreter began with.
pub struct Health<'i> {
    /// All of it, for `subpool._health`.
    kept: Object<'i>,
    /// The modules that were there before any code of the user's.
    core: Object<'i>,
    /// The names that all code has, as they were before the first task.
    builtins: Object<'i>,
    system: Object<'i>,
    /// The dicts of `builtins` and `sys` themselves.
    present: [Object<'i>; 2],
    /// Those of `core` without which nothing works.
    essential: Object<'i>,
    recursion_limit: c_int,
    /// `CHANGES`, when the builtins were compared last.
    seen: Cell<u64>,
    /// `"stdout"`, `"stderr"` and `"closed"`.
    streams: [Object<'i>; 2],
    closed: Object<'i>,
    helper: OnceCell<Object<'i>>,
    /// What was found to be wrong.
    harm: RefCell<Option<String>>,
}

impl<'i> Health<'i> {
    /// The modules of a new interpreter, which nobody has touched.
    pub fn core(token: Attached<'i>) -> Outcome<'i> {
        let core = copy(&modules(token))?;
        // Programs put another in its place. SAFETY: a live dict and a C string.
        if unsafe { ffi::PyDict_DelItemString(core.as_ptr(), c"__main__".as_ptr()) } < 0 {
            Raised::pending(token).clear(token);
        }
        Ok(core)
    }

    /// Takes note of how an interpreter is that is ready for its first task.
    pub fn start(token: Attached<'i>, core: Object<'i>) -> Result<Self, Raised> {
        let kept = new_dict(token)?;
        let dict = |name: &CStr| -> Outcome<'i> {
            let module = core.item_named(name)?;
            // SAFETY: a live module, whose dict it keeps; null with an error for anything else.
            let dict = NonNull::new(unsafe { ffi::PyModule_GetDict(module.as_ptr()) });
            let dict = dict.ok_or_else(|| Raised::pending(token))?;
            // SAFETY: live, as just said.
            Ok(unsafe { Object::from_borrowed(token, dict) })
        };
        let essential = new_dict(token)?;
        for name in ESSENTIAL {
            essential.set_item(name, &core.item_named(name)?)?;
        }
        let present = [dict(c"builtins")?, dict(c"sys")?];
        // Before the copy: what changes from here on is counted. Relaxed: see `looks_bad`.
        let changes = CHANGES.load(Ordering::Relaxed);
        watch(token, &present[0])?;
        let (builtins, system) = (copy(&present[0])?, copy(&present[1])?);
        for (name, value) in [
            (c"core", &core),
            (c"builtins", &builtins),
            (c"sys", &system),
        ] {
            kept.set_item(name, value)?;
        }
        for name in [c"meta_path", c"path_hooks"] {
            let list = present[1].item_named(name)?;
            // SAFETY: live; a new reference or null with an error.
            let list = unsafe { Object::from_new(token, ffi::PySequence_List(list.as_ptr())) };
            kept.set_item(name, &list?)?;
        }
        Ok(Self {
            kept,
            core,
            builtins,
            system,
            present,
            // SAFETY: attached (`token`).
            recursion_limit: unsafe { ffi::Py_GetRecursionLimit() },
            essential,
            seen: Cell::new(changes),
            streams: [
                Object::string(token, "stdout")?,
                Object::string(token, "stderr")?,
            ],
            closed: Object::string(token, "closed")?,
            helper: OnceCell::new(),
            harm: RefCell::new(None),
        })
    }

    /// What was found to be wrong, once.
    pub fn take_harm(&self) -> Option<String> {
        self.harm.take()
    }

    /// Whether something is wrong that a look without Python code shows.
    #[must_use]
    pub fn looks_bad(&self, token: Attached<'i>) -> bool {
        let [builtins, system] = &self.present;
        // Relaxed: a change by this thread is in its own order, and one by another thread of the
        // interpreter came under the GIL that this one has now.
        let changes = CHANGES.load(Ordering::Relaxed);
        let changed = self.seen.replace(changes) != changes;
        let modules = modules(token);
        // SAFETY: attached (`token`).
        let shallow = unsafe { ffi::Py_GetRecursionLimit() } < LEAST_DEPTH;
        shallow
            || changed && !has_all(builtins, &self.builtins)
            || size(&modules) < size(&self.core)
            || !has_all(&modules, &self.essential)
            || size(system) < size(&self.system)
            || self
                .streams
                .iter()
                .any(|stream| self.is_closed(token, stream))
    }

    fn is_closed(&self, token: Attached<'i>, name: &Object<'i>) -> bool {
        // SAFETY: a live dict and a live string; borrowed, or null with or without an error.
        let stream =
            unsafe { ffi::PyDict_GetItemWithError(self.present[1].as_ptr(), name.as_ptr()) };
        let Some(stream) = NonNull::new(stream) else {
            forget_error(token);
            return true;
        };
        if stream.as_ptr() == Object::none(token).as_ptr() {
            return false;
        }
        // SAFETY: live, and made owned before anything runs.
        let stream = unsafe { Object::from_borrowed(token, stream) };
        match stream.attribute_named(&self.closed) {
            Ok(closed) => closed.as_ptr() != Object::boolean(token, false).as_ptr(),
            Err(raised) => {
                raised.clear(token);
                true
            }
        }
    }

    /// Looks whether the interpreter is harmed. This runs Python code, which may be interrupted:
    /// then what that raised is the error.
    pub fn examine(&self, token: Attached<'i>, interrupt: &Object<'i>) -> Result<bool, Raised> {
        if self.harm.borrow().is_some() {
            return Ok(true);
        }
        let examined = self.call(token, c"examine", &[&self.kept, &modules(token), interrupt]);
        let found = match examined.map(|told| told.to_text()) {
            Ok(told) => told.unwrap_or_default(),
            Err(raised) => {
                let error = raised.take(token);
                if let Some(error) = error.filter(|error| is_interrupt(error, interrupt)) {
                    return Err(Raised::again(token, error));
                }
                "Python code does not run as it did".to_owned()
            }
        };
        let harmed = !found.is_empty();
        if harmed {
            *self.harm.borrow_mut() = Some(found);
        }
        Ok(harmed)
    }

    /// Puts back what it began with as far as it can, so that what has happened can be told.
    pub fn mend(&self, token: Attached<'i>) {
        // SAFETY: attached (`token`): the calling thread's own, and its interpreter's.
        unsafe {
            ffi::PyEval_SetTrace(None, ptr::null_mut());
            ffi::PyEval_SetProfile(None, ptr::null_mut());
            if ffi::Py_GetRecursionLimit() < self.recursion_limit {
                ffi::Py_SetRecursionLimit(self.recursion_limit);
            }
        }
        for tool in 0..TOOLS {
            if let Err(raised) = self.silence(token, tool) {
                raised.clear(token); // mostly that there is no such tool
            }
        }
        let arguments = [&self.kept, &modules(token)];
        if let Err(raised) = self.call(token, c"mend", &arguments) {
            raised.clear(token);
        }
    }

    fn silence(&self, token: Attached<'i>, tool: i64) -> Result<(), Raised> {
        let monitoring = self.system.item_named(c"monitoring")?;
        let tool = Object::integer(token, tool)?;
        let arguments = Object::tuple(token, [tool, Object::integer(token, 0)?])?;
        let set = monitoring.attribute(c"set_events")?;
        set.call(&arguments, None).map(drop)
    }

    fn call(&self, token: Attached<'i>, name: &CStr, arguments: &[&Object<'i>]) -> Outcome<'i> {
        let helper = match self.helper.get() {
            Some(helper) => helper.share(),
            None => {
                let helper = self.load(token)?;
                self.helper.get_or_init(|| helper).share()
            }
        };
        let arguments = arguments.iter().map(|argument| Ok(argument.share()));
        let arguments = Object::list(token, arguments)?;
        // SAFETY: a live list; a new reference or null with an error.
        let arguments = unsafe { Object::from_new(token, ffi::PyList_AsTuple(arguments.as_ptr())) };
        helper.item_named(name)?.call(&arguments?, None)
    }

    /// The names of `subpool._health`, run as no module, with the builtins that were kept.
    fn load(&self, token: Attached<'i>) -> Outcome<'i> {
        let code = CODE.get().map_or(&[][..], |code| &**code);
        let names = new_dict(token)?;
        names.set_item(c"__builtins__", &self.builtins)?;
        names.set_item(c"__name__", &Object::string(token, "subpool._health")?)?;
        // SAFETY: attached; pointer and length of one slice, read during the call, which refuses
        // what is no code; then live code and a dict; new references or null with an error.
        unsafe {
            let (start, size) = (code.as_ptr().cast(), code.len().cast_signed());
            let code = ffi::PyMarshal_ReadObjectFromString(start, size);
            let code = Object::from_new(token, code)?;
            let ran = ffi::PyEval_EvalCode(code.as_ptr(), names.as_ptr(), names.as_ptr());
            Object::from_new(token, ran)?;
        }
        Ok(names)
    }
}

/// Has changes of a worker's builtins counted. No watcher to be had: then they are not, and harm
/// there is found when it keeps us from working.
fn watch(token: Attached<'_>, dict: &Object<'_>) -> Result<(), Raised> {
    // SAFETY: attached (`token`); the callback has the right signature, and this library stays; a
    // live dict and a watcher of this interpreter.
    unsafe {
        let watcher = ffi::PyDict_AddWatcher(count_change);
        if watcher < 0 {
            Raised::pending(token).clear(token);
            return Ok(());
        }
        check(ffi::PyDict_Watch(watcher, dict.as_ptr()))
    }
}

/// # Safety
/// Called by CPython as a watcher, attached. It touches nothing of Python's.
unsafe extern "C" fn count_change(
    _event: c_int,
    _dict: *mut ffi::PyObject,
    _key: *mut ffi::PyObject,
    _new_value: *mut ffi::PyObject,
) -> c_int {
    // Relaxed: see `looks_bad`.
    CHANGES.fetch_add(1, Ordering::Relaxed);
    0
}

/// The dict of modules, wherever `sys.modules` leads to.
fn modules(token: Attached<'_>) -> Object<'_> {
    // SAFETY: attached (`token`); borrowed, never null, and made owned at once.
    unsafe { Object::from_borrowed(token, NonNull::new_unchecked(ffi::PyImport_GetModuleDict())) }
}

fn new_dict(token: Attached<'_>) -> Outcome<'_> {
    // SAFETY: attached (`token`); a new reference or null with an error.
    unsafe { Object::from_new(token, ffi::PyDict_New()) }
}

fn copy<'i>(dict: &Object<'i>) -> Outcome<'i> {
    // SAFETY: live; a new reference, or null with an error (also for what is no dict).
    unsafe { Object::from_new(dict.token(), ffi::PyDict_Copy(dict.as_ptr())) }
}

fn size(dict: &Object<'_>) -> ffi::Py_ssize_t {
    // SAFETY: live; -1 with an error for what is no dict, which none here is.
    unsafe { ffi::PyDict_Size(dict.as_ptr()) }
}

/// After a look-up that found nothing. A task may have put a key there with the hash of a name and an
/// `__eq__` of its own, which raised.
fn forget_error(_token: Attached<'_>) {
    // SAFETY: attached (`_token`).
    unsafe { ffi::PyErr_Clear() };
}

/// Whether `dict` has everything that `kept` has, each the same object. The keys of `kept` are exact
/// strings with a hash that is known, so nothing here runs Python code unless `dict` has a key of the
/// task's with such a hash.
fn has_all(dict: &Object<'_>, kept: &Object<'_>) -> bool {
    let mut places = [0; 2];
    let mut next = |of: &Object<'_>, which: usize| {
        let (mut key, mut value) = (ptr::null_mut(), ptr::null_mut());
        let place = &raw mut places[which];
        // SAFETY: a live dict; what it gives is borrowed and compared only. `dict` is not looked
        // through any more once a look-up may have changed it.
        let more = unsafe { ffi::PyDict_Next(of.as_ptr(), place, &raw mut key, &raw mut value) };
        (more != 0).then_some((key, value))
    };
    let mut in_step = true;
    while let Some((key, value)) = next(kept, 0) {
        // As long as nothing was taken out they are in the same order, and no look-up is needed.
        in_step = in_step && next(dict, 1) == Some((key, value));
        // SAFETY: a live dict and a key that `kept` owns; borrowed, or null with or without an error.
        if !in_step && unsafe { ffi::PyDict_GetItemWithError(dict.as_ptr(), key) } != value {
            forget_error(dict.token());
            return false;
        }
    }
    true
}
