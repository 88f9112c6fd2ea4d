//! Objects to bytes.
//!
//! Pickle gives back one object for one object of each type but `None`, `bool`, `int` and
//! `float`. Here an object gets a number only if somebody else may refer to it: its reference
//! count is more than 1. Containers own what they contain, each item by a reference of its own,
//! so an object that occurs twice in a value has two. The exception is a dict whose keys belong
//! to a class (`__dict__`): all dicts of such objects share one reference to each key.

use super::{LIFT_FROM, Outside, Packing};
use crate::core::addresses::Entered;
use crate::core::wire::{DEEPEST, Kind, Width, Writer};
use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::object::Object;
use std::ffi::c_int;
use std::ptr::{self, NonNull};

/// Most calls are short.
const CAPACITY: usize = 64;

/// Borrowed: alive and unchanged until the codec is done, because the root is, each container owns
/// its items, and nothing runs meanwhile that could take an item out of its container.
type Borrowed = *mut ffi::PyObject;

/// An open container, and what is still to be written of it.
#[derive(Clone, Copy)]
pub enum Frame {
    /// A tuple, list or slice: its items lie side by side.
    Items {
        container: Borrowed,
        next: *const Borrowed,
        left: usize,
    },
    Dict {
        dict: Borrowed,
        position: ffi::Py_ssize_t,
        /// Comes after its key.
        value: Option<NonNull<ffi::PyObject>>,
    },
    Set {
        container: Borrowed,
        next: *const ffi::setentry,
        left: usize,
    },
}

/// The codec does not take this. No exception is set.
struct Refused;

/// Whether a container was opened: the frame on top is another now.
type Opened = bool;

pub fn pack<'i, O: Outside<'i>>(
    value: &Object<'i>,
    outside: &mut O,
    packing: &mut Packing,
) -> Option<Vec<u8>> {
    let mut packer = Packer {
        token: value.token(),
        writer: Writer::with_capacity(CAPACITY),
        packing,
        outside,
    };
    // SAFETY: `value` is alive and stays so; attached (its token). Nothing in this module runs
    // user code or lets go of the GIL (`Outside` promises the same), so `Borrowed` holds.
    match unsafe { packer.run(value.as_ptr()) } {
        Ok(()) => Some(packer.writer.finish()),
        Err(Refused) => None,
    }
}

struct Packer<'p, 'i, O> {
    token: Attached<'i>,
    writer: Writer,
    packing: &'p mut Packing,
    outside: &'p mut O,
}

impl<'i, O: Outside<'i>> Packer<'_, 'i, O> {
    /// # Safety
    /// `root` is `Borrowed`, as what all functions below are given.
    unsafe fn run(&mut self, root: Borrowed) -> Result<(), Refused> {
        // SAFETY: the root; then frames that `value` made of containers in it.
        unsafe {
            self.value(root, false)?;
            while let Some(top) = self.packing.frames.len().checked_sub(1) {
                let frame = self.packing.frames[top];
                let (frame, opened) = match frame {
                    Frame::Items { .. } => self.go_through_items(frame)?,
                    Frame::Dict { .. } => self.go_through_dict(frame)?,
                    Frame::Set { .. } => self.go_through_set(frame)?,
                };
                if opened {
                    self.packing.frames[top] = frame;
                } else {
                    self.packing.frames.pop();
                }
            }
        }
        Ok(())
    }

    /// Writes items until the end or until one of them opens. Gives back what is left.
    unsafe fn go_through_items(&mut self, frame: Frame) -> Result<(Frame, Opened), Refused> {
        if let Frame::Items {
            container,
            mut next,
            mut left,
        } = frame
        {
            while left > 0 {
                // SAFETY: `left` items of a live container lie there.
                let opened = unsafe {
                    let item = *next;
                    next = next.add(1);
                    left -= 1;
                    self.value(item, false)?
                };
                if opened {
                    let frame = Frame::Items {
                        container,
                        next,
                        left,
                    };
                    return Ok((frame, true));
                }
            }
        }
        Ok((frame, false))
    }

