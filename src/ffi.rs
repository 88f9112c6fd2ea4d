//! Declarations of CPython's public C API that pyo3-ffi lacks, and the crate's one import of the
//! rest of it. Everything here is exported by 3.13, 3.14 and 3.15 alike.

pub use pyo3::ffi::*;

use std::ffi::{c_int, c_longlong, c_void};

/// `PyThread_type_lock` of `pythread.h`: a lock that any thread may release, attached or not.
pub type RawLock = *mut c_void;

/// `PyLockStatus` of `pythread.h`.
pub const PY_LOCK_ACQUIRED: c_int = 1;
pub const PY_LOCK_INTR: c_int = 2;

unsafe extern "C" {
    /// `pickle.PickleBuffer`.
    pub static mut PyPickleBuffer_Type: PyTypeObject;
    pub fn PyPickleBuffer_FromObject(base: *mut PyObject) -> *mut PyObject;

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
