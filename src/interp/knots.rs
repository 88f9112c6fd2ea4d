//! What CPython does not take apart when an interpreter ends.
//!
//! **Types that are their own type.** A metaclass may assign `cls.__class__ = cls` (h11's sentinels do). The garbage collector then
//! clears the type by means of the type itself, which is not possible, so the type stays, with the
//! memory arena that it lies in and all that it refers to: 3 to 8 MB for each interpreter.
//!
//! **What it lets go of after its last garbage collection**: `sys.stderr`, and the filters of
//! warnings. A class that only they lead to is never freed then, with the same consequence: seen,
//! 2.7 MB for each interpreter, both with a stream of ours and with a filter that has a pattern.

use super::attach::Attached;
use super::object::{Object, Outcome, Raised, check};
use crate::ffi;
use std::ptr::NonNull;

/// More steps from a type to its type than any program takes that comes to `type` in the end.
const FAR: usize = 32;

/// Takes that apart. To be called when the interpreter runs no more tasks.
///
/// Afterwards it is not what it was, so before this whatever may ask has ended.
pub fn untie(token: Attached<'_>) {
    for step in [
        let_go_of_streams,
        let_threads_let_go,
        let_go_of_filters,
        untie_types,
    ] {
        if let Err(raised) = step(token) {
            // A task has put something else there, or there is no memory. It stays, as without us.
            raised.clear(token);
        }
    }
}

/// As CPython does soon after, but for `sys.stderr` not soon enough.
fn let_go_of_streams(token: Attached<'_>) -> Result<(), Raised> {
    let system = Object::import(token, c"sys")?;
    for (name, own) in [(c"stdout", c"__stdout__"), (c"stderr", c"__stderr__")] {
        system.set_attribute(name, &system.attribute(own)?)?;
    }
    Ok(())
}

/// A `Thread` has the `sys.stderr` of its making, and that of the worker itself goes last of all.
fn let_threads_let_go(token: Attached<'_>) -> Result<(), Raised> {
    let threading = Object::string(token, "threading")?.as_imported_module()?;
    let threads = threading.attribute(c"_active")?;
    // SAFETY: live; new references or null with an error, also for what is no dict.
    let threads = unsafe {
        let values = Object::from_new(token, ffi::PyDict_Values(threads.as_ptr()))?;
        Object::from_new(token, ffi::PySequence_Tuple(values.as_ptr()))?
    };
    let none = Object::none(token);
    let main = threading.attribute(c"_main_thread");
    let main = main.map_err(|raised| raised.clear(token)).ok();
    for thread in (0..).map_while(|index| threads.item(index)).chain(main) {
        thread.set_attribute(c"_stderr", &none)?;
    }
    Ok(())
}

/// Keeps the filters of plain values and of classes that CPython itself brings.
fn let_go_of_filters(token: Attached<'_>) -> Result<(), Raised> {
    // CPython's own list, whatever the module of that name has made of it.
    let filters = Object::import(token, c"_warnings")?.attribute(c"filters")?;
    // SAFETY: live; a new reference or null with an error.
    let all = unsafe { Object::from_new(token, ffi::PySequence_Tuple(filters.as_ptr())) }?;
    let plain = (0..).map_while(|index| all.item(index)).filter(is_plain);
    let plain = Object::list(token, plain.map(Ok))?;
    // SAFETY: live; an error for what is no list. The whole of it is replaced.
    check(unsafe { ffi::PyList_SetSlice(filters.as_ptr(), 0, ffi::PY_SSIZE_T_MAX, plain.as_ptr()) })
}

fn is_plain(filter: &Object<'_>) -> bool {
    let is_text = |index| {
        // SAFETY: a live object, compared with the types of strings and of None.
        filter.item(index).is_some_and(|item| unsafe {
            ffi::PyUnicode_CheckExact(item.as_ptr()) != 0 || item.as_ptr() == ffi::Py_None()
        })
    };
    let home = filter
        .item(2)
        .map(|category| category.attribute(c"__module__"));
    let is_builtin = match home {
        Some(Ok(home)) => home.to_text().is_some_and(|home| home == "builtins"),
        Some(Err(raised)) => {
            raised.clear(filter.token());
            false
        }
        None => false,
    };
    is_text(1) && is_text(3) && is_builtin
}

fn untie_types(token: Attached<'_>) -> Result<(), Raised> {
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
