//! Bytes to objects.
//!
//! Guarantees: an error leaves nothing behind that could be seen half made; no user code runs:
//! only exact built-in objects are made, hashed and compared.

use super::Outside;
use crate::core::wire::{self, Builder, Error, Kind, Scratch, Width};
use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::object::{Object, Outcome, Raised, check};
use std::ffi::c_int;
use std::ptr;

pub fn unpack<'i, O: Outside<'i>>(
    token: Attached<'i>,
    bytes: &[u8],
    outside: &mut O,
    scratch: &mut Scratch<Object<'i>>,
) -> Outcome<'i> {
    let mut objects = Objects { token, outside };
    wire::decode(bytes, &mut objects, scratch).map_err(|error| match error {
        Error::Builder(raised) => raised,
        Error::Malformed(malformed) => {
            Raised::value_error(token, &format!("not what subpool encoded: {malformed}"))
        }
    })
}

struct Objects<'o, 'i, O> {
    token: Attached<'i>,
    outside: &'o mut O,
}

impl<'i, O> Objects<'_, 'i, O> {
    /// # Safety
    /// As `Object::from_new`.
    #[inline]
    unsafe fn owned(&self, pointer: *mut ffi::PyObject) -> Outcome<'i> {
        // SAFETY: by the contract.
        unsafe { Object::from_new(self.token, pointer) }
    }

    /// # Safety
    /// A live object.
    #[inline]
    unsafe fn constant(&self, pointer: *mut ffi::PyObject) -> Object<'i> {
        // SAFETY: live, so not null.
        unsafe { Object::from_borrowed(self.token, ptr::NonNull::new_unchecked(pointer)) }
    }

    /// Code points of `N` bytes, as they lie in memory.
    fn wide<const N: usize, T: Copy + Into<u32>>(
        &self,
        kind: std::ffi::c_uint,
        units: &[u8],
        read: fn([u8; N]) -> T,
    ) -> Outcome<'i> {
        let (units, _) = units.as_chunks::<N>();
        let largest = units.iter().map(|&unit| read(unit).into()).max();
        let largest = largest.unwrap_or(0);
        if largest > 0x10_ffff {
            return Err(Raised::value_error(self.token, "no such code point"));
        }
        // What the next narrower kind could hold.
        let narrow = if N == 2 { 0xff } else { 0xffff };
        // SAFETY: attached. A new string of `units.len()` places for what is at most `largest`,
        // so of this kind; they are filled before anybody sees it. Otherwise the pointer leads to
        // as many code points, aligned.
        unsafe {
            if largest > narrow {
                let text = self.owned(ffi::PyUnicode_New(length(units.len()), largest))?;
                let data = ffi::PyUnicode_DATA(text.as_ptr()).cast::<[u8; N]>();
                ptr::copy_nonoverlapping(units.as_ptr(), data, units.len());
                return Ok(text);
            }
            let aligned: Vec<T> = units.iter().map(|&unit| read(unit)).collect();
            self.owned(ffi::PyUnicode_FromKindAndData(
                kind as c_int,
                aligned.as_ptr().cast(),
                length(aligned.len()),
            ))
        }
    }
}

impl<'i, O: Outside<'i>> Builder for Objects<'_, 'i, O> {
    type Object = Object<'i>;
    type Error = Raised;

    #[inline]
    fn share(&mut self, object: &Object<'i>) -> Object<'i> {
        object.share()
    }

    #[inline]
    fn none(&mut self) -> Object<'i> {
        Object::none(self.token)
    }

