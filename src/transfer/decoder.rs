//! Bytes to Python's plain values.

use super::codec::Outside;
use crate::core::wire::{self, Atom, Build, Malformed, Shape};
use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::object::{Object, Outcome, Raised};
use std::ffi::c_int;
use std::ptr;

/// Makes the value that `encode` wrote.
pub fn decode<'i, O: Outside<'i>>(
    token: Attached<'i>,
    bytes: &[u8],
    outside: &mut O,
) -> Outcome<'i> {
    wire::decode(bytes, &mut Builder { token, outside }).map_err(|failure| match failure {
        Failure::Raised(raised) => raised,
        Failure::Malformed(Malformed(what)) => {
            Raised::value_error(token, &format!("a malformed message: {what}"))
        }
    })
}

struct Builder<'b, 'i, O> {
    token: Attached<'i>,
    outside: &'b mut O,
}

enum Failure {
    Raised(Raised),
    Malformed(Malformed),
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<Raised> for Failure {
    fn from(raised: Raised) -> Self {
        Self::Raised(raised)
    }
}

impl<'i, O> Builder<'_, 'i, O> {
    /// # Safety
    /// As `Object::from_new`.
    unsafe fn own(&self, pointer: *mut ffi::PyObject) -> Result<Object<'i>, Failure> {
        // SAFETY: this function's contract.
        unsafe { Object::from_new(self.token, pointer) }.map_err(Failure::Raised)
    }

    fn check(&self, status: c_int) -> Result<(), Failure> {
        if status < 0 {
            return Err(Failure::Raised(Raised::pending(self.token)));
        }
        Ok(())
    }
}

impl<'i, O: Outside<'i>> Build for Builder<'_, 'i, O> {
    type Value = Object<'i>;
    type Error = Failure;

