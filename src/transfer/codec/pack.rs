//! Objects to bytes.
//!
//! Pickle gives back one object for one object of each type but `None`, `bool`, `int` and
//! `float`. Here an object gets a number only if somebody else may refer to it: its reference
//! count is more than 1. Containers own what they contain, each item by a reference of its own,
//! so an object that occurs twice in a value has two. The exception is a dict whose keys belong
//! to a class (`__dict__`): all dicts of such objects share one reference to each key.

mod objects;

use super::{Outside, Packing};
use crate::core::addresses::Entered;
use crate::core::wire::{DEEPEST, Kind, Writer};
use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::object::Object;
use std::ptr::{self, NonNull};

/// Most calls are short.
const CAPACITY: usize = 64;

/// Borrowed: alive and unchanged until the codec is done, because the root is, each container owns
/// its items, and nothing runs meanwhile that could take an item out of its container.
type Borrowed = *mut ffi::PyObject;

/// An open container, and what is still to be written of it.
#[derive(Clone, Copy)]
pub enum Frame {
    Items(Items),
    Pairs(Pairs),
    Entries(Entries),
}

/// Of a tuple, list or slice: items side by side.
#[derive(Clone, Copy)]
pub struct Items {
    container: Borrowed,
    next: *const Borrowed,
    left: usize,
}

/// Of a dict.
#[derive(Clone, Copy)]
pub struct Pairs {
    container: Borrowed,
    position: ffi::Py_ssize_t,
    /// Its key is written.
    value: Option<NonNull<ffi::PyObject>>,
}

/// Of a set or frozenset: the entries of its table.
#[derive(Clone, Copy)]
pub struct Entries {
    container: Borrowed,
    next: *const ffi::setentry,
    left: usize,
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
                let mut frame = self.packing.frames[top];
                let opened = match &mut frame {
                    Frame::Items(items) => self.go_on_with_items(items)?,
                    Frame::Pairs(pairs) => self.go_on_with_pairs(pairs)?,
                    Frame::Entries(entries) => self.go_on_with_entries(entries)?,
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

    /// Writes what is left, or until a part of it opens.
    #[inline]
    unsafe fn go_on_with_items(&mut self, items: &mut Items) -> Result<Opened, Refused> {
        while items.left > 0 {
            // SAFETY: so many items of a live container lie there.
            let opened = unsafe {
                let item = *items.next;
                items.next = items.next.add(1);
                items.left -= 1;
                self.value(item, false)?
            };
            if opened {
                return Ok(true);
            }
        }
        Ok(false)
    }

    #[inline]
    unsafe fn go_on_with_pairs(&mut self, pairs: &mut Pairs) -> Result<Opened, Refused> {
        let dict = pairs.container;
        // SAFETY: a live dict, which nobody changes; its keys and values are `Borrowed`.
        unsafe {
            let shares_keys = !(*dict.cast::<ffi::PyDictObject>()).ma_values.is_null();
            if let Some(value) = pairs.value.take()
                && self.value(value.as_ptr(), false)?
            {
                return Ok(true);
            }
            let (mut key, mut value) = (ptr::null_mut(), ptr::null_mut());
            let place = &raw mut pairs.position;
            while ffi::PyDict_Next(dict, place, &raw mut key, &raw mut value) != 0 {
                if self.value(key, shares_keys)? {
                    pairs.value = NonNull::new(value);
                    return Ok(true);
                }
                if self.value(value, false)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    #[inline]
    unsafe fn go_on_with_entries(&mut self, entries: &mut Entries) -> Result<Opened, Refused> {
        while entries.left > 0 {
            // SAFETY: so many entries of a live set's table lie there. An entry may be free, or
            // have been freed (`cpython/setobject.h` tells the three kinds).
            let opened = unsafe {
                let ffi::setentry { key, hash } = *entries.next;
                entries.next = entries.next.add(1);
                entries.left -= 1;
                !key.is_null() && hash != -1 && self.value(key, false)?
            };
            if opened {
                return Ok(true);
            }
        }
        Ok(false)
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

    fn push(&mut self, frame: Frame) -> Result<Opened, Refused> {
        if self.packing.frames.len() >= DEEPEST {
            return Err(Refused);
        }
        self.packing.frames.push(frame);
        Ok(true)
    }
}

impl Frame {
    const fn container(&self) -> Borrowed {
        match *self {
            Self::Items(Items { container, .. })
            | Self::Pairs(Pairs { container, .. })
            | Self::Entries(Entries { container, .. }) => container,
        }
    }
}
