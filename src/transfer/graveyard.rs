//! What main lent and nobody needs any more, and how it gets back to main.
//!
//! Guarantees: a buffer that main exports, or an object of main (`Kept`), is given back on a thread
//! attached to main and nowhere else; dropping one on another thread is a push onto a list, which runs no Python and
//! takes no GIL; somebody comes for what was pushed, also if the program never calls us again.
//! Not guaranteed: when. `Promise` says who comes at the latest.
//!
//! The protocol is written down in `core/PROTOCOL.md`, section "Buffers".

use crate::ffi;
use crate::interp::attach::Attached;
use parking_lot::Mutex;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A buffer that an object of main exports to us, which keeps the object alive and its memory in
/// place; or an object of main itself. Dropped anywhere, it is released in main.
pub struct Kept(Option<Grave>);

enum Grave {
    /// Boxed because some exporters let the fields point at each other.
    Buffer(Box<ffi::Py_buffer>),
    Object(NonNull<ffi::PyObject>),
}

// SAFETY: threads that are not attached to main move it and do nothing else (`Kept::drop`, `bury`);
// `clear` alone uses it, attached to main.
unsafe impl Send for Grave {}
// SAFETY: as above; shared access reads the plain fields, which nobody writes meanwhile.
unsafe impl Sync for Grave {}

impl Kept {
    /// Takes over an acquired buffer.
    ///
    /// # Safety
    /// `buffer` was filled by `PyObject_GetBuffer` in main, and nobody else releases it.
    pub unsafe fn take_over(buffer: Box<ffi::Py_buffer>) -> Self {
        // Relaxed, and where it is counted out: a count for tests, it publishes nothing.
        BUFFERS.fetch_add(1, Ordering::Relaxed);
        Self(Some(Grave::Buffer(buffer)))
    }

    /// Takes over a reference to an object.
    ///
    /// # Safety
    /// The reference is owned, and the object is main's.
    pub const unsafe fn object(owned: NonNull<ffi::PyObject>) -> Self {
        Self(Some(Grave::Object(owned)))
    }

    /// Gives the reference back, to a thread attached to main. `None`: a buffer.
    #[must_use]
    pub fn into_object(mut self) -> Option<NonNull<ffi::PyObject>> {
        match self.0 {
            Some(Grave::Object(object)) => {
                self.0 = None;
                Some(object)
            }
            _ => None,
        }
    }

    /// What the buffer holds: address and size.
    pub fn content(&self) -> (*const u8, usize) {
        match &self.0 {
            Some(Grave::Buffer(buffer)) => {
                (buffer.buf.cast_const().cast(), buffer.len.cast_unsigned())
            }
            _ => (ptr::null(), 0),
        }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Kept")
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(grave) = self.0.take() {
            bury(grave);
        }
    }
}

static GRAVES: Mutex<Vec<Grave>> = Mutex::new(Vec::new());
/// Whether `GRAVES` has something, readable without its lock.
static WAITING: AtomicBool = AtomicBool::new(false);
/// Buffers that were taken over and not released.
static BUFFERS: AtomicUsize = AtomicUsize::new(0);
/// How often `GRAVES` was emptied.
static CLEARED: AtomicUsize = AtomicUsize::new(0);
/// Makes a thread of main call `clear` soon. Set by whoever owns such a thread.
static CALL: OnceLock<fn()> = OnceLock::new();

thread_local! {
    static PROMISED: Cell<bool> = const { Cell::new(false) };
}

/// Sets what is called when nobody comes for a buffer otherwise. The first one stays.
pub fn call_with(call: fn()) {
    let _ = CALL.set(call);
}

fn call() {
    if let Some(call) = CALL.get() {
        call();
    }
}

fn bury(grave: Grave) {
    {
        let mut graves = GRAVES.lock();
        graves.push(grave);
        // Relaxed, here and below: written under the lock. A reader outside it that misses a push
        // of another thread leaves it to that thread, which calls or has promised to look again.
        WAITING.store(true, Ordering::Relaxed);
    }
    // `try_with`: a thread that ends may have lost its own; then nobody promised.
    if !PROMISED.try_with(Cell::get).unwrap_or(false) {
        call();
    }
}

/// How many buffers of main are lent, or wait for `clear`.
pub fn buffers() -> usize {
    BUFFERS.load(Ordering::Relaxed)
}

/// Whether something waits for `clear`.
pub fn is_waiting() -> bool {
    WAITING.load(Ordering::Relaxed)
}

/// What a thread that made a `Promise` does before it sleeps.
pub fn call_if_waiting() {
    if is_waiting() {
        call();
    }
}

/// Gives everything back.
///
/// This may run finalizers, and so any code of the user: call it with no lock held.
///
/// # Safety
/// The calling thread is attached to main.
pub unsafe fn clear(_main: Attached<'_>) {
    if !is_waiting() {
        return;
    }
    let graves = {
        let mut graves = GRAVES.lock();
        WAITING.store(false, Ordering::Relaxed);
        CLEARED.fetch_add(1, Ordering::Relaxed);
        std::mem::take(&mut *graves)
    };
    // SAFETY: attached to main, by this function's contract. Each buffer was acquired there
    // (`take_over`) and each reference is owned (`object`), is released once, because the list was
    // taken whole, and a pending exception is put aside meanwhile: finalizers must not find one.
    unsafe {
        let pending = ffi::PyErr_GetRaisedException();
        for grave in graves {
            match grave {
                Grave::Buffer(mut buffer) => {
                    ffi::PyBuffer_Release(&raw mut *buffer);
                    BUFFERS.fetch_sub(1, Ordering::Relaxed);
                }
                Grave::Object(object) => ffi::Py_DECREF(object.as_ptr()),
            }
        }
        ffi::PyErr_SetRaisedException(pending);
    }
}

/// The calling thread will look whether something waits: now and then, before it sleeps, and at
/// last when this is dropped. Until then what it drops needs no call.
pub struct Promise {
    /// `CLEARED` when this thread last saw something waiting.
    seen: Cell<Option<usize>>,
    _bound_to_this_thread: PhantomData<*mut ()>,
}

impl Promise {
    pub fn new() -> Self {
        PROMISED.set(true);
        Self {
            seen: Cell::new(None),
            _bound_to_this_thread: PhantomData,
        }
    }

    /// Between two tasks. What waited already the last time, main has not come for by itself.
    pub fn look(&self) {
        if !is_waiting() {
            return;
        }
        let now = CLEARED.load(Ordering::Relaxed);
        if self.seen.replace(Some(now)) == Some(now) {
            call();
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        PROMISED.set(false);
        call_if_waiting();
    }
}

/// The child of a fork forgets what waited: its parent's main gives it back.
///
/// # Safety
/// Called in the child, before it has a second thread.
pub unsafe fn forget_after_fork() {
    // SAFETY: as in completer.rs. What was in the list leaks in the child, with what it keeps.
    unsafe {
        if GRAVES.is_locked() {
            GRAVES.force_unlock();
        }
        ptr::write(GRAVES.data_ptr(), Vec::new());
    }
    WAITING.store(false, Ordering::Relaxed);
}
