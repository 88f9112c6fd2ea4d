//! What CPython does not take apart when an interpreter ends: types that are their own type.
//!
//! A metaclass may assign `cls.__class__ = cls` (h11's sentinels do). The garbage collector then
//! clears the type by means of the type itself, which is not possible, so the type stays, with the
//! memory arena that it lies in and all that it refers to: 3 to 8 MB for each interpreter.

use super::attach::Attached;
use super::object::{Object, Outcome, Raised};
use crate::ffi;
use std::ptr::NonNull;

/// More steps from a type to its type than any program takes that comes to `type` in the end.
const FAR: usize = 32;

/// Gives such types another type. To be called when the interpreter runs no more tasks.
///
/// Afterwards they are not what they were, so before this whatever may ask has ended.
pub fn untie(token: Attached<'_>) {
    if let Err(raised) = untie_all(token) {
        // No memory, most likely. They stay, as they would without us.
        raised.clear(token);
    }
}

fn untie_all(token: Attached<'_>) -> Result<(), Raised> {
    // SAFETY: a static type, live as long as the process.
    let root = unsafe {
        Object::from_borrowed(
            token,
            NonNull::new_unchecked((&raw mut ffi::PyType_Type).cast()),
        )
    };
    // What is its own type is a metaclass, and so derives from `type`.
    let subclasses = root.attribute(c"__subclasses__")?;
    let (mut metaclasses, mut seen) = (vec![root.share()], 0);
    while let Some(class) = metaclasses.get(seen) {
        let list = subclasses.call1(class)?;
        // SAFETY: live; a new reference or null with an error.
        let list = unsafe { Object::from_new(token, ffi::PySequence_Tuple(list.as_ptr())) }?;
        let items = (0..).map_while(|index| list.item(index));
        let strangers: Vec<_> = items
            .filter(|class| {
                metaclasses
                    .iter()
                    .all(|seen| seen.as_ptr() != class.as_ptr())
            })
            .collect();
        metaclasses.extend(strangers);
        seen += 1;
    }
    let tied: Vec<_> = metaclasses.iter().filter(|class| is_tied(class)).collect();
    if tied.is_empty() {
        return Ok(());
    }
    // `type` itself cannot be assigned: both sides have to be mutable.
    let plain = plain_metaclass(token, &root)?;
    let assign = root.attribute(c"__setattr__")?;
    let name = Object::string(token, "__class__")?;
    for class in tied {
        let arguments = Object::tuple(token, [class.share(), name.share(), plain.share()])?;
        // One that is laid out otherwise refuses; the others do not care.
        if let Err(raised) = assign.call(&arguments, None) {
            raised.clear(token);
        }
    }
    Ok(())
}

/// Whether the types of the types come back to where they began, and not to `type`.
fn is_tied(class: &Object<'_>) -> bool {
    let mut at = class.as_ptr();
    for _ in 0..FAR {
        // SAFETY: `class` is live and attached, and an object keeps its type alive.
        at = unsafe { ffi::Py_TYPE(at) }.cast();
        if at == (&raw mut ffi::PyType_Type).cast() {
            return false;
        }
    }
    true
}

/// A class of the kind that `type` is, but one that can be assigned.
fn plain_metaclass<'i>(token: Attached<'i>, root: &Object<'i>) -> Outcome<'i> {
    // SAFETY: attached (`token`); a new reference or null with an error.
    let namespace = unsafe { Object::from_new(token, ffi::PyDict_New()) }?;
    let name = Object::string(token, "Untied")?;
    let bases = Object::tuple(token, [root.share()])?;
    root.call(&Object::tuple(token, [name, bases, namespace])?, None)
}
