//! The way of ended tasks to the event loops that wait for them.
//!
//! Guarantees: who ends a task posts it to the loop's mailbox and rings the loop's bell, and never
//! takes the main GIL for it; the loop's own thread empties the mailbox, many ends at a time; what
//! is posted to a loop that is gone is let go of in main.
//! Not guaranteed: the order between ends of different workers.
//!
//! The bell is a descriptor that the loop watches (an eventfd, or one end of a socket pair). Loops
//! that watch none are called by the completer. `subpool._loops` is the loops' side of this.

use crate::completer::{self, another, entrust, reclaim};
use crate::core::mailbox::Mailbox;
use crate::core::state::Phase;
use crate::encode::Decoded;
use crate::error::Error;
use crate::future::FutureCore;
use crate::once::Once;
use crate::once::intern;
use crate::output;
use crate::task::{Awaiter, Carrier, Listener};
use parking_lot::Mutex;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyType, PyWeakrefReference};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The most ends told in one turn of the loop, so that its other business is not held up.
const MOST_AT_ONCE: usize = 512;

struct Shared {
    mailbox: Mailbox<Awaiter>,
    bell: Bell,
    /// The loop's half is gone: nobody will empty the mailbox.
    closed: AtomicBool,
}

enum Bell {
    /// The writing end, which does not block: a full one has been rung often enough.
    Descriptor(File),
    /// A callable of main for the completer; taken by `Shared::close`.
    Call(Mutex<Option<Listener>>),
}

impl Carrier for Shared {
    fn carry(self: Arc<Self>, awaiter: Awaiter) {
        if self.mailbox.post(awaiter) {
            self.ring();
        }
        // Relaxed: a post that the emptying in `close` did not find comes after its answer, and so
        // after the store of `closed` (mailbox.rs, `post`).
        if self.closed.load(Ordering::Relaxed) {
            completer::run_soon(Box::new(move |py| self.abandon(py)));
        }
    }
}

impl Shared {
    fn ring(self: &Arc<Self>) {
        match &self.bell {
            // It fails when it is full or the loop's end is closed. Then nobody has to be told.
            Bell::Descriptor(file) => drop((&*file).write(&1_u64.to_ne_bytes())),
            Bell::Call(_) => {
                let shared = Arc::clone(self);
                completer::run_soon(Box::new(move |py| shared.call(py)));
            }
        }
    }

    fn call(&self, py: Python<'_>) {
        let Bell::Call(place) = &self.bell else {
            return;
        };
        let wake = place.lock().as_ref().map(|wake| another(py, wake));
        if let Some(wake) = wake
            && let Err(error) = wake.call0()
        {
            error.write_unraisable(py, Some(&wake));
        }
    }

    fn close(&self, py: Python<'_>) {
        // Before the answer: see `carry`. Relaxed: the answer, a release, publishes it.
        self.closed.store(true, Ordering::Relaxed);
        self.mailbox.answer();
        self.abandon(py);
        if let Bell::Call(place) = &self.bell
            && let Some(wake) = place.lock().take()
        {
            drop(reclaim(py, wake));
        }
    }

    /// Lets go of what nobody will ask for.
    fn abandon(&self, py: Python<'_>) {
        while let Some(awaiter) = self.mailbox.take() {
            drop((reclaim(py, awaiter.source), reclaim(py, awaiter.target)));
        }
    }
}

/// A loop's half of its bridge. Closed when dropped: the loop's registration keeps it alive.
#[pyclass(frozen, weakref, module = "subpool._subpool")]
pub struct Bridge {
    shared: Arc<Shared>,
    reader: Option<File>,
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // SAFETY: an object of main is dropped on a thread that is attached to main.
        self.shared.close(unsafe { Python::assume_attached() });
    }
}

#[pymethods]
impl Bridge {
    /// Takes over two descriptors, the one that the loop watches and the other one, neither of
    /// which blocks; or else a callable for the completer, that has the loop call `drain`.
    #[new]
    fn new(bell: &Bound<'_, PyAny>) -> PyResult<Self> {
        completer::start().map_err(Error::Thread)?;
        let (bell, reader) = if bell.is_callable() {
            let wake = entrust(bell.clone());
            (Bell::Call(Mutex::new(Some(wake))), None)
        } else {
            let (reader, writer) = bell.extract::<(RawFd, RawFd)>()?;
            // SAFETY: the caller gives them up (`subpool._loops.bell`).
            let own = |descriptor| unsafe { File::from_raw_fd(descriptor) };
            (Bell::Descriptor(own(writer)), Some(own(reader)))
        };
        Ok(Self {
            shared: Arc::new(Shared {
                mailbox: Mailbox::new(),
                bell,
                closed: AtomicBool::new(false),
            }),
            reader,
        })
    }

