//! Python's plain values to bytes.
//!
//! No user code runs in here (`codec.rs`), which is also why borrowed references are good enough:
//! the interpreter stays locked, and nothing can take an item out of its container.

use super::codec::{LIFT_FROM, Outside, Refused};
use crate::core::wire::{DEEPEST, Tag, Writer};
use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::object::Object;
use rustc_hash::FxHashMap;
use std::ffi::{CStr, c_int};
use std::ptr;
use std::slice;

/// Numbers of the objects that were written with one, by address.
type Memo = FxHashMap<usize, u32>;

/// In the memo: a tuple, frozenset or slice whose parts are being written.
const IN_PROGRESS: u32 = u32::MAX;

/// Appends `value` to `out`. What a refusal leaves there is worth nothing.
pub fn encode<'i, O: Outside<'i>>(
    value: &Object<'i>,
    out: &mut Vec<u8>,
    outside: &mut O,
) -> Result<(), Refused> {
    let mut encoder = Encoder {
        writer: Writer(out),
        memo: Memo::default(),
        next: 0,
        root: ptr::null_mut(),
        outside,
        token: value.token(),
    };
    let root = value.as_ptr();
    // SAFETY: live, and the token in `encoder` proves the interpreter attached, for the whole call.
    unsafe {
        if ffi::PyTuple_CheckExact(root) == 0 {
            return encoder.value(root, DEEPEST);
        }
        // A tuple with a call's arguments is held by the caller too, and so looks shared. One that
        // stands in itself, by way of a list, is for pickle.
        encoder.root = root;
        encoder.writer.tag(Tag::Tuple, false);
        encoder.items(root, DEEPEST - 1)
    }
}

struct Encoder<'b, 'i, O> {
    writer: Writer<'b>,
    memo: Memo,
    next: u32,
    root: *mut ffi::PyObject,
    outside: &'b mut O,
    token: Attached<'i>,
}

impl<'i, O: Outside<'i>> Encoder<'_, 'i, O> {
    /// # Safety
    /// `object` is live and stays so: it is held by the value that is being encoded.
    unsafe fn value(&mut self, object: *mut ffi::PyObject, depth: usize) -> Result<(), Refused> {
        // SAFETY: `object` is live (this function's contract); each branch looks only at what an
        // object of exactly that type has.
        unsafe {
            let kind = ffi::Py_TYPE(object);
            if kind == &raw mut ffi::PyLong_Type {
                self.int(object)
            } else if kind == &raw mut ffi::PyUnicode_Type {
                self.string(object)
            } else if kind == &raw mut ffi::PyFloat_Type {
                self.writer.tag(Tag::Float, false);
                self.writer
                    .bytes(&ffi::PyFloat_AS_DOUBLE(object).to_le_bytes());
                Ok(())
            } else if object == ffi::Py_None() {
                self.singleton(Tag::None)
            } else if object == ffi::Py_True() {
                self.singleton(Tag::True)
            } else if object == ffi::Py_False() {
                self.singleton(Tag::False)
            } else if kind == &raw mut ffi::PyTuple_Type {
                self.tuple(object, depth)
            } else if kind == &raw mut ffi::PyList_Type {
                self.list(object, depth)
            } else if kind == &raw mut ffi::PyDict_Type {
                self.dict(object, depth)
            } else if kind == &raw mut ffi::PyBytes_Type {
                let content = slice::from_raw_parts(
                    ffi::PyBytes_AsString(object).cast(),
                    ffi::PyBytes_Size(object).cast_unsigned(),
                );
                self.bytes(object, Tag::Bytes, content)
            } else if kind == &raw mut ffi::PyByteArray_Type {
                let content = slice::from_raw_parts(
                    ffi::PyByteArray_AsString(object).cast(),
                    ffi::PyByteArray_Size(object).cast_unsigned(),
                );
                self.bytes(object, Tag::ByteArray, content)
            } else {
                self.rarer(object, depth)
            }
        }
    }

