//! Threads whose memory tracemalloc does not trace.
//!
//! Guarantees: on CPython 3.13 and 3.14 nothing that a thread with an `Untraced` allocates is
//! traced, nor what the threads allocate that Python code in a worker starts. What main's own
//! threads allocate is traced as ever.
//! Not guaranteed: that all is taken off its books. What main allocated and a worker frees stays
//! there until its address is used again; workers free none of main's objects.
//!
//! One tracemalloc serves all interpreters. Up to 3.14 it cannot do that:
//! - To trace a thread's raw memory it attaches the thread, with a new thread state if it has
//!   none. Our workers have none while they make their interpreters (docs/decisions.md), and
//!   CPython allocates an interpreter's parts under the very lock that a new thread state wants.
//! - With each line that allocates it keeps a reference to its file's name, a string of the
//!   interpreter that runs there. When that is closed its memory goes, and `tracemalloc.stop` or
//!   the end of the process frees the string again (python/cpython#134604, #144172). Nor does it
//!   hold that interpreter's GIL when it counts the reference.
//!
//! tracemalloc marks a thread that is inside of it, by a thread-specific value, and lets pass what
//! a marked thread allocates. So workers bear that mark for good. 3.15 keeps copies of the names
//! and attaches nobody: there workers are traced like all threads.

use super::attach::Attached;
use super::native::{END, Methods, method_with_keywords};
use super::object::{Object, Outcome, Raised};
use super::tracer::{Key, Tracer, is_only_interpreter, set_value, steady};
use crate::ffi;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::mem;
use std::ptr::{self, NonNull};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

/// The key of the mark and one; 0 while it is not known.
///
/// Relaxed, everywhere: written with the main GIL held, before the threads that read it start.
static MARK: AtomicU64 = AtomicU64::new(0);

/// The first version whose tracemalloc may see other interpreters.
const MENDED: u32 = 0x030f_0000;

/// There can be no workers: they would be traced.
pub struct Traced;

/// Gets ready for workers. Called in main, before a pool has any.
///
/// Tracing may begin while workers live, and the key can be found only while it is on: so it is
/// turned on for a moment. The GIL is held throughout, and there is no other interpreter, which
/// would be traced as well.
pub fn prepare(main: Attached<'_>) -> Result<(), Traced> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| steady(main));
    // SAFETY: a constant of the library.
    if unsafe { ffi::Py_Version } >= MENDED.into() || MARK.load(Ordering::Relaxed) != 0 {
        return Ok(());
    }
    match find_key(main) {
        Ok(Some(key)) => MARK.store(u64::from(key) + 1, Ordering::Relaxed),
        Ok(None) => {}
        Err(None) => return Err(Traced),
        // A Python without tracemalloc, or no memory to start it.
        Err(Some(raised)) => raised.clear(main),
    }
    Ok(())
}

/// `None`: not while there are other interpreters. An error without an exception: tracing is on,
/// and no key is the one.
fn find_key(main: Attached<'_>) -> Result<Option<Key>, Option<Raised>> {
    let tracer = Tracer::import(main)?;
    if tracer.is_on()? {
        return tracer.find_key()?.map(Some).ok_or(None);
    }
    if !is_only_interpreter() || tracer.would_take_a_place() {
        return Ok(None);
    }
    tracer.start()?;
    let found = tracer.find_key();
    tracer.stop()?;
    Ok(found?)
}

/// While it lives, nothing that its thread allocates is traced.
pub struct Untraced {
    marked: bool,
    _bound_to_this_thread: PhantomData<*mut ()>,
}

impl Untraced {
    #[must_use]
    pub fn begin() -> Self {
        Self {
            marked: mark(true),
            _bound_to_this_thread: PhantomData,
        }
    }
}

impl Drop for Untraced {
    fn drop(&mut self) {
        if self.marked {
            mark(false);
        }
    }
}

/// False: there is no key, so no need.
fn mark(set: bool) -> bool {
    let key = MARK.load(Ordering::Relaxed).checked_sub(1);
    // It was made of a key.
    key.is_some_and(|key| set_value(key as Key, set))
}

/// What starts threads, for `threading` and for who goes past it.
const STARTERS: [&CStr; 3] = [c"start_joinable_thread", c"start_new_thread", c"start_new"];

