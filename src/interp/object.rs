//! Owned references to objects of the attached interpreter, and the few calls made on them.
//!
//! Guarantees: a reference is dropped attached to the interpreter it belongs to, because it
//! carries that interpreter's token; a failed call leaves the exception set, and `Raised` stands
//! for it until it is taken or cleared.

use super::attach::Attached;
use crate::ffi;
use std::ffi::{CStr, c_int};
use std::ptr::{self, NonNull};

/// An exception is set in the attached interpreter.
#[derive(Debug)]
#[must_use]
pub struct Raised(());

/// An owned reference.
pub struct Object<'i> {
    pointer: NonNull<ffi::PyObject>,
    token: Attached<'i>,
}

pub type Outcome<'i> = Result<Object<'i>, Raised>;

impl Raised {
    /// Takes the exception out of the interpreter. `None` if a C function broke its promise and
    /// failed without setting one.
    pub fn take(self, token: Attached<'_>) -> Option<Object<'_>> {
        // SAFETY: attached (`token`); gives a new reference or null.
        let pointer = unsafe { ffi::PyErr_GetRaisedException() };
        NonNull::new(pointer).map(|pointer| Object { pointer, token })
    }

    pub fn clear(self, token: Attached<'_>) {
        drop(self.take(token));
    }

    /// Has Python tell of an exception that nobody can be given (`sys.unraisablehook`), with a
    /// text that is no format.
    pub fn report(self, _token: Attached<'_>, text: &'static CStr) {
        // SAFETY: attached (`_token`), with the exception set; `%s` takes a C string.
        unsafe { ffi::PyErr_FormatUnraisable(c"%s".as_ptr(), text.as_ptr()) };
    }

    /// Sets an exception that was taken again.
    pub fn again(_token: Attached<'_>, error: Object<'_>) -> Self {
        // SAFETY: attached (`_token`); the call takes over the reference.
        unsafe { ffi::PyErr_SetRaisedException(error.into_ptr()) };
        Self(())
    }

    /// An exception that a call made elsewhere has set.
    pub const fn pending(_token: Attached<'_>) -> Self {
        Self(())
    }

    /// `BufferError(message)`.
    pub fn buffer_error(_token: Attached<'_>, message: &CStr) -> Self {
        // SAFETY: attached (`_token`); a static exception type and a C string.
        unsafe { ffi::PyErr_SetString(ffi::PyExc_BufferError, message.as_ptr()) };
        Self(())
    }

    /// Sets again what `take` gave.
    pub fn from_taken(token: Attached<'_>, error: Option<Object<'_>>) -> Self {
        match error {
            Some(error) => Self::again(token, error),
            None => Self::lost(token),
        }
    }

    /// A `ValueError`.
    pub fn value_error(token: Attached<'_>, message: &str) -> Self {
        match Object::string(token, message) {
            Ok(message) => {
                // SAFETY: attached (`token`); a static exception type and a live string.
                unsafe { ffi::PyErr_SetObject(ffi::PyExc_ValueError, message.as_ptr()) };
                Self(())
            }
            Err(raised) => raised,
        }
    }

    /// Stands in for an exception that a C function forgot to set.
    pub fn lost(_token: Attached<'_>) -> Self {
        // SAFETY: attached (`_token`); a static exception type and a C string.
        unsafe {
            ffi::PyErr_SetString(
                ffi::PyExc_SystemError,
                c"a C function failed without setting an exception".as_ptr(),
            );
        }
        Self(())
    }
}

impl Clone for Object<'_> {
    fn clone(&self) -> Self {
        self.share()
    }
}

impl<'i> Object<'i> {
    /// Takes over the new reference that a C function returned, or its failure.
    ///
    /// # Safety
    /// `pointer` is an owned reference to an object of the attached interpreter, or null with an
    /// exception set.
    pub unsafe fn from_new(token: Attached<'i>, pointer: *mut ffi::PyObject) -> Outcome<'i> {
        NonNull::new(pointer).map_or(Err(Raised(())), |pointer| Ok(Self { pointer, token }))
    }

    /// # Safety
    /// `pointer` is a live object of the attached interpreter.
    pub unsafe fn from_borrowed(token: Attached<'i>, pointer: NonNull<ffi::PyObject>) -> Self {
        // SAFETY: live and attached, by this function's contract.
        unsafe { ffi::Py_INCREF(pointer.as_ptr()) };
        Self { pointer, token }
    }

    #[must_use]
    pub const fn as_ptr(&self) -> *mut ffi::PyObject {
        self.pointer.as_ptr()
    }

    /// Gives the reference up to the caller.
    #[must_use]
    pub fn into_ptr(self) -> *mut ffi::PyObject {
        let pointer = self.as_ptr();
        std::mem::forget(self);
        pointer
    }

    #[must_use]
    pub const fn token(&self) -> Attached<'i> {
        self.token
    }