    /// # Safety
    /// As `value`.
    #[inline(never)]
    unsafe fn rarer(&mut self, object: *mut ffi::PyObject, depth: usize) -> Result<(), Refused> {
        // SAFETY: as in `value`.
        unsafe {
            let kind = ffi::Py_TYPE(object);
            if kind == &raw mut ffi::PySet_Type {
                self.set(object, depth)
            } else if kind == &raw mut ffi::PyFrozenSet_Type {
                self.frozen_set(object, depth)
            } else if kind == &raw mut ffi::PyComplex_Type {
                if self.written(object)? {
                    return Ok(());
                }
                let value = ffi::PyComplex_AsCComplex(object);
                self.tag(object, Tag::Complex);
                self.writer.bytes(&value.real.to_le_bytes());
                self.writer.bytes(&value.imag.to_le_bytes());
                Ok(())
            } else if kind == &raw mut ffi::PyRange_Type {
                self.range(object)
            } else if kind == &raw mut ffi::PySlice_Type {
                self.slice(object, depth)
            } else if object == ffi::Py_Ellipsis() {
                self.singleton(Tag::Ellipsis)
            } else if kind == &raw mut ffi::PyMemoryView_Type
                || kind == &raw mut ffi::PyPickleBuffer_Type
            {
                if self.written(object)? || self.lifted(object)? {
                    return Ok(());
                }
                Err(Refused::Foreign)
            } else {
                Err(Refused::Foreign)
            }
        }
    }

    fn singleton(&mut self, tag: Tag) -> Result<(), Refused> {
        self.writer.tag(tag, false);
        Ok(())
    }

    /// # Safety
    /// An exact int.
    unsafe fn int(&mut self, object: *mut ffi::PyObject) -> Result<(), Refused> {
        // SAFETY: an exact int (contract), for which neither call fails or runs other code; the
        // buffer is as long as the second call is told.
        unsafe {
            let mut overflow: c_int = 0;
            let value = ffi::PyLong_AsLongLongAndOverflow(object, &raw mut overflow);
            if overflow == 0 {
                self.writer.tag(Tag::Int, false);
                self.writer.int(value);
                return Ok(());
            }
            let flags = ffi::PY_ASNATIVEBYTES_LITTLE_ENDIAN;
            let size = ffi::PyLong_AsNativeBytes(object, ptr::null_mut(), 0, flags);
            let length = size.cast_unsigned();
            self.writer.tag(Tag::BigInt, false);
            self.writer.count(length);
            let start = self.writer.0.len();
            self.writer.0.resize(start + length, 0);
            let place = self.writer.0[start..].as_mut_ptr().cast();
            ffi::PyLong_AsNativeBytes(object, place, size, flags);
        }
        Ok(())
    }

    /// # Safety
    /// An exact str.
    unsafe fn string(&mut self, object: *mut ffi::PyObject) -> Result<(), Refused> {
        // SAFETY: an exact str (contract); data, kind and length belong together.
        let (kind, length, content) = unsafe {
            let kind = ffi::PyUnicode_KIND(object);
            let length = ffi::PyUnicode_GET_LENGTH(object).cast_unsigned();
            let data = ffi::PyUnicode_DATA(object).cast::<u8>();
            (
                kind,
                length,
                slice::from_raw_parts(data, length * kind as usize),
            )
        };
        let tag = match kind {
            ffi::PyUnicode_1BYTE_KIND => Tag::Str1,
            ffi::PyUnicode_2BYTE_KIND => Tag::Str2,
            _ => Tag::Str4,
        };
        if length <= 1 && tag == Tag::Str1 {
            // One object for each such text in an interpreter: it is itself without a number.
            self.writer.tag(tag, false);
        } else {
            // SAFETY: live.
            unsafe {
                if self.written(object)? {
                    return Ok(());
                }
                self.tag(object, tag);
            }
        }
        self.writer.count(length);
        self.writer.bytes(content);
        Ok(())
    }

    /// # Safety
    /// Live, and `content` is its content.
    unsafe fn bytes(
        &mut self,
        object: *mut ffi::PyObject,
        tag: Tag,
        content: &[u8],
    ) -> Result<(), Refused> {
        // SAFETY: live (contract).
        unsafe {
            if self.written(object)? || content.len() >= LIFT_FROM && self.lifted(object)? {
                return Ok(());
            }
            self.tag(object, tag);
        }
        self.writer.count(content.len());
        self.writer.bytes(content);
        Ok(())
    }