    /// The descriptor to watch; -1 if the bell is a callable.
    fn fileno(&self) -> RawFd {
        self.reader.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Tells the loop's futures of ended tasks. On the loop's thread.
    fn drain(&self, py: Python<'_>) {
        if let Some(mut reader) = self.reader.as_ref() {
            // Nothing to read: called for another reason. What is left to read calls again.
            drop(reader.read(&mut [0; 64]));
        }
        self.shared.mailbox.answer();
        for _ in 0..MOST_AT_ONCE {
            match self.shared.mailbox.take() {
                Some(awaiter) => tell(py, awaiter),
                None => return,
            }
        }
        if self.shared.mailbox.ring_again() {
            self.shared.ring();
        }
    }

    /// Has the outcome of `future` copied to `target`, something like a future of asyncio's, by
    /// `drain`. False: the future is done, and nothing will be copied.
    fn expect(&self, future: &Bound<'_, FutureCore>, target: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = future.py();
        let task = future
            .get()
            .task()
            .ok_or_else(|| PyTypeError::new_err("a future without a task"))?;
        let refused = task.expect(Awaiter {
            carrier: self.shared.clone(),
            source: entrust(future.clone().into_any()),
            target: entrust(target.clone()),
        });
        Ok(refused
            .map_err(|unused| (reclaim(py, unused.source), reclaim(py, unused.target)))
            .is_ok())
    }

    /// Lets go of everything, now and later.
    fn close(&self, py: Python<'_>) {
        self.shared.close(py);
    }
}

/// Has the outcome of `future` copied to `target`, a future of `loop`: by `Bridge::drain`, or now if
/// it is done.
///
/// The loop keeps a weak reference to its bridge; `subpool._loops.connect` makes both.
#[pyfunction]
pub fn copy_in(
    r#loop: &Bound<'_, PyAny>,
    future: &Bound<'_, FutureCore>,
    target: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let ended = future
        .get()
        .task()
        .is_some_and(|task| task.latch.state.phase().is_done());
    if ended || !bridge_of(r#loop)?.get().expect(future, target)? {
        copy(future, target)?;
    }
    Ok(())
}

/// A future of the running asyncio loop that has the outcome of `future`. `None`: no loop runs.
#[pyfunction]
pub fn await_in_loop<'py>(future: &Bound<'py, FutureCore>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let running = running_loop(future.py())?;
    running.map(|running| awaited(&running, future)).transpose()
}

static RUNNING: Once<Py<PyAny>> = Once::new();

/// The asyncio loop that runs on this thread.
pub fn running_loop(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let get = if let Some(get) = RUNNING.get(py) {
        get
    } else {
        // Without an import: who runs a loop has imported it.
        let modules = py.import("sys")?.getattr("modules")?;
        let Ok(events) = modules.get_item("asyncio.events") else {
            return Ok(None);
        };
        RUNNING.get_or_try_init(py, || {
            PyResult::Ok(events.getattr("_get_running_loop")?.unbind())
        })?
    };
    let running = get.bind(py).call0()?;
    Ok(Some(running).filter(|running| !running.is_none()))
}

static AWAITED: Once<Py<PyType>> = Once::new();

/// A future of `running`, the loop that runs on this thread, that has the outcome of `future`.
pub fn awaited<'py>(
    running: &Bound<'py, PyAny>,
    future: &Bound<'py, FutureCore>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = future.py();
    let class = AWAITED.import(py, "subpool._awaited", "Awaited")?;
    let target = class.call0()?;
    target.setattr(intern!(py, "_source"), future)?;
    copy_in(running, future, &target)?;
    Ok(target)
}

static CONNECT: Once<Py<PyAny>> = Once::new();

fn bridge_of<'py>(r#loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Bridge>> {
    let py = r#loop.py();
    if let Ok(place) = r#loop.getattr(intern!(py, "_subpool_bridge"))
        && let Ok(place) = place.cast_into::<PyWeakrefReference>()
        && let Some(bridge) = place.upgrade_as::<Bridge>()?
    {
        return Ok(bridge);
    }
    let connect = CONNECT.get_or_try_init(py, || {
        PyResult::Ok(py.import("subpool._loops")?.getattr("connect")?.unbind())
    })?;
    Ok(connect.bind(py).call1((r#loop,))?.cast_into::<Bridge>()?)
}

fn tell(py: Python<'_>, awaiter: Awaiter) {
    let (source, target) = (reclaim(py, awaiter.source), reclaim(py, awaiter.target));
    let told = || -> PyResult<()> {
        if target.call_method0(intern!(py, "done"))?.is_truthy()? {
            // Cancelled meanwhile.
            return Ok(());
        }
        copy(source.cast::<FutureCore>()?, &target)
    };
    if let Err(error) = told() {
        error.write_unraisable(py, Some(&target));
    }
}

/// What asyncio's own chaining does at the end of a future, without its way over another callback.
fn copy(source: &Bound<'_, FutureCore>, target: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = source.py();
    let Some(origin) = source.get().origin() else {
        return Ok(());
    };
    if origin.task.latch.state.phase() == Phase::Cancelled {
        target.call_method0(intern!(py, "cancel"))?;
        return Ok(());
    }
    output::catch_up(py)?;
    match source.get().decode(py, origin) {
        Decoded::Value(value) => target.call_method1(intern!(py, "set_result"), (value,)),
        Decoded::Error(raised) => {
            let error = raised.0;
            let error = error.into_bound(py);
            let convert = py.import("subpool._loops")?.getattr("converted")?;
            let error = convert.call1((error,))?;
            target.call_method1(intern!(py, "set_exception"), (error,))
        }
    }
    .map(drop)
}
