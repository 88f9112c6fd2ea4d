//! What travels beside a payload's bytes: memory by reference, and large values copied once.
//!
//! Guarantees: a `Buffer` holds no object of a worker, and an object of main only as `Kept`, so
//! any thread may carry, clone and drop it; its content is that of the moment it was lifted,
//! except for a view of main's memory, which goes by reference.
//!
//! | lifted from | main to worker | worker to main |
//! |---|---|---|
//! | memoryview, PickleBuffer | by reference | by reference if it is main's memory, else copied once |
//! | large `bytes` | copied once, at the far side | copied on each side |
//! | large `bytearray`, `array.array` | copied on each side | copied on each side |

use super::codec::LIFT_FROM;
use super::exporter;
use super::graveyard::Kept;
use super::memory::{self, Block, Layout, Memory, expect_filling};
use super::shared;
use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::object::{Object, Outcome, Raised};
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::Arc;

/// Something lifted out of an encoded value.
#[derive(Clone)]
pub struct Buffer {
    memory: Arc<Memory>,
    form: Form,
}

/// What it is built into at the far side.
#[derive(Clone)]
enum Form {
    View(Layout),
    Bytes,
    ByteArray,
    /// An `array.array` of this type code.
    Array(u8),
    /// A handle of a shared thing.
    Shared,
}

impl fmt::Debug for Buffer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self.form {
            Form::View(_) => "memoryview",
            Form::Bytes => "bytes",
            Form::ByteArray => "bytearray",
            Form::Array(_) => "array",
            Form::Shared => "shared",
        };
        write!(out, "Buffer({form}, {} bytes)", self.memory.content().1)
    }
}

/// Which of the two sides an interpreter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Main,
    Worker,
}

/// What lifts and builds in one interpreter.
pub struct Loader<'i> {
    side: Side,
    exporter: Object<'i>,
}

impl<'i> Loader<'i> {
    pub fn start(token: Attached<'i>, side: Side) -> Result<Self, Raised> {
        Ok(Self {
            side,
            exporter: exporter::make_type(token)?,
        })
    }

    /// Another handle to the same.
    pub fn share(&self) -> Self {
        Self {
            side: self.side,
            exporter: self.exporter.share(),
        }
    }

    /// Lifts a memoryview, a `PickleBuffer`, a `bytes` or a `bytearray`.
    pub fn lift(&self, object: &Object<'i>) -> Result<Buffer, Raised> {
        match any_bytes(object) {
            Some(size) => self.lift_bytes(object, size),
            None => self.lift_view(object),
        }
    }

    /// What stands behind a memoryview or `pickle.PickleBuffer`, if it can be lifted: the buffer,
    /// and its memory if that has crossed already.
    fn acquire(&self, object: &Object<'i>) -> Result<(Acquired<'i>, Option<Arc<Memory>>), Raised> {
        let token = object.token();
        // A view of our own: the user may release theirs, and nobody can release one that is
        // acquired. SAFETY: live; a new reference or null with an error.
        let own =
            unsafe { Object::from_new(token, ffi::PyMemoryView_FromObject(object.as_ptr()))? };
        let acquired = Acquired::of(&own, ffi::PyBUF_FULL_RO)?;
        // SAFETY: a format is null or a C string, which lives as long as the buffer.
        if unsafe { memory::holds_objects(acquired.0.format) } {
            return Err(Raised::buffer_error(
                token,
                c"memory that holds Python objects belongs to one interpreter",
            ));
        }
        let crossed = exporter::memory_of(&self.exporter, &own);
        if self.side == Side::Main && !acquired.0.suboffsets.is_null() {
            return Err(Raised::buffer_error(
                token,
                c"memory with suboffsets cannot be seen from another interpreter",
            ));
        }
        Ok((acquired, crossed))
    }

    /// Whether `lift_view` would succeed; an exception if not.
    pub fn check_view(&self, object: &Object<'i>) -> Result<(), Raised> {
        self.acquire(object).map(drop)
    }

    /// Lifts a memoryview or `pickle.PickleBuffer`.
    pub fn lift_view(&self, object: &Object<'i>) -> Result<Buffer, Raised> {
        let token = object.token();
        let (acquired, crossed) = self.acquire(object)?;
        // SAFETY: acquired with everything.
        let layout = unsafe { Layout::of(&acquired.0) };
        if let Some(memory) = crossed {
            return Ok(Buffer {
                memory,
                form: Form::View(layout),
            });
        }
        let (memory, layout) = match self.side {
            Side::Main => (Memory::Main(acquired.keep()), layout),
            Side::Worker => {
                let size = acquired.0.len;
                let block = Block::new(size.cast_unsigned()).ok_or_else(|| no_memory(token))?;
                // SAFETY: the block has room for the view's `len` bytes.
                let copied = unsafe {
                    let view = &raw const *acquired.0;
                    let order = b'C'.cast_signed();
                    ffi::PyBuffer_ToContiguous(block.start().cast(), view, size, order)
                };
                if copied < 0 {
                    return Err(Raised::pending(token));
                }
                let layout = layout.packed_at(block.start());
                (Memory::Own(block), layout)
            }
        };
        Ok(Buffer {
            memory: Arc::new(memory),
            form: Form::View(layout),
        })
    }

