//! One object to bytes, as far as they are its own: a container is opened.
//!
//! Each function is for live objects of exactly the type in its name; what they are given is
//! `Borrowed`.

use super::super::{LIFT_FROM, Outside};
use super::{Borrowed, Entries, Frame, Items, Opened, Packer, Pairs, Refused};
use crate::core::wire::{DEEPEST, Kind, Width};
use crate::ffi;
use crate::interp::object::Object;
use std::ffi::c_int;
use std::ptr::{self, NonNull};

impl<'i, O: Outside<'i>> Packer<'_, 'i, O> {
    #[inline]
    pub(super) unsafe fn integer(&mut self, object: Borrowed) -> Result<(), Refused> {
        // SAFETY: an exact int.
        if let Some(value) = unsafe { ffi::compact_value(object) } {
            self.writer.integer(value);
            return Ok(());
        }
        // SAFETY: an exact int.
        unsafe { self.large_integer(object) }
    }

    #[inline(never)]
    unsafe fn large_integer(&mut self, object: Borrowed) -> Result<(), Refused> {
        let mut overflow: c_int = 0;
        // SAFETY: an exact int: no error is possible but the overflow.
        let value = unsafe { ffi::PyLong_AsLongLongAndOverflow(object, &raw mut overflow) };
        if overflow == 0 {
            self.writer.integer(value);
            return Ok(());
        }
        let flags = ffi::Py_ASNATIVEBYTES_LITTLE_ENDIAN;
        // SAFETY: an exact int. The first call says how many bytes it takes, the second gets as
        // many places.
        unsafe {
            let size = ffi::PyLong_AsNativeBytes(object, ptr::null_mut(), 0, flags);
            let Ok(places) = usize::try_from(size) else {
                return Err(self.refuse_with_error());
            };
            let mut bytes = vec![0_u8; places];
            let written = ffi::PyLong_AsNativeBytes(object, bytes.as_mut_ptr().cast(), size, flags);
            if written < 0 || written > size {
                return Err(self.refuse_with_error());
            }
            self.writer.big(&bytes);
        }
        Ok(())
    }

    #[inline]
    pub(super) unsafe fn text(&mut self, object: Borrowed, shared: bool) -> Result<(), Refused> {
        // SAFETY: an exact str: so many code points of such a width lie at its data.
        let (width, units) = unsafe {
            let count = size(ffi::PyUnicode_GET_LENGTH(object));
            let width = match ffi::PyUnicode_KIND(object) {
                ffi::PyUnicode_1BYTE_KIND => Width::One,
                ffi::PyUnicode_2BYTE_KIND => Width::Two,
                _ => Width::Four,
            };
            let data = ffi::PyUnicode_DATA(object).cast::<u8>();
            (
                width,
                std::slice::from_raw_parts(data, count * width as usize),
            )
        };
        // The empty string and those of one character up to 255 are one object each in an
        // interpreter, so they come out as one in any case.
        let is_one_of_a_kind = width == Width::One && units.len() <= 1;
        let numbered = if is_one_of_a_kind {
            Some(false)
        } else {
            // SAFETY: `Borrowed`.
            unsafe { self.number(object, shared, false) }?
        };
        if let Some(numbered) = numbered {
            self.writer.text(width, units, numbered);
        }
        Ok(())
    }

    pub(super) unsafe fn tuple(&mut self, object: Borrowed) -> Result<Opened, Refused> {
        // SAFETY: an exact tuple.
        let (count, items) = unsafe {
            let items = &raw const (*object.cast::<ffi::PyTupleObject>()).ob_item;
            (size(ffi::PyTuple_GET_SIZE(object)), items)
        };
        if count == 0 {
            // One object in each interpreter.
            self.writer.open(Kind::Tuple, 0, false);
            return Ok(false);
        }
        // SAFETY: a tuple of `count` items.
        unsafe { self.items(Kind::Tuple, object, items.cast(), count) }
    }

    pub(super) unsafe fn list(&mut self, object: Borrowed) -> Result<Opened, Refused> {
        // SAFETY: an exact list of `count` items.
        unsafe {
            let items = (*object.cast::<ffi::PyListObject>()).ob_item;
            let count = size(ffi::PyList_GET_SIZE(object));
            self.items(Kind::List, object, items.cast_const(), count)
        }
    }

    pub(super) unsafe fn slice(&mut self, object: Borrowed) -> Result<Opened, Refused> {
        // SAFETY: an exact slice, whose three fields are side by side and never null.
        unsafe {
            let fields = &raw const (*object.cast::<ffi::PySliceObject>()).start;
            self.items(Kind::Slice, object, fields, 3)
        }
    }

