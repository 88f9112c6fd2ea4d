//! What a pickler of ours writes to: collects the pickle and lifts out what need not be in it.
//!
//! Guarantees: the pickle with its buffers loads to what it would load to without lifting; what is
//! not understood stays in the pickle.
//!
//! Five things leave the pickle, all as protocol 5's out-of-band buffers (`NEXT_BUFFER`), so that
//! `loads(pickle, buffers=...)` needs nothing of ours:
//! - a `PickleBuffer` through the pickler's `buffer_callback`;
//! - a memoryview, which pickle refuses, and an `array.array`, through `reducer_override`. They
//!   reduce to `given(marker)`: the marker is a `PickleBuffer` that stands for them;
//! - a handle of a shared thing (`shared/`), in the same way: so the thing lives while it travels;
//! - large `bytes` and `bytearray`: the C pickler gives those to `write` as they are, after an
//!   opcode with their size (documented since 3.8 as "no additional copies"). `write` puts
//!   `NEXT_BUFFER` in that opcode's place.
//!
//! A persistent-id hook would do all this too, but is called for each object of a pickle, and
//! needs an `Unpickler` with a file. This costs an ordinary pickle nothing.

use super::buffer::{self, Buffer, Loader};
use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::native::{self, END, Methods, method};
use crate::interp::object::{Object, Outcome, Raised};
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

/// The type of sinks and what they need, for one interpreter.
pub struct Sinks<'i> {
    class: Object<'i>,
    loader: Loader<'i>,
    /// A `PickleBuffer` over nothing, writable: `load` would else make a view of what it stands for.
    marker: Object<'i>,
    given: Object<'i>,
}

/// The Python object. Its objects live in the interpreter that it lives in itself.
#[repr(C)]
struct Sink {
    base: ffi::PyObject,
    fields: ManuallyDrop<Fields>,
}

struct Fields {
    kit: Sinks<'static>,
    /// Only to see whether a value can be pickled: nothing is copied or kept.
    rehearsal: bool,
    stream: RefCell<Stream>,
    /// What the marker stands for when the pickler comes to it.
    pending: Cell<Option<Buffer>>,
}

#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    buffers: Vec<Buffer>,
    /// The bytes end in an opcode whose payload is what is written next.
    payload_next: bool,
}

const BINBYTES: u8 = b'B';
const BINBYTES8: u8 = 0x8e;
const BYTEARRAY8: u8 = 0x96;
const NEXT_BUFFER: u8 = 0x97;
const PROTO: u8 = 0x80;
const FRAME: u8 = 0x95;
/// A frame's opcode and size.
const FRAME_HEADER: usize = 9;
/// The C pickler writes no frame for less than 4 bytes. (The shortest header has 5.)
const MOST_UNFRAMED: usize = 3;

impl Stream {
    /// Takes what the pickler has collected itself: frames, and at the end, outside of a frame,
    /// perhaps the header of a large object.
    fn append(&mut self, mut part: &[u8]) {
        self.bytes.extend_from_slice(part);
        if part.first() == Some(&PROTO) {
            part = part.get(2..).unwrap_or_default();
        }
        while let Some((&FRAME, sized)) = part.split_first()
            && let Some((size, _)) = sized.split_first_chunk::<8>()
        {
            let end = usize::try_from(u64::from_le_bytes(*size))
                .ok()
                .and_then(|size| size.checked_add(FRAME_HEADER));
            part = end.and_then(|end| part.get(end..)).unwrap_or_default();
        }
        self.payload_next = part.len() > MOST_UNFRAMED;
    }

    /// Takes a payload that stays in the pickle.
    fn append_payload(&mut self, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
        self.payload_next = false;
    }

    /// The size of the header of a payload of `size` bytes, if the bytes end in one.
    fn header(&self, size: usize, bytearray: bool) -> Option<usize> {
        let size = size as u64;
        let ends_in = |opcode: u8, size: &[u8]| {
            let rest = self.bytes.strip_suffix(size);
            rest.is_some_and(|rest| rest.last() == Some(&opcode))
        };
        let long = if bytearray { BYTEARRAY8 } else { BINBYTES8 };
        if ends_in(long, &size.to_le_bytes()) {
            return Some(1 + 8);
        }
        let size = u32::try_from(size).ok()?;
        (!bytearray && ends_in(BINBYTES, &size.to_le_bytes())).then_some(1 + 4)
    }