    /// Lifts an exact `bytes` or `bytearray` of `size` bytes.
    pub fn lift_bytes(&self, object: &Object<'i>, size: usize) -> Result<Buffer, Raised> {
        let token = object.token();
        // SAFETY: live, and of one of the two types; the copy reads `size` bytes, as many as there
        // are: with the GIL held nobody resizes a bytearray meanwhile.
        unsafe {
            let (source, form) = if ffi::PyBytes_CheckExact(object.as_ptr()) != 0 {
                if self.side == Side::Main {
                    let acquired = Acquired::of(object, ffi::PyBUF_SIMPLE)?;
                    return Ok(Buffer {
                        memory: Arc::new(Memory::Main(acquired.keep())),
                        form: Form::Bytes,
                    });
                }
                (ffi::PyBytes_AsString(object.as_ptr()), Form::Bytes)
            } else {
                (ffi::PyByteArray_AsString(object.as_ptr()), Form::ByteArray)
            };
            let block = Block::copy_of(source.cast(), size).ok_or_else(|| no_memory(token))?;
            Ok(Buffer {
                memory: Arc::new(Memory::Own(block)),
                form,
            })
        }
    }

    /// Lifts a large exact `array.array`.
    pub fn lift_array(&self, object: &Object<'i>) -> Result<Option<Buffer>, Raised> {
        let token = object.token();
        // SAFETY: live.
        if unsafe { ffi::PyObject_CheckBuffer(object.as_ptr()) } == 0 || !is_array(object) {
            return Ok(None);
        }
        let acquired = Acquired::of(object, ffi::PyBUF_SIMPLE)?;
        let size = acquired.0.len.cast_unsigned();
        if size < LIFT_FROM {
            return Ok(None);
        }
        let code = object.attribute(c"typecode")?.to_text();
        let Some(&[code]) = code.as_ref().map(String::as_bytes) else {
            return Ok(None);
        };
        // SAFETY: the acquired buffer has so many bytes.
        let block = unsafe { Block::copy_of(acquired.0.buf.cast_const().cast(), size) };
        Ok(Some(Buffer {
            memory: Arc::new(Memory::Own(block.ok_or_else(|| no_memory(token))?)),
            form: Form::Array(code),
        }))
    }

    /// Lifts a handle of a shared thing, which lives as long as what was lifted.
    pub fn lift_shared(object: &Object<'i>) -> Option<Buffer> {
        let thing = shared::handle::thing_of(object)?;
        Some(Buffer {
            memory: Arc::new(Memory::Shared(thing)),
            form: Form::Shared,
        })
    }

    /// Builds at the far side what was lifted.
    pub fn build(&self, buffer: Buffer) -> Outcome<'i> {
        let token = self.exporter.token();
        let Buffer { memory, form } = buffer;
        let (start, size) = memory.content();
        match form {
            Form::View(layout) => {
                exporter::view(&self.exporter, self.side == Side::Main, memory, layout)
            }
            // SAFETY: a new object of `size` bytes, written before anybody sees it. `memory` holds
            // as many at `start`, and lives through the copy; nobody writes there (immutable bytes
            // of main, or a block that only buffers hold).
            Form::Bytes => unsafe {
                let bytes = ffi::PyBytes_FromStringAndSize(ptr::null(), size.cast_signed());
                let bytes = Object::from_new(token, bytes)?;
                copy(start, ffi::PyBytes_AsString(bytes.as_ptr()).cast(), size);
                Ok(bytes)
            },
            // SAFETY: as above.
            Form::ByteArray => unsafe {
                let bytes = ffi::PyByteArray_FromStringAndSize(ptr::null(), size.cast_signed());
                let bytes = Object::from_new(token, bytes)?;
                copy(
                    start,
                    ffi::PyByteArray_AsString(bytes.as_ptr()).cast(),
                    size,
                );
                Ok(bytes)
            },
            Form::Shared => match &*memory {
                Memory::Shared(thing) => shared::room::receive(token, Arc::clone(thing)),
                _ => Err(Raised::lost(token)),
            },
            Form::Array(code) => {
                let class = Object::import(token, c"array")?.attribute(c"array")?;
                let code = char::from(code);
                let array = class.call1(&Object::string(token, code.encode_utf8(&mut [0; 4]))?)?;
                // SAFETY: as above; the array copies the bytes, and the view is released at once.
                unsafe {
                    let view = ffi::PyMemoryView_FromMemory(
                        start.cast_mut().cast(),
                        size.cast_signed(),
                        ffi::PyBUF_READ,
                    );
                    let view = Object::from_new(token, view)?;
                    array.attribute(c"frombytes")?.call1(&view)?;
                    view.attribute(c"release")?
                        .call(&Object::tuple(token, [])?, None)?;
                }
                Ok(array)
            }
        }
    }
}

