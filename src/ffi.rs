//! Declarations of CPython's public C API that pyo3-ffi lacks, and the crate's one import of the
//! rest of it. Everything here is exported by 3.13, 3.14 and 3.15 alike.

pub use pyo3::ffi::*;

use std::ffi::{c_char, c_int, c_longlong, c_ulong, c_void};

/// `PyThread_type_lock` of `pythread.h`: a lock that any thread may release, attached or not.
pub type RawLock = *mut c_void;

/// `PyLockStatus` of `pythread.h`.
pub const PY_LOCK_ACQUIRED: c_int = 1;
pub const PY_LOCK_INTR: c_int = 2;

/// `PyDict_WatchCallback`. The event, an enum of C, is not looked at.
pub type DictWatcher = unsafe extern "C" fn(
    event: c_int,
    dict: *mut PyObject,
    key: *mut PyObject,
    new_value: *mut PyObject,
) -> c_int;

/// `PyRefTracer`. The event is an enum of C.
pub type RefTracer =
    unsafe extern "C" fn(object: *mut PyObject, event: c_int, data: *mut c_void) -> c_int;

unsafe extern "C" {
    /// The number of the new watcher of the attached interpreter, or -1 with an error.
    pub fn PyDict_AddWatcher(callback: DictWatcher) -> c_int;
    /// Tells of the exception that is set, under a text by `PyUnicode_FromFormat`'s rules.
    pub fn PyErr_FormatUnraisable(format: *const c_char, ...);

    /// Who is told of each object's beginning and end, if anybody is.
    pub fn PyRefTracer_GetTracer(data: *mut *mut c_void) -> Option<RefTracer>;

    /// `pickle.PickleBuffer`.
    pub static mut PyPickleBuffer_Type: PyTypeObject;
    pub fn PyPickleBuffer_FromObject(base: *mut PyObject) -> *mut PyObject;

    /// The type of bound methods.
    pub static mut PyMethod_Type: PyTypeObject;

    /// The operating system's number of the calling thread.
    pub fn PyThread_get_thread_native_id() -> c_ulong;

    pub fn PyThread_allocate_lock() -> RawLock;
    pub fn PyThread_free_lock(lock: RawLock);
    pub fn PyThread_release_lock(lock: RawLock);
    /// Waits at most `microseconds` (for ever if negative); with `intr_flag` a signal ends the wait.
    pub fn PyThread_acquire_lock_timed(
        lock: RawLock,
        microseconds: c_longlong,
        intr_flag: c_int,
    ) -> c_int;
}

/// `PyLongObject` of `cpython/longintrepr.h` with one digit, in a build with digits of 30 bits,
/// as all are that have pointers of 64.
#[repr(C)]
struct CompactLong {
    base: PyObject,
    tag: usize,
    digit: u32,
}

const _: () = assert!(usize::BITS == 64);

/// The value of an int of at most one digit: `PyUnstable_Long_IsCompact` and
/// `PyUnstable_Long_CompactValue`, which C programs get as inline functions.
///
/// # Safety
/// `object` is a live `int`; the thread is attached.
#[inline]
pub unsafe fn compact_value(object: *mut PyObject) -> Option<i64> {
    const SIGN_MASK: usize = 3;
    const NON_SIZE_BITS: u32 = 3;
    let long = object.cast::<CompactLong>();
    // SAFETY: the layout is the same from 3.12 to 3.15; each int has a place for one digit.
    unsafe {
        let tag = (*long).tag;
        if tag >= 2 << NON_SIZE_BITS {
            return None;
        }
        let sign = 1 - (tag & SIGN_MASK).cast_signed() as i64;
        Some(sign * i64::from((*long).digit))
    }
}
