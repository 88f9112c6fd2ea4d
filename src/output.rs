//! What tasks have printed, written to the streams that were the callers'.
//!
//! Guarantees: who takes a result, or is told of an end, finds written before that what the task
//! has printed; texts are written in the order in which they were printed, each once, by one thread
//! at a time; a stream that raises is told of once, and loses its own text only.
//!
//! The completer writes what is printed by tasks that run; who takes a result writes the rest.

use crate::environ;
use crate::once::intern;
use crate::streams;
use crate::transfer::outbox::{self, Chunk};
use parking_lot::{Condvar, Mutex};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use std::collections::BTreeSet;
use std::ptr;
use std::thread::{self, ThreadId};
use std::time::Duration;

/// How long to wait before a look at the signals.
const NAP: Duration = Duration::from_millis(50);

/// The thread that writes.
static WRITER: Mutex<Option<ThreadId>> = Mutex::new(None);
static DONE: Condvar = Condvar::new();
/// Streams that have raised.
static TOLD: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// Writes what has been printed. Costs a load when nothing has.
///
/// What it raises is the caller's own: a signal's handler (Ctrl-C) raised while it wrote or waited.
#[inline]
pub fn catch_up(py: Python<'_>) -> PyResult<()> {
    if outbox::is_empty() {
        return Ok(());
    }
    write_all(py)
}

/// The same where nobody is there to be told.
pub fn catch_up_or_tell(py: Python<'_>) {
    if let Err(raised) = catch_up(py) {
        raised.write_unraisable(py, None);
    }
}

#[cold]
fn write_all(py: Python<'_>) -> PyResult<()> {
    let Some(_turn) = Turn::take(py)? else {
        return Ok(()); // a stream's `write` asks for a result itself
    };
    let mut chunks = outbox::take();
    while let Some(chunk) = chunks.pop_front() {
        let wrote = write(py, &chunk);
        outbox::written();
        match wrote {
            Ok(()) => {}
            Err(error) if error.is_instance_of::<PyException>(py) => {
                if TOLD.lock().insert(chunk.stream) {
                    error.write_unraisable(py, None);
                }
            }
            Err(fatal) => {
                outbox::put_back(chunks);
                return Err(fatal);
            }
        }
    }
    environ::let_go(py);
    Ok(())
}

fn write(py: Python<'_>, chunk: &Chunk) -> PyResult<()> {
    let Some(stream) = streams::find(py, chunk.stream, chunk.which) else {
        return Ok(());
    };
    if !chunk.bytes.is_empty() {
        let bytes = PyBytes::new(py, &chunk.bytes);
        match PyString::from_encoded_object(&bytes, Some(c"utf-8"), Some(c"surrogatepass")) {
            Ok(text) => drop(stream.call_method1(intern!(py, "write"), (text,))?),
            Err(_) => write_bytes(&stream, &bytes)?,
        }
    }
    if chunk.flush {
        stream.call_method0(intern!(py, "flush"))?;
    }
    Ok(())
}

/// What a task has written to `sys.stdout.buffer`, and is no text.
fn write_bytes(stream: &Bound<'_, PyAny>, bytes: &Bound<'_, PyBytes>) -> PyResult<()> {
    let py = stream.py();
    let write = intern!(py, "write");
    if let Ok(buffer) = stream.getattr(intern!(py, "buffer")) {
        stream.call_method0(intern!(py, "flush"))?;
        buffer.call_method1(write, (bytes,))?;
    } else {
        let text = PyString::from_encoded_object(bytes, Some(c"utf-8"), Some(c"backslashreplace"))?;
        stream.call_method1(write, (text,))?;
    }
    Ok(())
}

/// The calling thread writes, until it is dropped.
struct Turn;

impl Turn {
    /// Waits for it with the GIL released. `None`: the thread has it already.
    fn take(py: Python<'_>) -> PyResult<Option<Self>> {
        let own = thread::current().id();
        let attempt = |nap: Duration| {
            let mut writer = WRITER.lock();
            if writer.is_some_and(|thread| thread != own) {
                DONE.wait_for(&mut writer, nap);
            }
            match *writer {
                None => {
                    *writer = Some(own);
                    Some(true)
                }
                Some(thread) if thread == own => Some(false),
                Some(_) => None,
            }
        };
        loop {
            match py.detach(|| attempt(NAP)) {
                Some(true) => return Ok(Some(Self)),
                Some(false) => return Ok(None),
                None => py.check_signals()?,
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *WRITER.lock() = None;
        DONE.notify_all();
    }
}

/// The child of a fork forgets who wrote.
///
/// # Safety
/// Called in the child, before it has a second thread.
pub unsafe fn forget_after_fork() {
    // SAFETY: as in completer.rs.
    unsafe {
        if WRITER.is_locked() {
            WRITER.force_unlock();
        }
        ptr::write(WRITER.data_ptr(), None);
        if TOLD.is_locked() {
            TOLD.force_unlock();
        }
        ptr::write(TOLD.data_ptr(), BTreeSet::new());
    }
}
