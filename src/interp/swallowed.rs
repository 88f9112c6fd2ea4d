//! Interrupts that come at a moment in which CPython tells of exceptions and goes on.
//!
//! Guarantees: one that is raised in a finalizer (`__del__`), in a weak reference's callback, or
//! wherever else `sys.unraisablehook` is called, is raised once more behind that. Imports have such
//! callbacks, so it happens to tasks that know nothing of them; seen, the task ran on for ever.
//! Not guaranteed: that, if a task has set a hook of its own.

use super::attach::Attached;
use super::native::{END, Methods, method};
use super::object::{Object, Raised};
use super::visit;
use crate::ffi;
use std::ptr::NonNull;

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
    if kind.is_some_and(|kind| kind.as_ptr() == class) {
        // SAFETY: live, by the contract.
        let class = unsafe { Object::from_borrowed(token, NonNull::new_unchecked(class)) };
        // The window is open yet, and taken back what was not raised when it closes: this thread is
        // in its task, since nobody else raises that class.
        visit::raise_here(&class);
        return Object::none(token).into_ptr();
    }
    let told = Object::import(token, c"sys")
        .and_then(|system| system.attribute(c"__unraisablehook__"))
        .and_then(|own| own.call1(&unraisable));
    told.map_or(std::ptr::null_mut(), Object::into_ptr)
}