    #[inline]
    fn boolean(&mut self, value: bool) -> Object<'i> {
        // SAFETY: both are immortal and valid in every interpreter.
        unsafe {
            self.constant(if value {
                ffi::Py_True()
            } else {
                ffi::Py_False()
            })
        }
    }

    fn ellipsis(&mut self) -> Object<'i> {
        // SAFETY: immortal and valid in every interpreter.
        unsafe { self.constant(ffi::Py_Ellipsis()) }
    }

    #[inline]
    fn integer(&mut self, value: i64) -> Outcome<'i> {
        Object::integer(self.token, value)
    }

    fn big(&mut self, value: &[u8]) -> Outcome<'i> {
        let flags = ffi::Py_ASNATIVEBYTES_LITTLE_ENDIAN;
        // SAFETY: attached; pointer and length of one slice.
        unsafe {
            let bytes = value.as_ptr().cast();
            self.owned(ffi::PyLong_FromNativeBytes(bytes, value.len(), flags))
        }
    }

    #[inline]
    fn float(&mut self, value: f64) -> Outcome<'i> {
        // SAFETY: attached.
        unsafe { self.owned(ffi::PyFloat_FromDouble(value)) }
    }

    fn complex(&mut self, real: f64, imaginary: f64) -> Outcome<'i> {
        // SAFETY: attached.
        unsafe { self.owned(ffi::PyComplex_FromDoubles(real, imaginary)) }
    }

    #[inline]
    fn text(&mut self, width: Width, units: &[u8]) -> Outcome<'i> {
        match width {
            // SAFETY: attached; pointer and length of one slice, which is copied. Any byte is a
            // code point.
            Width::One => unsafe {
                let kind = ffi::PyUnicode_1BYTE_KIND as c_int;
                let data = units.as_ptr().cast();
                self.owned(ffi::PyUnicode_FromKindAndData(
                    kind,
                    data,
                    length(units.len()),
                ))
            },
            Width::Two => self.wide(ffi::PyUnicode_2BYTE_KIND, units, u16::from_ne_bytes),
            Width::Four => self.wide(ffi::PyUnicode_4BYTE_KIND, units, u32::from_ne_bytes),
        }
    }

    fn bytes(&mut self, content: &[u8]) -> Outcome<'i> {
        // SAFETY: attached; a new object with as many places, filled before anybody sees it. (Made
        // from nothing, as pickle does: bytes made from one byte would be one of a kind.)
        unsafe {
            let size = length(content.len());
            let bytes = self.owned(ffi::PyBytes_FromStringAndSize(ptr::null(), size))?;
            let data = ffi::PyBytes_AS_STRING(bytes.as_ptr()).cast_mut().cast();
            ptr::copy_nonoverlapping(content.as_ptr(), data, content.len());
            Ok(bytes)
        }
    }

    fn bytearray(&mut self, content: &[u8]) -> Outcome<'i> {
        // SAFETY: attached; pointer and length of one slice, which is copied.
        unsafe {
            let data = content.as_ptr().cast();
            self.owned(ffi::PyByteArray_FromStringAndSize(
                data,
                length(content.len()),
            ))
        }
    }

    fn outside(&mut self, index: u32) -> Outcome<'i> {
        self.outside.give(self.token, index)
    }

    #[inline]
    fn open(&mut self, kind: Kind, count: usize) -> Outcome<'i> {
        // SAFETY: attached; new references or null. The empty places of a list and a tuple are
        // filled by `put`, or cut off by `abandon`, before anything else can look at them.
        unsafe {
            self.owned(match kind {
                Kind::List => ffi::PyList_New(length(count)),
                // The fields of a range or slice wait in a tuple.
                Kind::Tuple | Kind::Range | Kind::Slice => ffi::PyTuple_New(length(count)),
                Kind::Dict => ffi::PyDict_New(),
                Kind::Set => ffi::PySet_New(ptr::null_mut()),
                Kind::FrozenSet => ffi::PyFrozenSet_New(ptr::null_mut()),
            })
        }
    }

    #[inline]
    fn put(
        &mut self,
        kind: Kind,
        container: &Object<'i>,
        index: usize,
        item: Object<'i>,
    ) -> Result<(), Raised> {
        let (container, index) = (container.as_ptr(), length(index));
        // SAFETY: `open` made the container of this kind, with a place for each index that `decode`
        // gives, each once; the place takes over the reference. A set takes its own. A frozenset
        // has one reference until it is closed, so it may still be added to.
        unsafe {
            match kind {
                Kind::List => ffi::PyList_SET_ITEM(container, index, item.into_ptr()),
                Kind::Tuple | Kind::Range | Kind::Slice => {
                    ffi::PyTuple_SET_ITEM(container, index, item.into_ptr());
                }
                Kind::Set | Kind::FrozenSet => {
                    return check(ffi::PySet_Add(container, item.as_ptr()));
                }
                // `pair`
                Kind::Dict => {}
            }
        }
        Ok(())
    }

    #[inline]
    fn pair(
        &mut self,
        dict: &Object<'i>,
        key: Object<'i>,
        value: Object<'i>,
    ) -> Result<(), Raised> {
        // SAFETY: three live objects, the first a dict, as `open` made it.
        check(unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) })
    }

    #[inline]
    fn close(&mut self, kind: Kind, container: Object<'i>) -> Outcome<'i> {
        // SAFETY: a full tuple of three, as `open` and `put` made it. A call of `range` with exact
        // built-in objects runs no user code.
        unsafe {
            match kind {
                Kind::Range => {
                    let class = (&raw mut ffi::PyRange_Type).cast();
                    self.owned(ffi::PyObject_Call(
                        class,
                        container.as_ptr(),
                        ptr::null_mut(),
                    ))
                }
                Kind::Slice => {
                    let field = |index| ffi::PyTuple_GET_ITEM(container.as_ptr(), index);
                    self.owned(ffi::PySlice_New(field(0), field(1), field(2)))
                }
                _ => Ok(container),
            }
        }
    }

    fn abandon(&mut self, kind: Kind, container: &Object<'i>, filled: usize) {
        if kind == Kind::List {
            // A list may contain itself and so outlive the error, for the garbage collector and
            // who asks it to see. (A tuple is not reachable before it is closed.)
            // SAFETY: a list with at least so many places, of which these are filled.
            unsafe { (*container.as_ptr().cast::<ffi::PyVarObject>()).ob_size = length(filled) };
        }
    }
}

/// A Rust length as C wants it. A slice is never longer than `isize::MAX`, and no container is
/// opened for more items than there are bytes.
const fn length(size: usize) -> ffi::Py_ssize_t {
    size.cast_signed()
}