    /// # Safety
    /// A live object.
    unsafe fn lifted(&mut self, object: *mut ffi::PyObject) -> Result<bool, Refused> {
        // SAFETY: live (contract), and so not null.
        let taken = unsafe {
            let object = Object::from_borrowed(self.token, ptr::NonNull::new_unchecked(object));
            self.outside.take(&object)?
        };
        if let Some(number) = taken {
            // SAFETY: live (contract).
            unsafe { self.tag(object, Tag::Outside) };
            self.writer.count(number);
        }
        Ok(taken.is_some())
    }

    /// # Safety
    /// An exact tuple.
    unsafe fn tuple(&mut self, object: *mut ffi::PyObject, depth: usize) -> Result<(), Refused> {
        // SAFETY: an exact tuple (contract), whose items live as long as it does.
        unsafe {
            if ffi::PyTuple_GET_SIZE(object) == 0 {
                // One object in an interpreter.
                self.writer.tag(Tag::Tuple, false);
                self.writer.count(0);
                return Ok(());
            }
            let below = deeper(depth)?;
            if self.written(object)? {
                return Ok(());
            }
            let shared = self.begin(object, Tag::Tuple);
            self.items(object, below)?;
            self.end(object, shared);
        }
        Ok(())
    }

    /// # Safety
    /// An exact tuple.
    unsafe fn items(&mut self, tuple: *mut ffi::PyObject, below: usize) -> Result<(), Refused> {
        // SAFETY: an exact tuple (contract), whose items live as long as it does.
        unsafe {
            let length = ffi::PyTuple_GET_SIZE(tuple);
            self.writer.count(length.cast_unsigned());
            for index in 0..length {
                self.value(ffi::PyTuple_GET_ITEM(tuple, index), below)?;
            }
        }
        Ok(())
    }

    /// # Safety
    /// An exact list.
    unsafe fn list(&mut self, object: *mut ffi::PyObject, depth: usize) -> Result<(), Refused> {
        let below = deeper(depth)?;
        // SAFETY: an exact list (contract); nothing runs that could change it, so its items live.
        unsafe {
            if self.written(object)? {
                return Ok(());
            }
            self.tag(object, Tag::List);
            let length = ffi::PyList_GET_SIZE(object);
            self.writer.count(length.cast_unsigned());
            for index in 0..length {
                self.value(ffi::PyList_GET_ITEM(object, index), below)?;
            }
        }
        Ok(())
    }

    /// # Safety
    /// An exact dict.
    unsafe fn dict(&mut self, object: *mut ffi::PyObject, depth: usize) -> Result<(), Refused> {
        let below = deeper(depth)?;
        // SAFETY: an exact dict (contract); nothing runs that could change it, so keys and values
        // live and the position stays good.
        unsafe {
            if self.written(object)? {
                return Ok(());
            }
            self.tag(object, Tag::Dict);
            self.writer.count(ffi::PyDict_Size(object).cast_unsigned());
            let mut position: ffi::Py_ssize_t = 0;
            let (mut key, mut value) = (ptr::null_mut(), ptr::null_mut());
            while ffi::PyDict_Next(object, &raw mut position, &raw mut key, &raw mut value) != 0 {
                self.value(key, below)?;
                self.value(value, below)?;
            }
        }
        Ok(())
    }

    /// # Safety
    /// An exact set.
    unsafe fn set(&mut self, object: *mut ffi::PyObject, depth: usize) -> Result<(), Refused> {
        let below = deeper(depth)?;
        // SAFETY: an exact set (contract).
        unsafe {
            if self.written(object)? {
                return Ok(());
            }
            self.tag(object, Tag::Set);
            self.elements(object, below)
        }
    }

    /// # Safety
    /// An exact frozenset.
    unsafe fn frozen_set(
        &mut self,
        object: *mut ffi::PyObject,
        depth: usize,
    ) -> Result<(), Refused> {
        let below = deeper(depth)?;
        // SAFETY: an exact frozenset (contract).
        unsafe {
            if self.written(object)? {
                return Ok(());
            }
            let shared = self.begin(object, Tag::FrozenSet);
            self.elements(object, below)?;
            self.end(object, shared);
        }
        Ok(())
    }

