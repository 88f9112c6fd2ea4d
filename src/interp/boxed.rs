//! Objects of the attached interpreter with Rust values inside, of types made anew in each.
//!
//! Guarantees: the value is written before anybody sees the object, and dropped once, attached to
//! the object's interpreter, when the last reference is gone.

use super::attach::Attached;
use super::native;
use super::object::{Object, Outcome};
use crate::ffi;
use std::ffi::{CStr, c_void};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

#[repr(C)]
struct Boxed<T> {
    base: ffi::PyObject,
    value: ManuallyDrop<T>,
}

/// What CPython calls at an object's end: `free` of the same value type.
pub type Free = unsafe extern "C" fn(*mut ffi::PyObject);

/// A type with these methods, whose instances hold a `T`.
///
/// # Safety
/// The methods take what they are called on for such an instance, have the signatures that their
/// flags ask for, and are static. `end` does nothing but `free::<T>`.
pub unsafe fn make_type<'i, T>(
    token: Attached<'i>,
    name: &'static CStr,
    methods: *mut ffi::PyMethodDef,
    end: Free,
) -> Outcome<'i> {
    let methods = ffi::PyType_Slot {
        slot: ffi::Py_tp_methods,
        pfunc: methods.cast(),
    };
    // SAFETY: by the contract.
    unsafe { make_type_with::<T>(token, name, methods, end) }
}

/// A type with this slot, whose instances hold a `T`.
///
/// # Safety
/// The slot's function or table takes what it is called on for such an instance, has the
/// signatures that CPython asks for, and is static. `end` does nothing but `free::<T>`.
pub unsafe fn make_type_with<'i, T>(
    token: Attached<'i>,
    name: &'static CStr,
    slot: ffi::PyType_Slot,
    end: Free,
) -> Outcome<'i> {
    let dealloc = ffi::PyType_Slot {
        slot: ffi::Py_tp_dealloc,
        pfunc: end as *mut c_void,
    };
    // SAFETY: by the contract.
    unsafe { native::make_type::<Boxed<T>>(token, name, &[dealloc, slot]) }
}

/// A new object of `class`.
///
/// # Safety
/// `class` is of `make_type` for this very `T`.
pub unsafe fn make<'i, T>(class: &Object<'i>, value: T) -> Outcome<'i> {
    // SAFETY: by the contract the new object is a `Boxed<T>`; its value is written before anybody
    // sees it.
    unsafe {
        let object = ffi::PyType_GenericAlloc(class.as_ptr().cast(), 0);
        let made = Object::from_new(class.token(), object)?;
        let place = object.cast::<Boxed<T>>();
        (&raw mut (*place).value).write(ManuallyDrop::new(value));
        Ok(made)
    }
}

/// What a method gets beside the value.
pub struct Given {
    pub token: Attached<'static>,
    /// What it was called on.
    pub object: Object<'static>,
    /// With `METH_O` the argument, with `METH_VARARGS` the tuple.
    pub argument: Option<Object<'static>>,
}

impl Given {
    /// An item of the tuple.
    pub fn item(&self, place: usize) -> Option<Object<'static>> {
        self.argument.as_ref()?.item(place)
    }
}

/// A method's call. What it is given must not outlive it.
pub type Act<T> = fn(&T, &Given) -> Outcome<'static>;

/// Does a method's work.
///
/// # Safety
/// CPython has called a method of an object that holds a `T`, with this argument or none.
pub unsafe fn call<T>(
    object: *mut ffi::PyObject,
    argument: *mut ffi::PyObject,
    act: Act<T>,
) -> *mut ffi::PyObject {
    // SAFETY: by the contract: attached, with live objects; the method's caller keeps both.
    let (value, given) = unsafe {
        let token = Attached::assume();
        let borrowed = |pointer| Object::from_borrowed(token, pointer);
        let given = Given {
            token,
            object: borrowed(NonNull::new_unchecked(object)),
            argument: NonNull::new(argument).map(borrowed),
        };
        (&(*object.cast::<Boxed<T>>()).value, given)
    };
    act(value, &given).map_or(std::ptr::null_mut(), Object::into_ptr)
}

/// The table of the methods of objects that hold a value: names, flags, what they do (`Act`).
macro_rules! methods {
    ($value:ty, $($name:literal: $flags:ident => $act:expr),+ $(,)?) => {
        $crate::interp::native::Methods([$({
            unsafe extern "C" fn method(
                object: *mut $crate::ffi::PyObject,
                argument: *mut $crate::ffi::PyObject,
            ) -> *mut $crate::ffi::PyObject {
                let act: $crate::interp::boxed::Act<$value> = $act;
                // SAFETY: CPython calls this by the type's own table.
                unsafe { $crate::interp::boxed::call(object, argument, act) }
            }
            $crate::interp::native::method($name, method, $crate::ffi::$flags)
        },)+ $crate::interp::native::END])
    };
}
pub(crate) use methods;

/// The value of a foreign object, if its type ends its instances by `end`, which only those of
/// `make_type` with that `end` do.
///
/// # Safety
/// `end` is what `make_type` was given for this `T`, and for no other.
pub unsafe fn value_of<'o, T>(object: &'o Object<'_>, end: Free) -> Option<&'o T> {
    // SAFETY: live; a type's slot, which is only compared. The rest is by the contract.
    unsafe {
        let found = ffi::PyType_GetSlot(ffi::Py_TYPE(object.as_ptr()), ffi::Py_tp_dealloc);
        (found == end as *mut c_void).then(|| &*(*object.as_ptr().cast::<Boxed<T>>()).value)
    }
}

/// Ends an object.
///
/// # Safety
/// Called by CPython when the last reference is gone, with an object that holds a `T`.
pub unsafe fn free<T>(object: *mut ffi::PyObject) {
    // SAFETY: by the contract. A heap type's object owns a reference to its type.
    unsafe {
        let class = ffi::Py_TYPE(object);
        ManuallyDrop::drop(&mut (*object.cast::<Boxed<T>>()).value);
        ffi::PyObject_Free(object.cast());
        ffi::Py_DECREF(class.cast());
    }
}
