//! Interrupts that come at a moment in which CPython tells of exceptions and goes on.
//!
//! Guarantees: one that is raised in a finalizer (`__del__`), in a weak reference's callback, or
//! wherever else `sys.unraisablehook` is called, is raised once more behind that. Imports have such
//! callbacks, so it happens to tasks that know nothing of them; seen, the task ran on for ever. What
//! only looks like one is told of, as any other exception is.
//! Not guaranteed: that, if a task has set a hook of its own.

use super::attach::Attached;
use super::native::{END, Methods, method};
use super::object::{Object, Raised};
use super::visit;
use crate::ffi;
use std::cell::RefCell;
use std::ptr::NonNull;

/// Whether the task of the calling thread was sent an interrupt, and nothing has ended it yet.
type IsSent = Box<dyn Fn() -> bool>;

thread_local! {
    /// `None`: no worker's thread.
    static IS_SENT: RefCell<Option<IsSent>> = const { RefCell::new(None) };
}

/// Whom to ask on this thread, from now on. Must run no code of Python.
pub fn ask(whom: Option<IsSent>) {
    IS_SENT.set(whom);
}

static METHODS: Methods<2> = Methods([method(c"unraisablehook", hook, ffi::METH_O), END]);

/// Makes it the hook of the interpreter, where `class` is that of interrupts.
pub fn install<'i>(system: &Object<'i>, class: &Object<'i>) -> Result<(), Raised> {
    system.set_attribute(c"unraisablehook", &METHODS.bound(0, class)?)
}

/// `unraisablehook(unraisable)`.
///
/// # Safety
/// Called by CPython as a function of a class (`install`), so attached and with live arguments.
unsafe extern "C" fn hook(
    class: *mut ffi::PyObject,
    unraisable: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: attached, by the contract, and so is the argument live.
    let (token, unraisable): (Attached<'_>, _) = unsafe {
        let token = Attached::assume();
        let unraisable = NonNull::new_unchecked(unraisable);
        (token, Object::from_borrowed(token, unraisable))
    };
    let kind = unraisable.item(0);
    // Users can raise that class, too.
    if kind.is_some_and(|kind| kind.as_ptr() == class)
        && IS_SENT.with_borrow(|is_sent| is_sent.as_ref().is_some_and(|is_sent| is_sent()))
    {
        // SAFETY: live, by the contract.
        let class = unsafe { Object::from_borrowed(token, NonNull::new_unchecked(class)) };
        // The window is open, and an interrupt was sent in it: so when it closes, what was not
        // raised is taken back.
        visit::raise_here(&class);
        return Object::none(token).into_ptr();
    }
    let told = Object::import(token, c"sys")
        .and_then(|system| system.attribute(c"__unraisablehook__"))
        .and_then(|own| own.call1(&unraisable));
    told.map_or(std::ptr::null_mut(), Object::into_ptr)
}