static METHODS: Methods<3> = Methods([
    method_with_keywords(c"start_thread", start_thread),
    method_with_keywords(c"thread_function", thread_function),
    END,
]);

/// Has those threads marked, too, that Python code in a worker starts.
pub fn install(token: Attached<'_>) -> Result<(), Raised> {
    if MARK.load(Ordering::Relaxed) == 0 {
        return Ok(());
    }
    let module = Object::import(token, c"_thread")?;
    for name in STARTERS {
        let starter = module.attribute(name)?;
        module.set_attribute(name, &METHODS.bound(0, &starter)?)?;
    }
    Ok(())
}

/// One of `STARTERS`, which is `starter`.
///
/// # Safety
/// Called by CPython as a function, so attached and with live objects.
unsafe extern "C" fn start_thread(
    starter: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: by the contract; what is made of the token does not outlive this call, but for the
    // result, which is an owned reference; the pointers but `keywords` are not null.
    let (token, starter, arguments, keywords) = unsafe {
        let token: Attached<'_> = Attached::assume();
        let object = |pointer| Object::from_borrowed(token, NonNull::new_unchecked(pointer));
        let keywords = NonNull::new(keywords).map(|found| Object::from_borrowed(token, found));
        (token, object(starter), object(arguments), keywords)
    };
    let start = || {
        if let Some(function) = arguments.item(0).filter(is_callable) {
            let head = Object::tuple(token, [marked(&function)?])?;
            // SAFETY: two live tuples; both calls give a new reference or null with an error.
            let arguments = unsafe {
                let tail = ffi::PyTuple_GetSlice(arguments.as_ptr(), 1, ffi::Py_ssize_t::MAX);
                let tail = Object::from_new(token, tail)?;
                let joined = ffi::PySequence_Concat(head.as_ptr(), tail.as_ptr());
                Object::from_new(token, joined)?
            };
            return starter.call(&arguments, keywords.as_ref());
        }
        if let Some(keywords) = &keywords
            && let Some(function) = given(keywords, FUNCTION)?.filter(is_callable)
        {
            // SAFETY: a live dict; a new reference or null with an error.
            let keywords = unsafe {
                let copy = ffi::PyDict_Copy(keywords.as_ptr());
                Object::from_new(token, copy)?
            };
            keywords.set_item(FUNCTION, &marked(&function)?)?;
            return starter.call(&arguments, Some(&keywords));
        }
        // Without a function, or with a wrong one, it says so.
        starter.call(&arguments, keywords.as_ref())
    };
    start().map_or(ptr::null_mut(), Object::into_ptr)
}

fn marked<'i>(function: &Object<'i>) -> Outcome<'i> {
    METHODS.bound(1, function)
}

/// The name of the starters' first argument.
const FUNCTION: &CStr = c"function";

/// What a dict has under that name, if anything.
fn given<'i>(keywords: &Object<'i>, name: &CStr) -> Result<Option<Object<'i>>, Raised> {
    let name = Object::string(keywords.token(), &name.to_string_lossy())?;
    // SAFETY: a live dict and key; borrowed from the dict, or null, here with an error or without.
    unsafe {
        let found = ffi::PyDict_GetItemWithError(keywords.as_ptr(), name.as_ptr());
        match NonNull::new(found) {
            Some(found) => Ok(Some(Object::from_borrowed(keywords.token(), found))),
            None if ffi::PyErr_Occurred().is_null() => Ok(None),
            None => Err(Raised::pending(keywords.token())),
        }
    }
}

fn is_callable(object: &Object<'_>) -> bool {
    // SAFETY: live.
    unsafe { ffi::PyCallable_Check(object.as_ptr()) == 1 }
}

/// What the thread runs. It has no frame yet, so nothing that it has allocated leads anywhere.
///
/// # Safety
/// As for `start_thread`.
unsafe extern "C" fn thread_function(
    function: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // To the thread's end: what it has for itself alone is freed after this, by code of the user's.
    mem::forget(Untraced::begin());
    // SAFETY: by the contract; a new reference or null with an error.
    unsafe { ffi::PyObject_Call(function, arguments, keywords) }
}
