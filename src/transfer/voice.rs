//! The stream of a worker whose output goes where main's `sys.stdout` is: an `io.TextIOWrapper`, as
//! in any Python, over a raw stream of ours that puts what is written into the outbox.
//!
//! Guarantees: what is written arrives in main in this order, whole lines at a time unless a task
//! flushes; nothing is imported for it.
//!
//! The type is made anew in each interpreter, as a heap type: a static one would be shared.

use super::buffer;
use super::outbox;
use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::native::{self, END, Methods, method};
use crate::interp::object::{Object, Outcome, Raised};
use parking_lot::Mutex;
use std::ffi::{CStr, c_int, c_void};
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

/// A line longer than this goes out in parts.
const LONG: usize = 8 << 10;

/// Where a worker's output goes. Shared by its Python object and the worker's loop; threads of the
/// tasks may use it, too.
pub struct Channel {
    /// 0 for `sys.stdout`, 1 for `sys.stderr`.
    which: usize,
    /// Of the present task's caller. Relaxed, here and below: each stands for itself.
    stream: AtomicU64,
    /// The descriptor of that stream; -1 if it has none.
    fileno: AtomicI32,
    terminal: AtomicBool,
    /// The line that has not ended. The lock is held while attached, but for a copy only.
    line: Mutex<Vec<u8>>,
    /// Whether there is one.
    begun: AtomicBool,
}

impl Channel {
    #[must_use]
    pub fn new(which: usize) -> Arc<Self> {
        Arc::new(Self {
            which,
            stream: AtomicU64::new(0),
            fileno: AtomicI32::new(-1),
            terminal: AtomicBool::new(false),
            line: Mutex::new(Vec::new()),
            begun: AtomicBool::new(false),
        })
    }

    /// Directs it to another stream of main.
    pub fn direct_to(&self, stream: u64, fileno: Option<c_int>, terminal: bool) {
        self.finish_line();
        self.stream.store(stream, Ordering::Relaxed);
        self.fileno.store(fileno.unwrap_or(-1), Ordering::Relaxed);
        self.terminal.store(terminal, Ordering::Relaxed);
    }

    /// Sends the line that has not ended.
    #[inline]
    pub fn finish_line(&self) {
        if self.begun.load(Ordering::Relaxed) {
            self.send(&mut self.line.lock(), false);
        }
    }

    /// True: see `outbox::push`.
    fn write(&self, content: &[u8]) -> bool {
        let mut line = self.line.lock();
        let ended = memchr::memrchr(b'\n', content).map_or(0, |last| last + 1);
        let (ended, rest) = content.split_at(ended);
        line.extend_from_slice(ended);
        let mut much = !ended.is_empty() && self.send(&mut line, false);
        line.extend_from_slice(rest);
        if line.len() > LONG {
            much |= self.send(&mut line, false);
        }
        self.begun.store(!line.is_empty(), Ordering::Relaxed);
        much
    }

    fn flush(&self) {
        self.send(&mut self.line.lock(), true);
    }

    fn send(&self, line: &mut Vec<u8>, flush: bool) -> bool {
        let stream = self.stream.load(Ordering::Relaxed);
        let much = outbox::push(stream, self.which, line, flush);
        line.clear();
        self.begun.store(false, Ordering::Relaxed);
        much
    }
}

/// The Python object.
#[repr(C)]
struct Voice {
    base: ffi::PyObject,
    closed: bool,
    channel: ManuallyDrop<Arc<Channel>>,
}

/// A text stream over `channel`.
pub fn open<'i>(token: Attached<'i>, channel: &Arc<Channel>) -> Outcome<'i> {
    let class = make_type(token)?;
    // SAFETY: `class` is our own type, so the new object is a `Voice`, and its fields are written
    // before anybody sees it.
    let voice = unsafe {
        let object = ffi::PyType_GenericAlloc(class.as_ptr().cast(), 0);
        let voice = Object::from_new(token, object)?;
        let fields = object.cast::<Voice>();
        (&raw mut (*fields).closed).write(false);
        (&raw mut (*fields).channel).write(ManuallyDrop::new(Arc::clone(channel)));
        voice
    };
    let arguments = Object::tuple(
        token,
        [
            voice,
            Object::string(token, "utf-8")?,
            // Main's own stream is the one to refuse what it cannot write.
            Object::string(token, "surrogatepass")?,
            // No line's end is translated here.
            Object::string(token, "\n")?,
            // Each text goes on at once: the lines are ours to keep.
            Object::boolean(token, false),
            Object::boolean(token, true),
        ],
    )?;
    let wrapper = Object::import(token, c"_io")?.attribute(c"TextIOWrapper")?;
    let stream = wrapper.call(&arguments, None)?;
    stream.set_attribute(c"mode", &Object::string(token, "w")?)?;
    Ok(stream)
}

static METHODS: Methods<9> = Methods([
    method(c"write", write, ffi::METH_O),
    method(c"flush", flush, ffi::METH_NOARGS),
    method(c"close", close, ffi::METH_NOARGS),
    method(c"readable", no, ffi::METH_NOARGS),
    method(c"seekable", no, ffi::METH_NOARGS),
    method(c"writable", yes, ffi::METH_NOARGS),
    method(c"isatty", isatty, ffi::METH_NOARGS),
    method(c"fileno", fileno, ffi::METH_NOARGS),
    END,
]);

struct Properties([ffi::PyGetSetDef; 4]);

// SAFETY: constant; CPython reads it and nothing else.
unsafe impl Sync for Properties {}