    /// # Safety
    /// An exact set or frozenset.
    unsafe fn elements(&mut self, set: *mut ffi::PyObject, below: usize) -> Result<(), Refused> {
        // SAFETY: an exact set (contract): its iterator runs no other code, and the set, which
        // nothing changes, keeps what the iterator gives alive.
        unsafe {
            self.writer.count(ffi::PySet_Size(set).cast_unsigned());
            let iterator = Object::from_new(self.token, ffi::PyObject_GetIter(set))?;
            loop {
                let item = ffi::PyIter_Next(iterator.as_ptr());
                if item.is_null() {
                    return Ok(());
                }
                let item = Object::from_new(self.token, item)?;
                self.value(item.as_ptr(), below)?;
            }
        }
    }

    /// # Safety
    /// An exact range.
    unsafe fn range(&mut self, object: *mut ffi::PyObject) -> Result<(), Refused> {
        // SAFETY: an exact range (contract), whose attributes are those of its type; ints are
        // written without a number, so that these may be temporary.
        unsafe {
            if self.written(object)? {
                return Ok(());
            }
            let shared = self.begin(object, Tag::Range);
            for name in [c"start", c"stop", c"step"] {
                let part = ffi::PyObject_GetAttrString(object, CStr::as_ptr(name));
                let part = Object::from_new(self.token, part)?;
                if ffi::PyLong_CheckExact(part.as_ptr()) == 0 {
                    return Err(Refused::Foreign);
                }
                self.int(part.as_ptr())?;
            }
            self.end(object, shared);
        }
        Ok(())
    }

    /// # Safety
    /// An exact slice.
    unsafe fn slice(&mut self, object: *mut ffi::PyObject, depth: usize) -> Result<(), Refused> {
        let below = deeper(depth)?;
        // SAFETY: an exact slice (contract), which has these fields and keeps them alive.
        unsafe {
            if self.written(object)? {
                return Ok(());
            }
            let shared = self.begin(object, Tag::Slice);
            let parts = object.cast::<ffi::PySliceObject>();
            self.value((*parts).start, below)?;
            self.value((*parts).stop, below)?;
            self.value((*parts).step, below)?;
            self.end(object, shared);
        }
        Ok(())
    }

    /// Writes a reference if the object has been written before.
    ///
    /// # Safety
    /// Live.
    unsafe fn written(&mut self, object: *mut ffi::PyObject) -> Result<bool, Refused> {
        // SAFETY: live (contract).
        if unsafe { !shared(object) } {
            return Ok(false);
        }
        match self.memo.get(&(object as usize)) {
            None if object == self.root => Err(Refused::Foreign),
            None => Ok(false),
            // A tuple within itself: pickle has a way for that.
            Some(&IN_PROGRESS) => Err(Refused::Foreign),
            Some(&number) => {
                self.writer.tag(Tag::Ref, false);
                self.writer.count(number as usize);
                Ok(true)
            }
        }
    }

    /// Writes the tag of an object that has its number from the start.
    ///
    /// # Safety
    /// Live.
    unsafe fn tag(&mut self, object: *mut ffi::PyObject, tag: Tag) {
        // SAFETY: live (contract).
        let shared = unsafe { shared(object) };
        self.writer.tag(tag, shared);
        if shared {
            self.memo.insert(object as usize, self.next);
            self.next += 1;
        }
    }

    /// Writes the tag of an object that gets its number at the end.
    ///
    /// # Safety
    /// Live.
    unsafe fn begin(&mut self, object: *mut ffi::PyObject, tag: Tag) -> bool {
        // SAFETY: live (contract).
        let shared = unsafe { shared(object) };
        self.writer.tag(tag, shared);
        if shared {
            self.memo.insert(object as usize, IN_PROGRESS);
        }
        shared
    }

    fn end(&mut self, object: *mut ffi::PyObject, shared: bool) {
        if shared {
            self.memo.insert(object as usize, self.next);
            self.next += 1;
        }
    }
}

/// Whether the object can stand in the value twice: only if there is more than one reference.
///
/// # Safety
/// Live, and its interpreter attached.
unsafe fn shared(object: *mut ffi::PyObject) -> bool {
    // SAFETY: live (contract).
    unsafe { ffi::Py_REFCNT(object) > 1 }
}

fn deeper(depth: usize) -> Result<usize, Refused> {
    depth.checked_sub(1).ok_or(Refused::Foreign)
}
