//! The proof that a thread is attached to an interpreter, and the guard that lets it go a while.
//!
//! Guarantees: an `Attached<'i>` exists only on a thread that is attached to interpreter `'i`; a
//! `detached` section cannot touch that interpreter's objects, and ends attached again, also by a
//! panic.

use crate::ffi;
use std::marker::PhantomData;

/// The calling thread is attached to the interpreter whose life is `'i`.
///
/// Neither `Send` nor `Sync`: the proof holds on this thread alone.
#[derive(Clone, Copy)]
pub struct Attached<'i>(PhantomData<*mut &'i ()>);

impl Attached<'_> {
    /// # Safety
    /// The calling thread is attached, stays so for `'i` outside `detached`, and `'i` does not
    /// outlive the interpreter.
    pub const unsafe fn assume() -> Self {
        Self(PhantomData)
    }

    /// Runs `section` with the GIL released.
    ///
    /// `Send` is asked of the section although it runs on this very thread: objects of an
    /// interpreter are not `Send`, so none can be used inside.
    pub fn detached<R: Send>(self, section: impl FnOnce() -> R + Send) -> R {
        let _guard = Detached::new(self);
        section()
    }
}

struct Detached(*mut ffi::PyThreadState);

impl Detached {
    fn new(_attached: Attached<'_>) -> Self {
        // SAFETY: `_attached` proves that this thread has an attached state to save.
        Self(unsafe { ffi::PyEval_SaveThread() })
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        // SAFETY: `new` saved this state on this thread (the guard is !Send by its raw pointer),
        // and the section attached no other: it had no token to do so with.
        unsafe { ffi::PyEval_RestoreThread(self.0) }
    }
}
