//! The main interpreter's environment, and its number, which each call carries.
//!
//! Guarantees: a call has the environment as it is when it is encoded, also after changes in
//! place; noticing that nothing has changed costs a few loads per call. No thread reads it while
//! Python finalizes.
//!
//! What is bound to a name (`sys.path = ...`, `os.environ["x"] = ...`) is told by CPython, which lets
//! us watch the dicts. The lists that programs change in place are compared item by item: by
//! address, so each item is kept.

use crate::error::Error;
use crate::ffi;
use crate::once::Once;
use crate::once::intern;
use crate::streams;
use crate::transfer::adopt;
use crate::transfer::environment::{self, Environment, Numbered, Text, Variables};
use crate::worker;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyModule, PyString};
use std::cell::RefCell;
use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Something in `sys` was bound anew.
const SYSTEM: u8 = 1;
/// `os.environ` was, or what is in it.
const VARIABLES: u8 = 2;
/// `warnings.filters` was.
const FILTERS: u8 = 4;
/// `sys.stdout` or `sys.stderr` was.
const STREAM: u8 = 8;
const EVERYTHING: u8 = SYSTEM | VARIABLES | FILTERS | STREAM;

/// What has changed since it was looked at. Relaxed everywhere: written and read with the main
/// GIL held.
static CHANGED: AtomicU8 = AtomicU8::new(EVERYTHING);

/// How many threads look, and whether no more may. Relaxed, as `CHANGED`.
static LOOKING: AtomicUsize = AtomicUsize::new(0);
static OVER: AtomicBool = AtomicBool::new(false);

/// What was found last.
struct Seen {
    /// That of `now`, and its limit: at hand.
    number: u64,
    recursion_limit: c_int,
    now: Arc<Numbered>,
    /// The streams that are `sys.stdout` and `sys.stderr` in `now`.
    streams: [u64; 2],
    path: Watched,
    argv: Watched,
    filters: Watched,
}

/// A list, and what was in it.
struct Watched {
    list: Option<Py<PyAny>>,
    items: Vec<Py<PyAny>>,
}

struct Place(RefCell<Option<Seen>>);

// SAFETY: reached by functions that take a `Python<'_>` of the main interpreter alone, whose GIL
// keeps others out, and no borrow lasts while Python code runs.
unsafe impl Sync for Place {}

static SEEN: Place = Place(RefCell::new(None));

/// The number of the present environment.
#[inline]
pub fn number(py: Python<'_>) -> PyResult<u64> {
    match &*SEEN.0.borrow() {
        Some(seen) if seen.is_true(py) => return Ok(seen.number),
        _ => {}
    }
    look(py).map(|now| now.number)
}

/// The present environment.
pub fn now(py: Python<'_>) -> PyResult<Arc<Numbered>> {
    match &*SEEN.0.borrow() {
        Some(seen) if seen.is_true(py) => return Ok(Arc::clone(&seen.now)),
        _ => {}
    }
    look(py)
}

impl Seen {
    #[inline]
    fn is_true(&self, _py: Python<'_>) -> bool {
        CHANGED.load(Ordering::Relaxed) == 0
            && self.path.is_true()
            && self.argv.is_true()
            && self.filters.has_its_ends()
            // SAFETY: attached (`_py`); reads the interpreter's limit.
            && self.recursion_limit == unsafe { ffi::Py_GetRecursionLimit() }
    }
}

impl Watched {
    fn new(list: Option<Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(list) = list.filter(|list| is_list(list)) else {
            let (list, items) = (None, Vec::new());
            return Ok(Self { list, items });
        };
        let items = list.try_iter()?.map(|item| item.map(Bound::unbind));
        Ok(Self {
            items: items.collect::<PyResult<_>>()?,
            list: Some(list.unbind()),
        })
    }

