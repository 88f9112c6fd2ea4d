//! The object through which an interpreter's memoryviews see memory that is not the interpreter's.
//!
//! Guarantees: the memory lives as long as the object, and the object as long as the last
//! memoryview over it (each owns a reference); the object may die on any thread attached to its
//! interpreter, also while that ends.
//!
//! The type is made anew in each interpreter, as a heap type: a static one would be shared.

use super::graveyard;
use super::memory::{Layout, Memory};
use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::native;
use crate::interp::object::{Object, Outcome};
use std::ffi::{c_int, c_void};
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::Arc;

#[repr(C)]
struct Exporter {
    base: ffi::PyObject,
    /// Whether this is an object of main.
    main: bool,
    layout: ManuallyDrop<Layout>,
    memory: ManuallyDrop<Arc<Memory>>,
}

/// The type, for the attached interpreter.
pub fn make_type(token: Attached<'_>) -> Outcome<'_> {
    let slot = |slot, pfunc| ffi::PyType_Slot { slot, pfunc };
    let slots = [
        slot(ffi::Py_tp_dealloc, DEALLOC as *mut c_void),
        slot(ffi::Py_bf_getbuffer, get_buffer as *mut c_void),
    ];
    // SAFETY: the functions have the signatures that the slots ask for, and take instances for an
    // `Exporter`.
    unsafe { native::make_type::<Exporter>(token, c"subpool.Memory", &slots) }
}

/// A memoryview over `memory`, laid out as `layout` says. `class` is of `make_type`.
pub fn view<'i>(
    class: &Object<'i>,
    main: bool,
    memory: Arc<Memory>,
    layout: Layout,
) -> Outcome<'i> {
    let token = class.token();
    // SAFETY: `class` is a type of our own (`make_type`), so the new object is an `Exporter`, and
    // its fields are written before anybody sees it.
    let exporter = unsafe {
        let object = ffi::PyType_GenericAlloc(class.as_ptr().cast(), 0);
        let exporter = Object::from_new(token, object)?;
        let fields = object.cast::<Exporter>();
        (&raw mut (*fields).main).write(main);
        (&raw mut (*fields).layout).write(ManuallyDrop::new(layout));
        (&raw mut (*fields).memory).write(ManuallyDrop::new(memory));
        exporter
    };
    // SAFETY: live; a new reference or null with an error.
    unsafe { Object::from_new(token, ffi::PyMemoryView_FromObject(exporter.as_ptr())) }
}

/// What ends exporters, and nothing else: one address, so that their types are known by it.
static DEALLOC: unsafe extern "C" fn(*mut ffi::PyObject) = dealloc;

/// The memory that `view`, a memoryview, sees, if it sees it through an exporter. That may be of
/// another type than this interpreter's first: who shares things has one more (shared/room.rs).
pub fn memory_of(view: &Object<'_>) -> Option<Arc<Memory>> {
    let mut object = view.share();
    loop {
        // SAFETY: live; the fields of a live `Exporter` are written (`view`).
        unsafe {
            let ends = ffi::PyType_GetSlot(ffi::Py_TYPE(object.as_ptr()), ffi::Py_tp_dealloc);
            if ends == DEALLOC as *mut c_void {
                return Some(Arc::clone(&(*object.as_ptr().cast::<Exporter>()).memory));
            }
            // A view's base is another view if a PickleBuffer came between them.
            if ffi::PyMemoryView_Check(object.as_ptr()) == 0 {
                return None;
            }
        }
        match object.attribute(c"obj") {
            Ok(base) => object = base,
            Err(raised) => {
                raised.clear(view.token());
                return None;
            }
        }
    }
}

unsafe extern "C" fn get_buffer(
    object: *mut ffi::PyObject,
    view: *mut ffi::Py_buffer,
    flags: c_int,
) -> c_int {
    // SAFETY: CPython calls this attached, with a live exporter and a place to fill. The pointers
    // filled in lead into the exporter, of which the view owns a reference.
    unsafe {
        match (*object.cast::<Exporter>()).layout.fill(&mut *view, flags) {
            Ok(()) => {
                (*view).obj = ffi::Py_NewRef(object);
                0
            }
            Err(reason) => {
                (*view).obj = ptr::null_mut();
                ffi::PyErr_SetString(ffi::PyExc_BufferError, reason.as_ptr());
                -1
            }
        }
    }
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: CPython calls this attached, once, when the last reference is gone. The fields were
    // written (`view`): an object that failed before that never was. A heap type's object owns a
    // reference to its type. `main` says that the thread is attached to main.
    unsafe {
        let class = ffi::Py_TYPE(object);
        let fields = object.cast::<Exporter>();
        let main = (*fields).main;
        ManuallyDrop::drop(&mut (*fields).layout);
        ManuallyDrop::drop(&mut (*fields).memory);
        ffi::PyObject_Free(object.cast());
        ffi::Py_DECREF(class.cast());
        if main {
            graveyard::clear(Attached::assume());
        }
    }
}
