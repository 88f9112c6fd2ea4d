//! What CPython wants to know of functions and types of ours: its tables.

use super::attach::Attached;
use super::object::{Object, Outcome};
use crate::ffi;
use std::ffi::{CStr, c_int};
use std::ptr;

/// Functions or methods: constant, and only read by CPython. One for a type or a module ends with
/// `END`.
pub struct Methods<const N: usize>(pub [ffi::PyMethodDef; N]);

// SAFETY: constant; CPython reads it and nothing else.
unsafe impl<const N: usize> Sync for Methods<N> {}

impl<const N: usize> Methods<N> {
    /// The table, as C's declarations have it.
    #[must_use]
    pub const fn table(&'static self) -> *mut ffi::PyMethodDef {
        self.0.as_ptr().cast_mut()
    }

    /// The function at this place of the table.
    pub fn function<'i>(&'static self, token: Attached<'i>, index: usize) -> Outcome<'i> {
        let method = (&raw const self.0[index]).cast_mut();
        // SAFETY: attached (`token`); static and only read; a new reference or null with an error.
        unsafe {
            let function = ffi::PyCFunction_NewEx(method, ptr::null_mut(), ptr::null_mut());
            Object::from_new(token, function)
        }
    }

    /// The same, with `own` as what it gets first.
    pub fn bound<'i>(&'static self, index: usize, own: &Object<'i>) -> Outcome<'i> {
        let method = (&raw const self.0[index]).cast_mut();
        // SAFETY: attached (the object's token); static and only read; the function takes a
        // reference of its own to a live object; a new reference or null with an error.
        unsafe {
            let function = ffi::PyCFunction_NewEx(method, own.as_ptr(), ptr::null_mut());
            Object::from_new(own.token(), function)
        }
    }
}

pub const END: ffi::PyMethodDef = ffi::PyMethodDef::zeroed();

#[must_use]
pub const fn method(
    name: &'static CStr,
    function: ffi::PyCFunction,
    flags: c_int,
) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunction: function,
        },
        ml_flags: flags,
        ml_doc: ptr::null(),
    }
}

#[must_use]
pub const fn method_with_keywords(
    name: &'static CStr,
    function: ffi::PyCFunctionWithKeywords,
) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionWithKeywords: function,
        },
        ml_flags: ffi::METH_VARARGS | ffi::METH_KEYWORDS,
        ml_doc: ptr::null(),
    }
}

/// Makes a type that nobody instantiates but us, and nobody changes.
///
/// # Safety
/// Each slot's function has the signature that the slot asks for, what slots point to is static,
/// and `T` is the layout of the instances.
pub unsafe fn make_type<'i, T>(
    token: Attached<'i>,
    name: &'static CStr,
    slots: &[ffi::PyType_Slot],
) -> Outcome<'i> {
    let mut slots: Vec<_> = slots.to_vec();
    slots.push(ffi::PyType_Slot::default());
    let flags = ffi::Py_TPFLAGS_DEFAULT
        | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION
        | ffi::Py_TPFLAGS_IMMUTABLETYPE;
    let mut spec = ffi::PyType_Spec {
        name: name.as_ptr(),
        // A few dozen words.
        basicsize: size_of::<T>() as c_int,
        itemsize: 0,
        flags: flags as _,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: attached (`token`); the specification is read during the call; for the rest, this
    // function's contract.
    unsafe { Object::from_new(token, ffi::PyType_FromSpec(&raw mut spec)) }
}