    /// Whether it is as long as it was, with the first item that it had: who adds a filter or
    /// takes some away changes one of the two.
    #[inline]
    fn has_its_ends(&self) -> bool {
        let Some(list) = &self.list else {
            return true;
        };
        // SAFETY: as in `is_true`.
        unsafe {
            let size = ffi::Py_SIZE(list.as_ptr()).cast_unsigned();
            let items = (*list.as_ptr().cast::<ffi::PyListObject>()).ob_item;
            size == self.items.len()
                && self
                    .items
                    .first()
                    .is_none_or(|first| *items == first.as_ptr())
        }
    }

    #[inline]
    fn is_true(&self) -> bool {
        let Some(list) = &self.list else {
            return true;
        };
        let known = self.items.as_ptr().cast::<usize>();
        // SAFETY: a list (`new`) of the interpreter whose GIL the caller holds (`Seen::is_true`);
        // as many items as its size says, and both are pointers (`Py` is a transparent one), which
        // are compared and not used. A list without items may have no place for them.
        unsafe {
            let size = ffi::Py_SIZE(list.as_ptr()).cast_unsigned();
            let items = (*list.as_ptr().cast::<ffi::PyListObject>()).ob_item;
            size == self.items.len()
                && (size == 0
                    || slice::from_raw_parts(items.cast::<usize>(), size)
                        == slice::from_raw_parts(known, size))
        }
    }
}

fn is_list(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: live; looks at its type.
    unsafe { ffi::PyList_Check(object.as_ptr()) != 0 }
}

struct Modules {
    system: Py<PyModule>,
    os: Py<PyModule>,
    warnings: Py<PyModule>,
    describe: Py<PyAny>,
    /// `None`: all of them were taken. Then every look is a whole one.
    watcher: Option<c_int>,
}

static MODULES: Once<Modules> = Once::new();

/// Loads what is needed here, by who makes the first pool. Later that may be a daemon thread at the
/// program's end, which CPython 3.13 ends in the midst of Python code, and the process with it.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    // Its types belong to the first interpreter that loads it: on 3.13 the end of the process, or
    // of that interpreter, frees what is another's memory, and the process dies.
    if py.version_info() < (3, 14) {
        py.import("_datetime").map_or_else(|_| (), |_| ());
    }
    modules(py).map(|_| ())
}

