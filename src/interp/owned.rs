//! One interpreter, owned by the thread that made it.
//!
//! Guarantees: made and ended on the same thread, with the one thread state that thread ever has
//! for it; ended when dropped, also by a panic.

use super::attach::Attached;
use crate::ffi;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr;

/// A subinterpreter to which the calling thread is attached from creation to drop.
pub struct OwnedInterpreter {
    state: *mut ffi::PyThreadState,
    _bound_to_this_thread: PhantomData<*mut ()>,
}

impl OwnedInterpreter {
    /// Creates one and leaves the calling thread attached to it.
    ///
    /// The calling thread has no thread state at all before: CPython then copies the main
    /// interpreter's configuration without needing its GIL, so several are created side by side
    /// while the main thread runs on (docs/decisions.md).
    pub fn create(config: &ffi::PyInterpreterConfig) -> Result<Self, String> {
        let mut state: *mut ffi::PyThreadState = ptr::null_mut();
        // SAFETY: both pointers are valid for the call; the runtime is initialised, because the
        // extension module that holds this code was imported by it, and it is not finalized
        // before the pool's threads are joined (ending.rs, `close_all`).
        let status = unsafe { ffi::Py_NewInterpreterFromConfig(&raw mut state, config) };
        // SAFETY: the status is a plain value just returned.
        if unsafe { ffi::PyStatus_Exception(status) } != 0 || state.is_null() {
            let reason = if status.err_msg.is_null() {
                "no reason given".into()
            } else {
                // SAFETY: CPython's messages are static strings.
                unsafe { CStr::from_ptr(status.err_msg) }.to_string_lossy()
            };
            return Err(format!(
                "CPython could not create a subinterpreter: {reason}"
            ));
        }
        Ok(Self {
            state,
            _bound_to_this_thread: PhantomData,
        })
    }

    /// The proof of being attached, for as long as the interpreter is not ended.
    #[must_use]
    pub fn attached(&self) -> Attached<'_> {
        // SAFETY: `create` attached this thread, `self` cannot leave it (it is !Send), and the
        // borrow of `self` in the token's lifetime keeps `drop` from ending the interpreter.
        unsafe { Attached::assume() }
    }

    /// The interpreter's number, as `concurrent.interpreters` shows it.
    #[must_use]
    pub fn id(&self) -> i64 {
        // SAFETY: attached to it, see `attached`.
        unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) }
    }
}

impl Drop for OwnedInterpreter {
    fn drop(&mut self) {
        // SAFETY: this thread is attached with `state`, as `attached` argues, and no object of the
        // interpreter outlives `self`: each carries the token's lifetime.
        unsafe { ffi::Py_EndInterpreter(self.state) }
    }
}
