//! One interpreter, owned by the thread that made it.
//!
//! Guarantees: made and ended on the same thread, with the one thread state that thread ever has
//! for it; ended when dropped, also by a panic. On CPython 3.13 made one at a time.

use super::attach::Attached;
use crate::ffi;
use parking_lot::Mutex;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr;

/// Held while an interpreter is made, before `MENDED`.
///
/// Up to 3.13 all interpreters take the version tags of their immutable types (those of `_io`, for
/// one) from a counter of the process that is read and written without a lock. Two that do so at a
/// time may give two types of one interpreter the same tag, and its caches then find the methods of
/// the one in the other: seldom, and `Failed to import encodings module` if it is in an import of
/// the creation. What runs on may still meet it, where it loads extension modules (docs/limits.md).
/// The counter is atomic in 3.14 (python/cpython#116909, #129824).
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
const MENDED: u32 = 0x030e_0000;

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
    /// while the main thread runs on (docs/decisions.md); on 3.13 one after the other.
    pub fn create(config: &ffi::PyInterpreterConfig) -> Result<Self, String> {
        // SAFETY: a constant of the library.
        let races = unsafe { ffi::Py_Version } < MENDED.into();
        let _alone = races.then(|| ONE_AT_A_TIME.lock());
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

/// Opens the lock in the child of a fork: who held it is gone.
///
/// # Safety
///
/// Called in the child, while it has one thread.
pub unsafe fn forget_after_fork() {
    // SAFETY: a guard of it, if there is one, belongs to a thread that the child does not have. The
    // only one there, by the contract, is the caller's, which forked in main's code, and so is not
    // in `create`.
    unsafe {
        if ONE_AT_A_TIME.is_locked() {
            ONE_AT_A_TIME.force_unlock();
        }
    }
}
