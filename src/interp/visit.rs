//! Visits to an interpreter that another thread owns, and the one thing a visitor does there: it
//! raises an exception in that thread.
//!
//! Guarantees: a visitor has one thread state for its life, made and deleted on its own thread; it
//! is attached during a visit only; what `raise` sets is raised by the owner's next bytecode that
//! looks (a jump backwards, a call, a function's start), or taken back by the owner before that.
//! Not guaranteed: that the owner runs any bytecode soon. A C call has to return first.

use super::attach::Attached;
use super::object::{Object, Outcome};
use super::untraced::Untraced;
use crate::ffi;
use std::ffi::{CStr, c_long};
use std::ptr;

const NAME: &CStr = c"subpool.TaskInterrupted";

/// As in `_bootstrap.py`, which has the class for main.
const DOCUMENTATION: &CStr = c"The task was interrupted: raised in the task, and by its future.";

/// The class for one interpreter: `subpool.TaskInterrupted` there.
pub fn interrupt_class(token: Attached<'_>) -> Outcome<'_> {
    // SAFETY: attached (`token`); two C strings, a static class and no namespace; a new reference
    // or null with an error.
    unsafe {
        let class = ffi::PyErr_NewExceptionWithDoc(
            NAME.as_ptr(),
            DOCUMENTATION.as_ptr(),
            ffi::PyExc_BaseException,
            ptr::null_mut(),
        );
        Object::from_new(token, class)
    }
}

/// Whether `error` is what a visitor raises: of this very class, with nothing in it.
#[must_use]
pub fn is_interrupt(error: &Object<'_>, class: &Object<'_>) -> bool {
    // SAFETY: a live object; its type is only compared.
    if unsafe { ffi::Py_TYPE(error.as_ptr()).cast() } != class.as_ptr() {
        return false;
    }
    match error.attribute(c"args") {
        Ok(arguments) => arguments.item(0).is_none(),
        Err(raised) => {
            raised.clear(error.token());
            false
        }
    }
}

/// The interpreter to visit, the thread that owns it, and what to raise there.
pub struct Host {
    interpreter: *mut ffi::PyInterpreterState,
    thread: c_long,
    class: *mut ffi::PyObject,
}

// SAFETY: two addresses and a number; `Visitor::new` says what makes using them sound.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Host {
    /// The calling thread as the owner of the interpreter it is attached to.
    #[must_use]
    pub fn here(class: &Object<'_>) -> Self {
        // SAFETY: attached (the object's token).
        let interpreter = unsafe { ffi::PyInterpreterState_Get() };
        Self {
            interpreter,
            thread: own_number(),
            class: class.as_ptr(),
        }
    }

    /// The owner's number, as `threading.get_ident` has it.
    #[must_use]
    pub const fn thread(&self) -> u64 {
        self.thread.cast_unsigned()
    }

    /// Has the owner raise the class. A second time before it did changes nothing.
    pub fn raise(&self, _visiting: Attached<'_>) {
        // SAFETY: attached to the owner's interpreter (`_visiting`, by `Visitor::visit`), where the
        // class lives as long as visitors do (`Visitor::new`).
        unsafe { ffi::PyThreadState_SetAsyncExc(self.thread, self.class) };
    }
}

/// Has the calling thread raise the class, as a visitor would.
pub fn raise_here(class: &Object<'_>) {
    // SAFETY: attached (the object's token), for this thread, which takes a reference of its own.
    unsafe { ffi::PyThreadState_SetAsyncExc(own_number(), class.as_ptr()) };
}

/// Takes back what a visitor has set for the calling thread and was not raised yet.
pub fn take_back(_token: Attached<'_>) {
    // SAFETY: attached (`_token`); null takes back.
    unsafe { ffi::PyThreadState_SetAsyncExc(own_number(), ptr::null_mut()) };
}

fn own_number() -> c_long {
    // SAFETY: needs nothing. CPython compares the number as the unsigned one it is.
    unsafe { ffi::PyThread_get_thread_ident() }.cast_signed()
}

/// The calling thread as a visitor of another's interpreter.
pub struct Visitor {
    state: *mut ffi::PyThreadState,
    _untraced: Untraced,
}

impl Visitor {
    /// `None`: no memory for a thread state.
    ///
    /// # Safety
    /// The host's interpreter and class live until this is dropped, and the calling thread has no
    /// other thread state.
    #[must_use]
    pub unsafe fn new(host: &Host) -> Option<Self> {
        let untraced = Untraced::begin();
        // SAFETY: a living interpreter, by this function's contract; needs no GIL.
        let state = unsafe { ffi::PyThreadState_New(host.interpreter) };
        (!state.is_null()).then_some(Self {
            state,
            _untraced: untraced,
        })
    }

    /// Runs `section` attached. Waits for the GIL, which the owner may keep for as long as a C
    /// call lasts.
    pub fn visit<R>(&mut self, section: impl FnOnce(Attached<'_>) -> R) -> R {
        let visit = Visit::begin(self);
        section(visit.token())
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        // SAFETY: made on this thread (the type is !Send by its raw pointer) and detached between
        // visits; the interpreter lives (`new`). The last call detaches and frees the state.
        unsafe {
            ffi::PyEval_RestoreThread(self.state);
            ffi::PyThreadState_Clear(self.state);
            ffi::PyThreadState_DeleteCurrent();
        }
    }
}

struct Visit<'v>(&'v mut Visitor);

impl<'v> Visit<'v> {
    fn begin(visitor: &'v mut Visitor) -> Self {
        // SAFETY: this thread's own detached state (`Visitor::new`), not attached twice: the borrow
        // is exclusive.
        unsafe { ffi::PyEval_RestoreThread(visitor.state) };
        Self(visitor)
    }

    fn token(&self) -> Attached<'_> {
        // SAFETY: `begin` attached this thread, and `drop` ends the borrow before it detaches.
        unsafe { Attached::assume() }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        // SAFETY: attached since `begin`, with the state that is given back here.
        let state = unsafe { ffi::PyEval_SaveThread() };
        debug_assert_eq!(state, self.0.state);
    }
}
