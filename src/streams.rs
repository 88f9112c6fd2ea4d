//! The streams of main that tasks may print to, and what a worker has to know of them.
//!
//! Guarantees: a task's stream is kept until no task runs, then let go of: a redirected output can
//! be closed, and its memory freed, when the redirection is over.

use crate::once::Once;
use crate::once::intern;
use crate::pool::Pool;
use crate::transfer::environment::{Output, OutputKind};
use crate::transfer::outbox;
use pyo3::prelude::*;
use pyo3::types::PyType;
use std::cell::RefCell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering};

struct Stream {
    number: u64,
    which: usize,
    object: Py<PyAny>,
    kind: OutputKind,
}

struct Streams(RefCell<Vec<Stream>>);

// SAFETY: reached by functions that take a `Python<'_>` of the main interpreter alone, whose GIL
// keeps others out, and no borrow lasts while Python code runs.
unsafe impl Sync for Streams {}

static STREAMS: Streams = Streams(RefCell::new(Vec::new()));
static NEXT: AtomicU64 = AtomicU64::new(1);

const NAMES: [&str; 2] = ["stdout", "stderr"];

/// What is `sys.stdout` now (`which` is 0), or `sys.stderr` (1).
fn present(py: Python<'_>, which: usize) -> Option<Bound<'_, PyAny>> {
    let system = py.import(intern!(py, "sys")).ok()?;
    let stream = system.getattr(NAMES[which & 1]).ok()?;
    Some(stream).filter(|stream| !stream.is_none())
}

/// The stream of that number; if it is not known any more, the one that is in its place now.
/// `None`: main has none.
pub fn find(py: Python<'_>, number: u64, which: usize) -> Option<Bound<'_, PyAny>> {
    let known = {
        let streams = STREAMS.0.borrow();
        let known = streams.iter().find(|stream| stream.number == number);
        known.map(|known| known.object.bind(py).clone())
    };
    known.or_else(|| present(py, which))
}

/// What a worker has to know of main's present stream.
pub fn describe(py: Python<'_>, which: usize) -> Output {
    let Some(stream) = present(py, which) else {
        let (stream, kind) = (0, OutputKind::Absent);
        return Output { stream, kind };
    };
    let known = |known: &&Stream| known.which == which && known.object.is(&stream);
    let known = STREAMS.0.borrow().iter().find(known).map(|known| Output {
        stream: known.number,
        kind: known.kind,
    });
    known.unwrap_or_else(|| {
        let kind = kind(&stream, which);
        // Relaxed: only uniqueness matters.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        STREAMS.0.borrow_mut().push(Stream {
            number,
            which,
            object: stream.unbind(),
            kind,
        });
        Output {
            stream: number,
            kind,
        }
    })
}

static TEXT: Once<Py<PyType>> = Once::new();

/// Asks a stream what it is. One that does not say is forwarded to all the same.
fn kind(stream: &Bound<'_, PyAny>, which: usize) -> OutputKind {
    let py = stream.py();
    let says = |name| {
        let said = stream.getattr(name).and_then(|said| said.is_truthy());
        said.unwrap_or(false)
    };
    let fileno = stream.call_method0(intern!(py, "fileno"));
    let fileno = fileno.and_then(|number| number.extract::<c_int>()).ok();
    let standard = TEXT.import(py, "_io", "TextIOWrapper");
    if standard.is_ok_and(|class| stream.get_type().is(class))
        && fileno.and_then(|number| usize::try_from(number).ok()) == Some(which + 1)
        && (says(intern!(py, "line_buffering")) || says(intern!(py, "write_through")))
    {
        return OutputKind::Own;
    }
    let terminal = stream.call_method0(intern!(py, "isatty"));
    let terminal = terminal.and_then(|said| said.is_truthy()).unwrap_or(false);
    OutputKind::Forwarded { fileno, terminal }
}

/// Whether nothing can be printed to a stream any more but by tasks that are submitted from now on.
pub fn are_idle() -> bool {
    outbox::is_empty()
        && Pool::living()
            .iter()
            .all(|pool| pool.stats.outstanding() == 0)
}

/// Lets go of all streams but those of the given numbers.
pub fn keep(_py: Python<'_>, needed: [u64; 2]) {
    let is_needed = |stream: &Stream| needed.contains(&stream.number);
    let gone: Vec<_> = {
        let mut streams = STREAMS.0.borrow_mut();
        let all = std::mem::take(&mut *streams);
        let (kept, gone) = all.into_iter().partition(is_needed);
        *streams = kept;
        gone
    };
    // Finalizers may run here, and find everything in order.
    drop(gone);
}