    /// Puts a buffer in the place of a header of this size.
    fn replace_header(&mut self, header: usize, lifted: Buffer) {
        self.bytes.truncate(self.bytes.len().saturating_sub(header));
        self.bytes.push(NEXT_BUFFER);
        self.buffers.push(lifted);
        self.payload_next = false;
    }
}

impl<'i> Sinks<'i> {
    pub fn start(
        token: Attached<'i>,
        loader: Loader<'i>,
        given: Object<'i>,
    ) -> Result<Self, Raised> {
        // SAFETY: attached; new references or null with an error; the base is live.
        let marker = unsafe {
            let base = ffi::PyByteArray_FromStringAndSize(ptr::null(), 0);
            let base = Object::from_new(token, base)?;
            Object::from_new(token, ffi::PyPickleBuffer_FromObject(base.as_ptr()))?
        };
        Ok(Self {
            class: make_type(token)?,
            loader,
            marker,
            given,
        })
    }

    fn share(&self) -> Self {
        Self {
            class: self.class.share(),
            loader: self.loader.share(),
            marker: self.marker.share(),
            given: self.given.share(),
        }
    }

    /// A new, empty sink.
    pub fn open(&self) -> Outcome<'i> {
        make(self, false)
    }

    /// What `sink`, one of `open`, has collected; it is empty after that.
    pub fn take(&self, sink: &Object<'i>) -> (Vec<u8>, Vec<Buffer>) {
        // SAFETY: live; a foreign object is told apart by its type.
        unsafe {
            if ffi::Py_TYPE(sink.as_ptr()) != self.class.as_ptr().cast() {
                return Default::default();
            }
            let fields = &(*sink.as_ptr().cast::<Sink>()).fields;
            drop(fields.pending.take());
            let stream = fields.stream.take();
            (stream.bytes, stream.buffers)
        }
    }
}

fn make<'i>(kit: &Sinks<'i>, rehearsal: bool) -> Outcome<'i> {
    let token = kit.class.token();
    let fields = Fields {
        // SAFETY: the lifetime is given back by `fields`, which every use goes through but
        // `dealloc`: the objects die with the sink, which is of the same interpreter.
        kit: unsafe { std::mem::transmute::<Sinks<'i>, Sinks<'static>>(kit.share()) },
        rehearsal,
        stream: RefCell::default(),
        pending: Cell::new(None),
    };
    // SAFETY: `class` is our own type, so the new object is a `Sink`, and its fields are written
    // before anybody sees it.
    unsafe {
        let object = ffi::PyType_GenericAlloc(kit.class.as_ptr().cast(), 0);
        let sink = Object::from_new(token, object)?;
        (&raw mut (*object.cast::<Sink>()).fields).write(ManuallyDrop::new(fields));
        Ok(sink)
    }
}

impl Fields {
    fn write(&self, data: &Object<'static>) -> Result<(), Raised> {
        if self.rehearsal {
            return Ok(());
        }
        // No borrow of the stream lasts while Python runs.
        let is_payload = self.stream.borrow().payload_next;
        if is_payload && let Some(size) = buffer::large_bytes(data) {
            let bytearray = data.as_bytes().is_none();
            let header = self.stream.borrow().header(size, bytearray);
            if let Some(header) = header {
                let lifted = self.kit.loader.lift_bytes(data, size)?;
                self.stream.borrow_mut().replace_header(header, lifted);
                return Ok(());
            }
        }
        buffer::with_content(data, |content| {
            let mut stream = self.stream.borrow_mut();
            if is_payload {
                stream.append_payload(content);
            } else {
                stream.append(content);
            }
        })
    }

    /// `buffer_callback`, which takes the buffer out of the pickle.
    fn callback(&self, object: &Object<'static>) -> Result<(), Raised> {
        if self.rehearsal {
            return Ok(());
        }
        let lifted = if object.as_ptr() == self.kit.marker.as_ptr() {
            self.pending.take()
        } else {
            Some(self.kit.loader.lift_view(object)?)
        };
        self.stream.borrow_mut().buffers.extend(lifted);
        Ok(())
    }