fn modules(py: Python<'_>) -> PyResult<&'static Modules> {
    MODULES.get_or_try_init(py, || {
        let module = |name| PyResult::Ok(py.import(name)?.unbind());
        let helper = py.import("subpool._environment")?;
        let code = helper.getattr("filters_code")?.call0()?;
        adopt::keep_code(code.extract()?);
        let code = helper.getattr("health_code")?.call0()?;
        worker::examine_with(code.extract()?);
        // SAFETY: attached; the callback has the right signature, and this library stays.
        let watcher = unsafe { ffi::PyDict_AddWatcher(changed) };
        if watcher < 0 {
            drop(PyErr::take(py));
        }
        let modules = Modules {
            system: module("sys")?,
            os: module("os")?,
            warnings: module("warnings")?,
            describe: helper.getattr("describe_filters")?.unbind(),
            watcher: (watcher >= 0).then_some(watcher),
        };
        for module in [&modules.system, &modules.os, &modules.warnings] {
            modules.watch(&module.bind(py).dict());
        }
        Ok(modules)
    })
}

impl Modules {
    fn watch(&self, dict: &Bound<'_, PyDict>) {
        if let Some(watcher) = self.watcher {
            // SAFETY: a live dict, and a watcher of this interpreter: it cannot fail.
            unsafe { ffi::PyDict_Watch(watcher, dict.as_ptr()) };
        }
    }
}

/// The names to watch in modules. In another dict, that of `os.environ`, every item counts.
const NAMES: [(&CStr, u8); 6] = [
    (c"stdout", SYSTEM | STREAM),
    (c"stderr", SYSTEM | STREAM),
    (c"path", SYSTEM),
    (c"argv", SYSTEM),
    (c"environ", VARIABLES),
    (c"filters", FILTERS),
];

/// Called by CPython before a watched dict changes. Runs no Python code.
unsafe extern "C" fn changed(
    _event: c_int,
    _dict: *mut ffi::PyObject,
    key: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
) -> c_int {
    // SAFETY: called attached; the key is live, or null if the event concerns the whole dict.
    let what = unsafe {
        if key.is_null() {
            EVERYTHING
        } else if ffi::PyUnicode_CheckExact(key) == 0 {
            VARIABLES // encoded names
        } else {
            let is = |name: &CStr| ffi::PyUnicode_CompareWithASCIIString(key, name.as_ptr()) == 0;
            let found = NAMES.iter().find(|(name, _)| is(name));
            found.map_or(0, |(_, what)| *what)
        }
    };
    CHANGED.fetch_or(what, Ordering::Relaxed);
    if what == SYSTEM | STREAM {
        // Soon, on the main thread; not now, since what is let go of may have a finalizer. Full:
        // then somebody else comes by.
        // SAFETY: a function of this library, which stays, with the right signature.
        unsafe { ffi::Py_AddPendingCall(Some(let_go_soon), ptr::null_mut()) };
    }
    0
}

/// Lets go of streams that are not main's any more, unless tasks run, which may print to them.
pub fn let_go(py: Python<'_>) {
    if !streams::are_idle() {
        return;
    }
    let gone = if CHANGED.load(Ordering::Relaxed) & STREAM == 0 {
        None
    } else {
        // Found anew by the next call.
        SEEN.0.borrow_mut().take()
    };
    drop(gone);
    let present = SEEN.0.borrow().as_ref().map(|seen| seen.streams);
    streams::keep(py, present.unwrap_or_default());
}

/// Called by CPython between two bytecodes of the main thread.
extern "C" fn let_go_soon(_nothing: *mut c_void) -> c_int {
    // Attached already, of which PyO3 has to know to drop objects. `None`: the interpreter ends.
    let _ = Python::try_attach(let_go);
    0
}

/// A look that goes on, of which a part is Python code.
///
/// CPython 3.13 ends daemon threads when they want the GIL while it finalizes: in the midst of such
/// code, and with it the process, since the way out leads through frames of ours. So the program's
/// end waits for those that look, and lets none begin after that.
struct Looking;

impl Looking {
    fn begin(py: Python<'_>) -> Option<Self> {
        if !may_look(py) {
            return None;
        }
        LOOKING.fetch_add(1, Ordering::Relaxed);
        Some(Self)
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        // It was forgotten if this is the child of a fork within the look.
        let less = |looking: usize| looking.checked_sub(1);
        let _ = LOOKING.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

/// Lets no look begin any more, at the program's end. False: one goes on; it was given a moment.
pub fn end(py: Python<'_>) -> bool {
    OVER.store(true, Ordering::Relaxed);
    let over = LOOKING.load(Ordering::Relaxed) == 0;
    if !over {
        // They need the GIL, for a few hundred microseconds.
        py.detach(|| thread::sleep(Duration::from_millis(1)));
    }
    over
}

/// Whether the program has come so far in its end that nobody looks any more.
pub fn may_look(_py: Python<'_>) -> bool {
    !OVER.load(Ordering::Relaxed)
}

/// The child of a fork has none of the threads that looked. Called in it, with the GIL.
pub fn forget_after_fork() {
    LOOKING.store(0, Ordering::Relaxed);
}

/// Finds out what has changed, and the number of what is there now. At the program's end, when all
/// pools are closed: what was there last.
#[cold]
fn look(py: Python<'_>) -> PyResult<Arc<Numbered>> {
    let Some(_looking) = Looking::begin(py) else {
        let seen = SEEN.0.borrow();
        let last = seen.as_ref().map(|seen| Arc::clone(&seen.now));
        return last.ok_or_else(|| Error::Closed { exiting: true }.into());
    };
    let modules = modules(py)?;
    // Before the look: what changes meanwhile is looked at again.
    let changed = CHANGED.swap(0, Ordering::Relaxed);
    let looked = modules.look(py, changed);
    if looked.is_err() || modules.watcher.is_none() {
        CHANGED.fetch_or(changed, Ordering::Relaxed);
    }
    let (seen, now) = looked?;
    let last = SEEN.0.borrow_mut().replace(seen);
    // What it kept may have finalizers, so it goes last.
    drop(last);
    let_go(py);
    Ok(now)
}

impl Modules {
    fn look(&self, py: Python<'_>, changed: u8) -> PyResult<(Seen, Arc<Numbered>)> {
        let attribute = |module: &Py<PyModule>, name| module.bind(py).getattr(name).ok();
        let path = Watched::new(attribute(&self.system, intern!(py, "path")))?;
        let argv = Watched::new(attribute(&self.system, intern!(py, "argv")))?;
        let filters = Watched::new(attribute(&self.warnings, intern!(py, "filters")))?;
        let last = SEEN.0.borrow().as_ref().map(|seen| {
            let same = changed & FILTERS == 0 && seen.filters.is_true();
            (seen.now.environment.clone(), same)
        });
        let variables = match &last {
            Some((last, _)) if changed & VARIABLES == 0 => Arc::clone(&last.variables),
            _ => Arc::new(self.variables(py)?),
        };
        let described = match last {
            Some((last, true)) => last.filters,
            _ => self.describe(py, &filters)?,
        };
        let outputs = [streams::describe(py, 0), streams::describe(py, 1)];
        let environment = Environment {
            path: texts(py, &path),
            argv: texts(py, &argv),
            variables,
            filters: described,
            // SAFETY: attached (`py`).
            recursion_limit: unsafe { ffi::Py_GetRecursionLimit() },
            outputs,
        };
        let now = environment::enter(environment);
        let seen = Seen {
            number: now.number,
            recursion_limit: now.environment.recursion_limit,
            streams: now.environment.outputs.map(|output| output.stream),
            now: Arc::clone(&now),
            path,
            argv,
            filters,
        };
        Ok((seen, now))
    }

    fn variables(&self, py: Python<'_>) -> PyResult<Variables> {
        let environ = self.os.bind(py).getattr(intern!(py, "environ"))?;
        if let Ok(data) = environ.getattr(intern!(py, "_data"))
            && let Ok(data) = data.cast_into::<PyDict>()
        {
            self.watch(&data);
            // Copied, since another thread may change it meanwhile.
            let pairs = data.copy()?.into_iter();
            let bytes = |object: &Bound<'_, PyAny>| {
                let bytes = object.cast::<PyBytes>().ok()?;
                Some(Box::from(bytes.as_bytes()))
            };
            let pairs = pairs.filter_map(|(name, value)| Some((bytes(&name)?, bytes(&value)?)));
            return Ok(pairs.collect());
        }
        // A program has put something else in its place.
        let encode = self.os.bind(py).getattr(intern!(py, "fsencode"))?;
        let bytes = |object: Bound<'_, PyAny>| -> PyResult<Box<[u8]>> {
            Ok(Box::from(encode.call1((object,))?.extract::<&[u8]>()?))
        };
        let mut found = Variables::new();
        for pair in environ.call_method0(intern!(py, "items"))?.try_iter()? {
            let (name, value) = pair?.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            found.insert(bytes(name)?, bytes(value)?);
        }
        Ok(found)
    }

    fn describe(&self, py: Python<'_>, filters: &Watched) -> PyResult<Option<Arc<[u8]>>> {
        let items: Vec<_> = filters.items.iter().map(|item| item.bind(py)).collect();
        let described = self.describe.bind(py).call1((items,))?;
        let described = described.extract::<Option<&[u8]>>()?;
        Ok(described.map(Arc::from))
    }
}

/// The strings of a list; import itself skips what is none.
fn texts(py: Python<'_>, list: &Watched) -> Arc<[Text]> {
    let text = |item: &Py<PyAny>| {
        let text = item.bind(py).cast::<PyString>().ok()?;
        let arguments = (intern!(py, "utf-8"), intern!(py, "surrogatepass"));
        let encoded = text.call_method1(intern!(py, "encode"), arguments).ok()?;
        encoded.extract::<&[u8]>().ok().map(Box::from)
    };
    list.items.iter().filter_map(text).collect()
}