/// Whether `object` is a memoryview or a `pickle.PickleBuffer`. Neither can be subclassed.
pub fn is_view(object: &Object<'_>) -> bool {
    // SAFETY: live; static types.
    unsafe {
        ffi::PyMemoryView_Check(object.as_ptr()) != 0
            || ffi::Py_TYPE(object.as_ptr()) == &raw mut ffi::PyPickleBuffer_Type
    }
}

/// The size of an exact `bytes` or `bytearray` that is large enough to be lifted.
pub fn large_bytes(object: &Object<'_>) -> Option<usize> {
    any_bytes(object).filter(|size| *size >= LIFT_FROM)
}

fn any_bytes(object: &Object<'_>) -> Option<usize> {
    // SAFETY: live; asked for its size as what it is.
    let size = unsafe {
        if ffi::PyBytes_CheckExact(object.as_ptr()) != 0 {
            ffi::PyBytes_Size(object.as_ptr())
        } else if ffi::PyByteArray_CheckExact(object.as_ptr()) != 0 {
            ffi::PyByteArray_Size(object.as_ptr())
        } else {
            return None;
        }
    };
    usize::try_from(size).ok()
}

/// Whether `object` is an `array.array` and of no subclass.
fn is_array(object: &Object<'_>) -> bool {
    let token = object.token();
    let class = || {
        // Whoever made an array has imported the module.
        let module = Object::string(token, "array")?.as_imported_module()?;
        module.attribute(c"array")
    };
    match class() {
        // SAFETY: live.
        Ok(class) => unsafe { ffi::Py_TYPE(object.as_ptr()) == class.as_ptr().cast() },
        Err(raised) => {
            raised.clear(token);
            false
        }
    }
}

/// Hands the content of any contiguous buffer to `use_it`, which must not run Python.
pub fn with_content(object: &Object<'_>, use_it: impl FnOnce(&[u8])) -> Result<(), Raised> {
    if let Some(content) = object.as_bytes() {
        use_it(content);
        return Ok(());
    }
    let acquired = Acquired::of(object, ffi::PyBUF_SIMPLE)?;
    let size = acquired.0.len.cast_unsigned();
    // SAFETY: the acquired buffer has so many bytes; with the GIL held nobody writes to them.
    use_it(unsafe { std::slice::from_raw_parts(acquired.0.buf.cast_const().cast(), size) });
    Ok(())
}

/// # Safety
/// `size` bytes can be read at `source` and written at `target`, which is apart and fresh.
unsafe fn copy(source: *const u8, target: *mut u8, size: usize) {
    // SAFETY: by the contract.
    unsafe {
        expect_filling(target, size);
        ptr::copy_nonoverlapping(source, target, size);
    }
}

fn no_memory(token: Attached<'_>) -> Raised {
    // SAFETY: attached (`token`); sets MemoryError.
    unsafe { ffi::PyErr_NoMemory() };
    Raised::pending(token)
}

/// A buffer acquired from an object of the attached interpreter.
struct Acquired<'i>(Box<ffi::Py_buffer>, Attached<'i>);

impl<'i> Acquired<'i> {
    fn of(object: &Object<'i>, flags: std::ffi::c_int) -> Result<Self, Raised> {
        let token = object.token();
        let mut buffer = Box::new(ffi::Py_buffer::new());
        // SAFETY: live, and a place to fill.
        if unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut *buffer, flags) } < 0 {
            return Err(Raised::pending(token));
        }
        Ok(Self(buffer, token))
    }

    /// Keeps it beyond this attachment. In main only.
    fn keep(self) -> Kept {
        let given_up = ManuallyDrop::new(self);
        // SAFETY: acquired in `of`; read once, and `drop` does not come.
        unsafe { Kept::take_over(ptr::read(&raw const given_up.0)) }
    }
}

impl Drop for Acquired<'_> {
    fn drop(&mut self) {
        // SAFETY: acquired in `of`, released once, on the thread and in the attachment of then (the
        // token is neither Send nor does it outlive that). A pending exception is kept aside.
        unsafe {
            let pending = ffi::PyErr_GetRaisedException();
            ffi::PyBuffer_Release(&raw mut *self.0);
            ffi::PyErr_SetRaisedException(pending);
        }
    }
}