    pub fn import(token: Attached<'i>, name: &CStr) -> Outcome<'i> {
        // SAFETY: attached (`token`); `name` is a C string; a new reference or null with an error.
        unsafe { Self::from_new(token, ffi::PyImport_ImportModule(name.as_ptr())) }
    }

    /// The module of the name `self`, imported if need be.
    pub fn import_named(&self) -> Outcome<'i> {
        // SAFETY: live; a new reference or null with an error (also for a name that is no str).
        unsafe { Self::from_new(self.token, ffi::PyImport_Import(self.as_ptr())) }
    }

    pub fn attribute(&self, name: &CStr) -> Outcome<'i> {
        // SAFETY: both pointers are live; a new reference or null with an error.
        unsafe {
            Self::from_new(
                self.token,
                ffi::PyObject_GetAttrString(self.as_ptr(), name.as_ptr()),
            )
        }
    }

    /// The same, with the name as a `str` object.
    pub fn attribute_named(&self, name: &Self) -> Outcome<'i> {
        // SAFETY: both live; a new reference or null with an error (also for a name that is no str).
        unsafe {
            Self::from_new(
                self.token,
                ffi::PyObject_GetAttr(self.as_ptr(), name.as_ptr()),
            )
        }
    }

    /// `sys.modules[self]`; an exception also if there is no such module.
    pub fn as_imported_module(&self) -> Outcome<'i> {
        // SAFETY: live, and attached for the borrowed dict of modules; a borrowed item, made owned
        // before anything else runs, or null with or without an exception.
        unsafe {
            let modules = ffi::PyImport_GetModuleDict();
            let pointer = ffi::PyDict_GetItemWithError(modules, self.as_ptr());
            if pointer.is_null() && ffi::PyErr_Occurred().is_null() {
                ffi::PyErr_SetObject(ffi::PyExc_ImportError, self.as_ptr());
            }
            Self::from_new(self.token, ffi::Py_XNewRef(pointer))
        }
    }

    /// A module's global, past its `__getattr__`; an attribute of anything else.
    pub fn global_named(&self, name: &Self) -> Outcome<'i> {
        // SAFETY: both live; a borrowed dict and item of a module, which `self` keeps alive.
        unsafe {
            if ffi::PyModule_CheckExact(self.as_ptr()) != 0 {
                let globals = ffi::PyModule_GetDict(self.as_ptr());
                let pointer = ffi::PyDict_GetItemWithError(globals, name.as_ptr());
                if !pointer.is_null() {
                    return Self::from_new(self.token, ffi::Py_NewRef(pointer));
                }
                ffi::PyErr_Clear();
            }
        }
        self.attribute_named(name)
    }

    pub fn set_attribute(&self, name: &CStr, value: &Self) -> Result<(), Raised> {
        // SAFETY: all three pointers are live.
        check(unsafe { ffi::PyObject_SetAttrString(self.as_ptr(), name.as_ptr(), value.as_ptr()) })
    }

    /// `self(*args, **kwargs)`.
    pub fn call(&self, args: &Self, kwargs: Option<&Self>) -> Outcome<'i> {
        let kwargs = kwargs.map_or(ptr::null_mut(), Self::as_ptr);
        // SAFETY: live objects; `PyObject_Call` itself refuses what is not a tuple and a dict
        // with an exception (debug builds assert it: the callers pass what was pickled as such).
        unsafe {
            Self::from_new(
                self.token,
                ffi::PyObject_Call(self.as_ptr(), args.as_ptr(), kwargs),
            )
        }
    }

    /// `self(first)`, without a tuple.
    pub fn call1(&self, first: &Self) -> Outcome<'i> {
        // SAFETY: live objects; a new reference or null with an error.
        unsafe {
            Self::from_new(
                self.token,
                ffi::PyObject_CallOneArg(self.as_ptr(), first.as_ptr()),
            )
        }
    }

    /// `self(first, name=value)`; `names` is the tuple of that one name.
    pub fn call_with_keyword(&self, first: &Self, value: &Self, names: &Self) -> Outcome<'i> {
        let arguments = [first.as_ptr(), value.as_ptr()];
        // SAFETY: one live argument, as the count says, and one for the one name after it.
        unsafe {
            let pointer =
                ffi::PyObject_Vectorcall(self.as_ptr(), arguments.as_ptr(), 1, names.as_ptr());
            Self::from_new(self.token, pointer)
        }
    }

    #[must_use]
    pub fn none(token: Attached<'i>) -> Self {
        // SAFETY: `None` is immortal and valid in every interpreter.
        unsafe { Self::from_borrowed(token, NonNull::new_unchecked(ffi::Py_None())) }
    }

    /// `isinstance(self, class)`.
    pub fn is_instance(&self, class: &Self) -> Result<bool, Raised> {
        // SAFETY: both live; 1, 0, or -1 with an error (also for a `class` that is none).
        let status = unsafe { ffi::PyObject_IsInstance(self.as_ptr(), class.as_ptr()) };
        check(status).map(|()| status == 1)
    }

    /// Another reference to the same object.
    #[must_use]
    pub fn share(&self) -> Self {
        // SAFETY: live, as `self` owns a reference.
        unsafe { Self::from_borrowed(self.token, self.pointer) }
    }

    /// `self[name]` of a dict or another mapping.
    pub fn item_named(&self, name: &CStr) -> Outcome<'i> {
        // SAFETY: a live object and a C string; a new reference or null with an error.
        unsafe {
            let pointer = ffi::PyMapping_GetItemString(self.as_ptr(), name.as_ptr());
            Self::from_new(self.token, pointer)
        }
    }

    /// `self[name] = value` for a dict or another mapping.
    pub fn set_item(&self, name: &CStr, value: &Self) -> Result<(), Raised> {
        // SAFETY: live objects and a C string.
        check(unsafe { ffi::PyMapping_SetItemString(self.as_ptr(), name.as_ptr(), value.as_ptr()) })
    }

    /// `repr(self)`, or the type's bare promise if that fails.
    #[must_use]
    pub fn repr_text(&self) -> String {
        // SAFETY: live; a new reference or null with an error.
        match unsafe { Self::from_new(self.token, ffi::PyObject_Repr(self.as_ptr())) } {
            Ok(text) => text.to_text().unwrap_or_default(),
            Err(raised) => {
                raised.clear(self.token);
                "an exception whose repr() failed".to_owned()
            }
        }
    }

    pub fn string(token: Attached<'i>, text: &str) -> Outcome<'i> {
        // SAFETY: pointer and length of one string; attached.
        unsafe {
            let pointer =
                ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), length(text.len()));
            Self::from_new(token, pointer)
        }
    }

    pub fn bytes(token: Attached<'i>, content: &[u8]) -> Outcome<'i> {
        // SAFETY: pointer and length of one slice, copied by the call; attached.
        unsafe {
            let pointer =
                ffi::PyBytes_FromStringAndSize(content.as_ptr().cast(), length(content.len()));
            Self::from_new(token, pointer)
        }
    }

    pub fn integer(token: Attached<'i>, value: i64) -> Outcome<'i> {
        // SAFETY: attached; a new reference or null with an error.
        unsafe { Self::from_new(token, ffi::PyLong_FromLongLong(value)) }
    }

    #[must_use]
    pub fn boolean(token: Attached<'i>, value: bool) -> Self {
        // SAFETY: attached; both are immortal and valid in every interpreter.
        unsafe {
            let pointer = if value {
                ffi::Py_True()
            } else {
                ffi::Py_False()
            };
            Self::from_borrowed(token, NonNull::new_unchecked(pointer))
        }
    }

    /// A tuple of the given objects.
    pub fn tuple<const N: usize>(token: Attached<'i>, items: [Self; N]) -> Outcome<'i> {
        // SAFETY: a new tuple of N places, each filled once with an owned reference, before
        // anybody else sees it.
        unsafe {
            let tuple = Self::from_new(token, ffi::PyTuple_New(length(N)))?;
            for (index, item) in items.into_iter().enumerate() {
                ffi::PyTuple_SetItem(tuple.as_ptr(), length(index), item.into_ptr());
            }
            Ok(tuple)
        }
    }

    /// A string of UTF-8 that may have lone surrogates.
    pub fn text(token: Attached<'i>, text: &[u8]) -> Outcome<'i> {
        // SAFETY: pointer and length of one slice, read during the call; attached.
        unsafe {
            let (start, size) = (text.as_ptr().cast(), length(text.len()));
            Self::from_new(
                token,
                ffi::PyUnicode_DecodeUTF8(start, size, c"surrogatepass".as_ptr()),
            )
        }
    }

    /// A list of such strings.
    pub fn texts(token: Attached<'i>, texts: &[Box<[u8]>]) -> Outcome<'i> {
        Self::list(token, texts.iter().map(|text| Self::text(token, text)))
    }

    /// A list of the given objects, or the first failure.
    pub fn list(token: Attached<'i>, items: impl Iterator<Item = Outcome<'i>>) -> Outcome<'i> {
        // SAFETY: an owned new list; `PyList_Append` takes its own reference to a live item.
        let list = unsafe { Self::from_new(token, ffi::PyList_New(0))? };
        for item in items {
            let item = item?;
            // SAFETY: as above.
            check(unsafe { ffi::PyList_Append(list.as_ptr(), item.as_ptr()) })?;
        }
        Ok(list)
    }

    /// Item `index` of a tuple; `None` for another type or a place that is not there.
    #[must_use]
    pub fn item(&self, index: usize) -> Option<Self> {
        // SAFETY: live; checked to be a tuple with such a place; the item lives in the tuple, and
        // `from_borrowed` takes a reference of its own.
        unsafe {
            if ffi::PyTuple_Check(self.as_ptr()) == 0
                || length(index) >= ffi::PyTuple_Size(self.as_ptr())
            {
                return None;
            }
            let item = NonNull::new(ffi::PyTuple_GetItem(self.as_ptr(), length(index)))?;
            Some(Self::from_borrowed(self.token, item))
        }
    }

    /// The content of a `bytes` object; `None` for another type.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        // SAFETY: live and checked to be bytes, which are immutable: the slice is valid as long as
        // the object, and `self` keeps it.
        unsafe {
            if ffi::PyBytes_Check(self.as_ptr()) == 0 {
                return None;
            }
            let start = ffi::PyBytes_AsString(self.as_ptr()).cast::<u8>();
            let size = usize::try_from(ffi::PyBytes_Size(self.as_ptr())).ok()?;
            Some(std::slice::from_raw_parts(start, size))
        }
    }

    /// The text of a `str` object, lone surrogates replaced; `None` for another type.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        let bytes = self.encoded(c"backslashreplace")?;
        let text = bytes.as_bytes()?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// The same as bytes, lone surrogates as they come (see `text`).
    #[must_use]
    pub fn to_encoded_text(&self) -> Option<Vec<u8>> {
        self.encoded(c"surrogatepass")?
            .as_bytes()
            .map(<[u8]>::to_vec)
    }

    /// A `str` object in UTF-8; `None` for another type.
    fn encoded(&self, errors: &CStr) -> Option<Self> {
        // SAFETY: live and checked to be str; a new reference or null with an error.
        let encoded = unsafe {
            if ffi::PyUnicode_Check(self.as_ptr()) == 0 {
                return None;
            }
            let encoding = c"utf-8".as_ptr();
            let pointer = ffi::PyUnicode_AsEncodedString(self.as_ptr(), encoding, errors.as_ptr());
            Self::from_new(self.token, pointer)
        };
        encoded.map_err(|raised| raised.clear(self.token)).ok()
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        // SAFETY: an owned reference, given up once; the token proves that this thread is attached
        // to the interpreter the object belongs to.
        unsafe { ffi::Py_DECREF(self.as_ptr()) }
    }
}

/// What a C function's status says: negative is an exception.
pub fn check(status: c_int) -> Result<(), Raised> {
    if status < 0 { Err(Raised(())) } else { Ok(()) }
}

/// A Rust length as C wants it. A slice is never longer than `isize::MAX`.
const fn length(size: usize) -> ffi::Py_ssize_t {
    size.cast_signed()
}