const fn property(name: &'static CStr, get: ffi::getter) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get),
        set: None,
        doc: ptr::null(),
        closure: ptr::null_mut(),
    }
}

static PROPERTIES: Properties = Properties([
    property(c"closed", closed),
    property(c"name", name),
    property(c"mode", mode),
    ffi::PyGetSetDef {
        name: ptr::null(),
        get: None,
        set: None,
        doc: ptr::null(),
        closure: ptr::null_mut(),
    },
]);

fn make_type(token: Attached<'_>) -> Outcome<'_> {
    let slot = |slot, pfunc| ffi::PyType_Slot { slot, pfunc };
    let slots = [
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_methods, METHODS.table().cast()),
        slot(ffi::Py_tp_getset, PROPERTIES.0.as_ptr().cast_mut().cast()),
    ];
    // SAFETY: the functions have the signatures that the slots and the tables ask for, and the
    // tables are static; `write` and its like take instances for a `Voice`.
    unsafe { native::make_type::<Voice>(token, c"subpool.Output", &slots) }
}

/// The fields of a voice, and the token of its interpreter.
///
/// # Safety
/// Called by CPython as a method or property of a voice, so attached and with a live object. What
/// is given must not outlive that call.
unsafe fn enter(voice: *mut ffi::PyObject) -> (&'static Channel, Attached<'static>) {
    // SAFETY: by the contract; the caller holds a reference.
    unsafe { (&(*voice.cast::<Voice>()).channel, Attached::assume()) }
}

fn given(outcome: Outcome<'_>) -> *mut ffi::PyObject {
    outcome.map_or(ptr::null_mut(), Object::into_ptr)
}

unsafe extern "C" fn write(
    voice: *mut ffi::PyObject,
    data: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a method of a voice, with a live argument.
    let (channel, token, data) = unsafe {
        let (channel, token) = enter(voice);
        let data = Object::from_borrowed(token, NonNull::new_unchecked(data));
        (channel, token, data)
    };
    let (mut size, mut much) = (0, false);
    let copied = buffer::with_content(&data, |content| {
        much = channel.write(content);
        size = content.len();
    });
    if much {
        token.detached(outbox::wait_for_room);
    }
    given(copied.and_then(|()| Object::integer(token, size.cast_signed() as i64)))
}

unsafe extern "C" fn flush(
    voice: *mut ffi::PyObject,
    _nothing: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a method of a voice.
    let (channel, token) = unsafe { enter(voice) };
    channel.flush();
    Object::none(token).into_ptr()
}

unsafe extern "C" fn close(
    voice: *mut ffi::PyObject,
    _nothing: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a method of a voice; written with the GIL of its interpreter held.
    let (channel, token) = unsafe {
        (*voice.cast::<Voice>()).closed = true;
        enter(voice)
    };
    channel.finish_line();
    Object::none(token).into_ptr()
}

unsafe extern "C" fn no(
    voice: *mut ffi::PyObject,
    _nothing: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a method of a voice.
    let (_, token) = unsafe { enter(voice) };
    Object::boolean(token, false).into_ptr()
}

unsafe extern "C" fn yes(
    voice: *mut ffi::PyObject,
    _nothing: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a method of a voice.
    let (_, token) = unsafe { enter(voice) };
    Object::boolean(token, true).into_ptr()
}

unsafe extern "C" fn isatty(
    voice: *mut ffi::PyObject,
    _nothing: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a method of a voice.
    let (channel, token) = unsafe { enter(voice) };
    Object::boolean(token, channel.terminal.load(Ordering::Relaxed)).into_ptr()
}

unsafe extern "C" fn fileno(
    voice: *mut ffi::PyObject,
    _nothing: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a method of a voice.
    let (channel, token) = unsafe { enter(voice) };
    let number = channel.fileno.load(Ordering::Relaxed);
    if number >= 0 {
        return given(Object::integer(token, number.into()));
    }
    // As the caller's stream does, which has none.
    let refused = Object::import(token, c"_io")
        .and_then(|module| module.attribute(c"UnsupportedOperation"))
        .and_then(|class| class.call1(&Object::string(token, "fileno")?));
    given(refused.and_then(|error| Err(Raised::again(token, error))))
}

unsafe extern "C" fn closed(
    voice: *mut ffi::PyObject,
    _closure: *mut c_void,
) -> *mut ffi::PyObject {
    // SAFETY: a property of a voice; written with the GIL of its interpreter held.
    let (closed, token) = unsafe { ((*voice.cast::<Voice>()).closed, enter(voice).1) };
    Object::boolean(token, closed).into_ptr()
}

unsafe extern "C" fn name(voice: *mut ffi::PyObject, _closure: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: a property of a voice.
    let (channel, token) = unsafe { enter(voice) };
    given(Object::string(
        token,
        ["<stdout>", "<stderr>"][channel.which & 1],
    ))
}

unsafe extern "C" fn mode(voice: *mut ffi::PyObject, _closure: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: a property of a voice.
    let (_, token) = unsafe { enter(voice) };
    given(Object::string(token, "wb"))
}

unsafe extern "C" fn dealloc(voice: *mut ffi::PyObject) {
    // SAFETY: CPython calls this attached, once, when the last reference is gone. The field was
    // written (`open`): an object that failed before that never was. A heap type's object owns a
    // reference to its type.
    unsafe {
        let class = ffi::Py_TYPE(voice);
        ManuallyDrop::drop(&mut (*voice.cast::<Voice>()).channel);
        ffi::PyObject_Free(voice.cast());
        ffi::Py_DECREF(class.cast());
    }
}