    /// `reducer_override`. `None`: not for us.
    fn reduce(&self, object: &Object<'static>) -> Result<Option<Object<'static>>, Raised> {
        let loader = &self.kit.loader;
        if buffer::is_view(object) {
            let lifted = if self.rehearsal {
                loader.check_view(object)?;
                None
            } else {
                Some(loader.lift_view(object)?)
            };
            self.pending.set(lifted);
        } else {
            let lifted = match Loader::lift_shared(object) {
                None => loader.lift_array(object)?,
                lifted => lifted,
            };
            let Some(lifted) = lifted else {
                return Ok(None);
            };
            self.pending.set(Some(lifted));
        }
        let arguments = Object::tuple(object.token(), [self.kit.marker.share()])?;
        Object::tuple(object.token(), [self.kit.given.share(), arguments]).map(Some)
    }
}

static METHODS: Methods<5> = Methods([
    method(c"write", write, ffi::METH_O),
    method(c"buffer", callback, ffi::METH_O),
    method(c"reduce", reduce, ffi::METH_O),
    method(c"rehearsal", rehearsal, ffi::METH_NOARGS),
    END,
]);

fn make_type(token: Attached<'_>) -> Outcome<'_> {
    let slot = |slot, pfunc| ffi::PyType_Slot { slot, pfunc };
    let slots = [
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_methods, METHODS.table().cast()),
    ];
    // SAFETY: the functions have the signatures that the slots and the table ask for, and the
    // table is static; `write` and its like take instances for a `Sink`.
    unsafe { native::make_type::<Sink>(token, c"subpool.Sink", &slots) }
}

/// The fields of a sink and the argument of its method.
///
/// # Safety
/// Called by CPython as a method of a sink with one argument, so attached and with live objects.
/// What is given must not outlive the method's call.
unsafe fn enter(
    sink: *mut ffi::PyObject,
    argument: *mut ffi::PyObject,
) -> (&'static Fields, Object<'static>) {
    // SAFETY: by the contract; the method's caller holds references to both.
    unsafe {
        let argument = Object::from_borrowed(Attached::assume(), NonNull::new_unchecked(argument));
        (&(*sink.cast::<Sink>()).fields, argument)
    }
}

unsafe extern "C" fn write(
    sink: *mut ffi::PyObject,
    data: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a method of a sink.
    let (fields, data) = unsafe { enter(sink, data) };
    match fields.write(&data) {
        Ok(()) => Object::none(data.token()).into_ptr(),
        Err(_) => ptr::null_mut(),
    }
}

unsafe extern "C" fn callback(
    sink: *mut ffi::PyObject,
    object: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a method of a sink.
    let (fields, object) = unsafe { enter(sink, object) };
    match fields.callback(&object) {
        Ok(()) => Object::none(object.token()).into_ptr(),
        Err(_) => ptr::null_mut(),
    }
}

unsafe extern "C" fn reduce(
    sink: *mut ffi::PyObject,
    object: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a method of a sink.
    let (fields, object) = unsafe { enter(sink, object) };
    match fields.reduce(&object) {
        Ok(Some(reduced)) => reduced.into_ptr(),
        // SAFETY: attached; `NotImplemented` is immortal.
        Ok(None) => unsafe { ffi::Py_NewRef(ffi::Py_NotImplemented()) },
        Err(_) => ptr::null_mut(),
    }
}

unsafe extern "C" fn rehearsal(
    sink: *mut ffi::PyObject,
    _nothing: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a method of a sink; the second argument is not used, so the first one stands in.
    let (fields, _) = unsafe { enter(sink, sink) };
    make(&fields.kit, true).map_or(ptr::null_mut(), Object::into_ptr)
}

unsafe extern "C" fn dealloc(sink: *mut ffi::PyObject) {
    // SAFETY: CPython calls this attached, once, when the last reference is gone. The fields were
    // written (`make`): an object that failed before that never was. A heap type's object owns a
    // reference to its type, and `fields` one more, so the type is there until the end.
    unsafe {
        let class = ffi::Py_TYPE(sink);
        ManuallyDrop::drop(&mut (*sink.cast::<Sink>()).fields);
        ffi::PyObject_Free(sink.cast());
        ffi::Py_DECREF(class.cast());
    }
}