    fn atom(&mut self, atom: Atom<'_>) -> Result<Object<'i>, Failure> {
        // SAFETY: attached (`token`); each call gives a new reference or null with an error, and
        // each slice is as long as the call is told.
        unsafe {
            let made = match atom {
                Atom::None => ffi::Py_NewRef(ffi::Py_None()),
                Atom::Bool(value) => ffi::PyBool_FromLong(value.into()),
                Atom::Ellipsis => ffi::Py_NewRef(ffi::Py_Ellipsis()),
                Atom::Int(value) => return self.int(value),
                Atom::BigInt(bytes) => ffi::PyLong_FromNativeBytes(
                    bytes.as_ptr().cast(),
                    bytes.len(),
                    ffi::PY_ASNATIVEBYTES_LITTLE_ENDIAN,
                ),
                Atom::Float(value) => return self.float(value),
                Atom::Complex(real, imaginary) => ffi::PyComplex_FromDoubles(real, imaginary),
                Atom::Str1(bytes) => return self.text(bytes),
                Atom::Str2(bytes) => {
                    // Copied, so that they are where double bytes may be.
                    let (pairs, _) = bytes.as_chunks();
                    let units: Vec<u16> = pairs.iter().map(|&p| u16::from_le_bytes(p)).collect();
                    text(
                        ffi::PyUnicode_2BYTE_KIND,
                        units.as_ptr().cast(),
                        units.len(),
                    )
                }
                Atom::Str4(bytes) => {
                    let (quads, _) = bytes.as_chunks();
                    let units: Vec<u32> = quads.iter().map(|&q| u32::from_le_bytes(q)).collect();
                    text(
                        ffi::PyUnicode_4BYTE_KIND,
                        units.as_ptr().cast(),
                        units.len(),
                    )
                }
                Atom::Bytes(bytes) => {
                    ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), bytes.len().cast_signed())
                }
                Atom::ByteArray(bytes) => ffi::PyByteArray_FromStringAndSize(
                    bytes.as_ptr().cast(),
                    bytes.len().cast_signed(),
                ),
            };
            self.own(made)
        }
    }

    #[inline]
    fn int(&mut self, value: i64) -> Result<Object<'i>, Failure> {
        // SAFETY: attached (`token`); a new reference or null with an error.
        unsafe { self.own(ffi::PyLong_FromLongLong(value)) }
    }

    #[inline]
    fn float(&mut self, value: f64) -> Result<Object<'i>, Failure> {
        // SAFETY: as in `int`.
        unsafe { self.own(ffi::PyFloat_FromDouble(value)) }
    }

    #[inline]
    fn text(&mut self, bytes: &[u8]) -> Result<Object<'i>, Failure> {
        // SAFETY: as in `int`; the slice is as long as the call is told.
        unsafe { self.own(text(ffi::PyUnicode_1BYTE_KIND, bytes.as_ptr(), bytes.len())) }
    }

    fn container(&mut self, shape: Shape, count: usize) -> Result<Object<'i>, Failure> {
        let count = count.cast_signed();
        // SAFETY: attached; a new reference or null with an error. The empty slots of tuples and
        // lists are filled by `item`; one that is not filled, because of a failure, is dropped.
        unsafe {
            self.own(match shape {
                Shape::Tuple => ffi::PyTuple_New(count),
                Shape::List => ffi::PyList_New(count),
                Shape::Dict => ffi::PyDict_New(),
                Shape::Set => ffi::PySet_New(ptr::null_mut()),
                Shape::FrozenSet => ffi::PyFrozenSet_New(ptr::null_mut()),
            })
        }
    }

    #[inline]
    fn item(
        &mut self,
        container: &Object<'i>,
        shape: Shape,
        index: usize,
        item: Object<'i>,
    ) -> Result<(), Failure> {
        let index = index.cast_signed();
        // SAFETY: `container` was made for more than `index` items, and each slot is filled once
        // (`wire::decode`); these calls take over the item's reference. A frozenset has no other
        // reference yet: it gets its number at the end.
        unsafe {
            match shape {
                Shape::Tuple => ffi::PyTuple_SET_ITEM(container.as_ptr(), index, item.into_ptr()),
                Shape::List => ffi::PyList_SET_ITEM(container.as_ptr(), index, item.into_ptr()),
                Shape::Set | Shape::FrozenSet | Shape::Dict => {
                    return self.check(ffi::PySet_Add(container.as_ptr(), item.as_ptr()));
                }
            }
        }
        Ok(())
    }

    fn pair(
        &mut self,
        dict: &Object<'i>,
        key: Object<'i>,
        value: Object<'i>,
    ) -> Result<(), Failure> {
        // SAFETY: live; the call takes references of its own.
        self.check(unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) })
    }

    fn range(&mut self, parts: [Object<'i>; 3]) -> Result<Object<'i>, Failure> {
        let arguments = Object::tuple(self.token, parts)?;
        // SAFETY: the type is static; a new reference or null with an error.
        unsafe {
            let class = (&raw mut ffi::PyRange_Type).cast();
            self.own(ffi::PyObject_CallObject(class, arguments.as_ptr()))
        }
    }

    fn slice(&mut self, [start, stop, step]: [Object<'i>; 3]) -> Result<Object<'i>, Failure> {
        // SAFETY: live; a new reference or null with an error.
        unsafe {
            self.own(ffi::PySlice_New(
                start.as_ptr(),
                stop.as_ptr(),
                step.as_ptr(),
            ))
        }
    }

    fn outside(&mut self, index: usize) -> Result<Object<'i>, Failure> {
        let given = self.outside.give(index)?;
        given.ok_or(Failure::Malformed(Malformed("nothing beside it")))
    }
}

/// # Safety
/// `length` units of that kind lie at `data`, and the interpreter is attached.
unsafe fn text(kind: u32, data: *const u8, length: usize) -> *mut ffi::PyObject {
    // SAFETY: this function's contract.
    unsafe { ffi::PyUnicode_FromKindAndData(kind.cast_signed(), data.cast(), length.cast_signed()) }
}