    unsafe fn go_through_dict(&mut self, frame: Frame) -> Result<(Frame, Opened), Refused> {
        if let Frame::Dict {
            dict,
            mut position,
            value,
        } = frame
        {
            // SAFETY: a live dict, which nobody changes; its items are `Borrowed`.
            unsafe {
                let shares_keys = !(*dict.cast::<ffi::PyDictObject>()).ma_values.is_null();
                let mut opened = match value {
                    Some(value) => self.value(value.as_ptr(), false)?,
                    None => false,
                };
                let (mut key, mut item) = (ptr::null_mut(), ptr::null_mut());
                let mut value = None;
                while !opened {
                    let more =
                        ffi::PyDict_Next(dict, &raw mut position, &raw mut key, &raw mut item);
                    if more == 0 {
                        return Ok((frame, false));
                    }
                    if self.value(key, shares_keys)? {
                        value = NonNull::new(item);
                        break;
                    }
                    opened = self.value(item, false)?;
                }
                let frame = Frame::Dict {
                    dict,
                    position,
                    value,
                };
                return Ok((frame, true));
            }
        }
        Ok((frame, false))
    }

    unsafe fn go_through_set(&mut self, frame: Frame) -> Result<(Frame, Opened), Refused> {
        if let Frame::Set {
            container,
            mut next,
            mut left,
        } = frame
        {
            while left > 0 {
                // SAFETY: `left` entries of a live set's table lie there.
                let opened = unsafe {
                    let ffi::setentry { key, hash } = *next;
                    next = next.add(1);
                    left -= 1;
                    // Free, or freed (`cpython/setobject.h` tells the three kinds).
                    if key.is_null() || hash == -1 {
                        continue;
                    }
                    self.value(key, false)?
                };
                if opened {
                    let frame = Frame::Set {
                        container,
                        next,
                        left,
                    };
                    return Ok((frame, true));
                }
            }
        }
        Ok((frame, false))
    }

    #[inline]
    unsafe fn value(&mut self, object: Borrowed, shared: bool) -> Result<Opened, Refused> {
        // SAFETY: `object` is live, and each function is called for exactly the type that its
        // name says; the types are static and the same in all interpreters.
        unsafe {
            let class = ffi::Py_TYPE(object);
            if class == &raw mut ffi::PyLong_Type {
                self.integer(object)?;
            } else if class == &raw mut ffi::PyUnicode_Type {
                self.text(object, shared)?;
            } else if object == ffi::Py_None() {
                self.writer.none();
            } else if class == &raw mut ffi::PyFloat_Type {
                self.writer.float(ffi::PyFloat_AS_DOUBLE(object));
            } else if class == &raw mut ffi::PyBool_Type {
                self.writer.boolean(object == ffi::Py_True());
            } else if class == &raw mut ffi::PyTuple_Type {
                return self.tuple(object);
            } else if class == &raw mut ffi::PyList_Type {
                return self.list(object);
            } else if class == &raw mut ffi::PyDict_Type {
                return self.dict(object);
            } else {
                return self.rarer(object, class);
            }
        }
        Ok(false)
    }

    #[inline(never)]
    unsafe fn rarer(
        &mut self,
        object: Borrowed,
        class: *mut ffi::PyTypeObject,
    ) -> Result<Opened, Refused> {
        // SAFETY: as in `value`.
        unsafe {
            if class == &raw mut ffi::PyBytes_Type {
                self.bytes(object)?;
            } else if class == &raw mut ffi::PySet_Type {
                return self.set(object, Kind::Set);
            } else if class == &raw mut ffi::PyFrozenSet_Type {
                return self.set(object, Kind::FrozenSet);
            } else if class == &raw mut ffi::PyByteArray_Type {
                self.bytearray(object)?;
            } else if class == &raw mut ffi::PyComplex_Type {
                if let Some(numbered) = self.number(object, false, false)? {
                    let value = ffi::PyComplex_AsCComplex(object);
                    self.writer.complex(value.real, value.imag, numbered);
                }
            } else if object == ffi::Py_Ellipsis() {
                self.writer.ellipsis();
            } else if class == &raw mut ffi::PyRange_Type {
                self.range(object)?;
            } else if class == &raw mut ffi::PySlice_Type {
                return self.slice(object);
            } else if class == &raw mut ffi::PyMemoryView_Type
                || class == &raw mut ffi::PyPickleBuffer_Type
            {
                self.view(object)?;
            } else {
                return Err(Refused);
            }
        }
        Ok(false)
    }