    unsafe fn items(
        &mut self,
        kind: Kind,
        container: Borrowed,
        next: *const Borrowed,
        left: usize,
    ) -> Result<Opened, Refused> {
        // SAFETY: `Borrowed`.
        let numbered = unsafe { self.number(container, false, !kind.is_early()) }?;
        let Some(numbered) = numbered else {
            return Ok(false);
        };
        self.writer.open(kind, left, numbered);
        self.push(Frame::Items(Items {
            container,
            next,
            left,
        }))
    }

    pub(super) unsafe fn dict(&mut self, object: Borrowed) -> Result<Opened, Refused> {
        // SAFETY: an exact dict.
        unsafe {
            let Some(numbered) = self.number(object, false, false)? else {
                return Ok(false);
            };
            let count = size(ffi::PyDict_Size(object));
            self.writer.open(Kind::Dict, count, numbered);
            self.push(Frame::Pairs(Pairs {
                container: object,
                position: 0,
                value: None,
            }))
        }
    }

    pub(super) unsafe fn set(&mut self, object: Borrowed, kind: Kind) -> Result<Opened, Refused> {
        // SAFETY: an exact set or frozenset: its table has one entry more than the mask says.
        unsafe {
            let late = kind == Kind::FrozenSet;
            let Some(numbered) = self.number(object, false, late)? else {
                return Ok(false);
            };
            let ffi::PySetObject {
                used, mask, table, ..
            } = &*object.cast::<ffi::PySetObject>();
            self.writer.open(kind, size(*used), numbered);
            self.push(Frame::Entries(Entries {
                container: object,
                next: table.cast_const(),
                left: size(*mask) + 1,
            }))
        }
    }

    pub(super) unsafe fn range(&mut self, object: Borrowed) -> Result<(), Refused> {
        // SAFETY: an exact range, whose attributes are exact ints, found without user code.
        unsafe {
            let Some(numbered) = self.number(object, false, false)? else {
                return Ok(());
            };
            if self.packing.frames.len() >= DEEPEST {
                return Err(Refused);
            }
            self.writer.open(Kind::Range, 3, numbered);
            for name in [c"start", c"stop", c"step"] {
                let field = ffi::PyObject_GetAttrString(object, name.as_ptr());
                match Object::from_new(self.token, field) {
                    Ok(field) => self.integer(field.as_ptr())?,
                    Err(raised) => {
                        raised.clear(self.token);
                        return Err(Refused);
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) unsafe fn bytes(&mut self, object: Borrowed) -> Result<(), Refused> {
        // SAFETY: exact bytes; immutable.
        unsafe {
            let start = ffi::PyBytes_AS_STRING(object).cast::<u8>();
            let content = std::slice::from_raw_parts(start, size(ffi::PyBytes_Size(object)));
            if content.is_empty() {
                // One object in each interpreter.
                self.writer.bytes(content, false);
            } else if let Some(numbered) = self.number(object, false, false)? {
                match self.offer(object, content.len())? {
                    Some(index) => self.writer.outside(index, numbered),
                    None => self.writer.bytes(content, numbered),
                }
            }
        }
        Ok(())
    }

    pub(super) unsafe fn bytearray(&mut self, object: Borrowed) -> Result<(), Refused> {
        // SAFETY: an exact bytearray, which nobody changes meanwhile; its data is never null.
        unsafe {
            let Some(numbered) = self.number(object, false, false)? else {
                return Ok(());
            };
            let start = ffi::PyByteArray_AsString(object).cast::<u8>();
            let count = size(ffi::PyByteArray_Size(object));
            let content = std::slice::from_raw_parts(start, count);
            match self.offer(object, count)? {
                Some(index) => self.writer.outside(index, numbered),
                None => self.writer.bytearray(content, numbered),
            }
        }
        Ok(())
    }

    pub(super) unsafe fn view(&mut self, object: Borrowed) -> Result<(), Refused> {
        // SAFETY: `Borrowed`.
        unsafe {
            if let Some(numbered) = self.number(object, false, false)? {
                let index = self.offer(object, usize::MAX)?.ok_or(Refused)?;
                self.writer.outside(index, numbered);
            }
        }
        Ok(())
    }

    unsafe fn offer(&mut self, object: Borrowed, size: usize) -> Result<Option<u32>, Refused> {
        if size < LIFT_FROM {
            return Ok(None);
        }
        // SAFETY: live, and not null.
        let object = unsafe { Object::from_borrowed(self.token, NonNull::new_unchecked(object)) };
        self.outside.take(&object).map_err(|raised| {
            // Pickle will come upon the same, and say it.
            raised.clear(self.token);
            Refused
        })
    }

    /// Refuses after a C function failed.
    #[cold]
    fn refuse_with_error(&self) -> Refused {
        // SAFETY: attached (`token`).
        unsafe { ffi::PyErr_Clear() };
        Refused
    }
}

/// A size that C gave, which for a live object is never negative.
const fn size(size: ffi::Py_ssize_t) -> usize {
    size.cast_unsigned()
}