    /// Whether the object gets a number; `None` if it has one, which is written instead of it.
    /// `shared`: its reference count does not say whether it occurs elsewhere. `late`: it is a
    /// container that its items cannot refer to.
    #[inline]
    unsafe fn number(
        &mut self,
        object: Borrowed,
        shared: bool,
        late: bool,
    ) -> Result<Option<bool>, Refused> {
        // SAFETY: live.
        if unsafe { ffi::Py_REFCNT(object) } == 1 && !shared {
            return Ok(Some(false));
        }
        match self.packing.numbers.enter(object as usize) {
            Entered::New => Ok(Some(true)),
            Entered::Full => Err(Refused),
            Entered::Known(number) => {
                let is_open = |frame: &Frame| frame.container() == object;
                if late && self.packing.frames.iter().any(is_open) {
                    // A cycle through a tuple or its like has no form here. Pickle has one.
                    return Err(Refused);
                }
                self.writer.again(number);
                Ok(None)
            }
        }
    }

    #[inline]
    unsafe fn integer(&mut self, object: Borrowed) -> Result<(), Refused> {
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
    unsafe fn text(&mut self, object: Borrowed, shared: bool) -> Result<(), Refused> {
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

    unsafe fn tuple(&mut self, object: Borrowed) -> Result<Opened, Refused> {
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

    unsafe fn list(&mut self, object: Borrowed) -> Result<Opened, Refused> {
        // SAFETY: an exact list of `count` items.
        unsafe {
            let items = (*object.cast::<ffi::PyListObject>()).ob_item;
            let count = size(ffi::PyList_GET_SIZE(object));
            self.items(Kind::List, object, items.cast_const(), count)
        }
    }

    unsafe fn slice(&mut self, object: Borrowed) -> Result<Opened, Refused> {
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
        self.push(Frame::Items {
            container,
            next,
            left,
        })
    }

    unsafe fn dict(&mut self, object: Borrowed) -> Result<Opened, Refused> {
        // SAFETY: an exact dict.
        unsafe {
            let Some(numbered) = self.number(object, false, false)? else {
                return Ok(false);
            };
            let count = size(ffi::PyDict_Size(object));
            self.writer.open(Kind::Dict, count, numbered);
            self.push(Frame::Dict {
                dict: object,
                position: 0,
                value: None,
            })
        }
    }

    unsafe fn set(&mut self, object: Borrowed, kind: Kind) -> Result<Opened, Refused> {
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
            self.push(Frame::Set {
                container: object,
                next: table.cast_const(),
                left: size(*mask) + 1,
            })
        }
    }

    fn push(&mut self, frame: Frame) -> Result<Opened, Refused> {
        if self.packing.frames.len() >= DEEPEST {
            return Err(Refused);
        }
        self.packing.frames.push(frame);
        Ok(true)
    }

    unsafe fn range(&mut self, object: Borrowed) -> Result<(), Refused> {
        // SAFETY: an exact range, whose attributes are exact ints, found without user code.
        unsafe {
            let Some(numbered) = self.number(object, false, false)? else {
                return Ok(());
            };
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

    unsafe fn bytes(&mut self, object: Borrowed) -> Result<(), Refused> {
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

    unsafe fn bytearray(&mut self, object: Borrowed) -> Result<(), Refused> {
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

    unsafe fn view(&mut self, object: Borrowed) -> Result<(), Refused> {
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

impl Frame {
    const fn container(&self) -> Borrowed {
        match *self {
            Self::Items { container, .. } | Self::Set { container, .. } => container,
            Self::Dict { dict, .. } => dict,
        }
    }
}

/// A size that C gave, which for a live object is never negative.
const fn size(size: ffi::Py_ssize_t) -> usize {
    size.cast_unsigned()
}
