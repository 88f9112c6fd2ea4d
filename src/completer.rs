//! The completer: tells listeners that their futures have ended.
//!
//! Guarantees: each ended future somebody listens to is delivered once; delivery starts in the
//! order in which they come here; workers never wait for it; a callback that blocks, even one that
//! waits for another future's delivery, holds up the rest for twice `PATIENCE` at most, up to
//! `MOST_RELIEFS` of them.
//!
//! One thread does it all, started by the first listener and attached to the main interpreter for
//! its whole life (an attachment per delivery would make a thread state each time). A watcher,
//! asleep unless something waits behind a delivery, sends in a relief when the queue stands still;
//! reliefs leave when the queue is empty.

mod at_fork;

pub use at_fork::{forget_after_fork, forsake, publish, rest};

use crate::core::idle;
use crate::core::joinable::{Joinable, spawn};
use crate::interp::attach::Attached;
use crate::once::intern;
use crate::output;
use crate::task::{Listener, Task};
use crate::transfer::call::{Broken, Label};
use crate::transfer::graveyard;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

/// How long the queue may stand still before a relief comes.
const PATIENCE: Duration = Duration::from_millis(10);

/// The most threads that callbacks can block. A program beyond that waits for one of them.
const MOST_RELIEFS: usize = 64;

/// What comes through the channel.
enum Errand {
    Deliver(Arc<Task>),
    /// Buffers of main wait for their release.
    Clear,
    /// Tasks have printed something.
    Write,
    /// Something else to do in main.
    Run(Work),
}

/// Something to do on a thread that is attached to the main interpreter.
pub type Work = Box<dyn FnOnce(Python<'_>) + Send>;

struct Completer {
    sender: Sender<Errand>,
    shared: Arc<Shared>,
    watcher: Thread,
    threads: [Joinable; 2],
}

struct Shared {
    receiver: Receiver<Errand>,
    /// Threads that wait for a task.
    waiting: AtomicUsize,
    delivered: AtomicU64,
    /// A relief is on its way: while the main GIL is busy, a second would only wait beside it.
    relief_coming: AtomicBool,
    closing: AtomicBool,
    /// An `Errand::Clear` lies in the channel.
    clearing: AtomicBool,
    /// An `Errand::Write` does.
    writing: AtomicBool,
    reliefs: Mutex<Vec<Joinable>>,
}

static COMPLETER: Mutex<Option<Completer>> = Mutex::new(None);
/// Counts the forks that led to this process: a thread of the completer that finds itself in a child
/// (a callback has forked, and came back) has nothing to do there.
static FORKS: AtomicUsize = AtomicUsize::new(0);
/// The program is at its end.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Makes sure there is a completer. Called by the first listener of each future, and when main
/// lends a buffer. Past `stop` there is none any more: all tasks have ended, who listens to one of
/// them has its end delivered then and there, and a new thread would be attached to main while
/// Python finalizes.
pub fn start() -> io::Result<()> {
    graveyard::call_with(clear_soon);
    let mut place = COMPLETER.lock();
    // Relaxed: written in `stop` before it takes this lock.
    if place.is_none() && !STOPPED.load(Ordering::Relaxed) {
        let (sender, receiver) = unbounded();
        let shared = Arc::new(Shared {
            receiver,
            waiting: AtomicUsize::new(0),
            delivered: AtomicU64::new(0),
            relief_coming: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            clearing: AtomicBool::new(false),
            writing: AtomicBool::new(false),
            reliefs: Mutex::new(Vec::new()),
        });
        let watched = Arc::clone(&shared);
        let watcher = spawn("subpool-watcher", move || watch(&watched))?;
        let handle = watcher.thread().clone();
        let (own, wake) = (Arc::clone(&shared), handle.clone());
        // If this fails the watcher sleeps for ever, which costs its stack and nothing else.
        let completer = spawn("subpool-deliver", move || run(&own, &wake))?;
        *place = Some(Completer {
            sender,
            shared,
            watcher: handle,
            threads: [completer, watcher],
        });
    }
    Ok(())
}

/// Has the threads deliver what is left and end, and gives them to wait for, in that order. After
/// the last worker has ended.
pub fn stop() -> impl Iterator<Item = Joinable> {
    // Relaxed: read by `start` under the lock that is taken next.
    STOPPED.store(true, Ordering::Relaxed);
    let stopped = COMPLETER.lock().take().map(|completer| {
        drop(completer.sender);
        // Release: pairs with the acquire in `watch`.
        completer.shared.closing.store(true, Ordering::Release);
        completer.watcher.unpark();
        (completer.threads, completer.shared)
    });
    stopped.into_iter().flat_map(|(threads, shared)| {
        // No relief comes after the watcher's end, which is waited for before this is asked.
        let reliefs = std::iter::from_fn(move || shared.reliefs.lock().pop());
        threads
            .into_iter()
            .chain(reliefs)
            // The thread that stops the completer may be of it: a callback that ends the program.
            .filter(|thread| thread.thread().id() != thread::current().id())
    })
}

/// Somebody listens to this ended task.
pub fn deliver(task: Arc<Task>) {
    send(Errand::Deliver(task));
}

/// Warns of a function that has not reacted to an interrupt.
pub fn warn(label: Label, waited: Duration, left: Duration) {
    run_soon(Box::new(move |py| {
        let seconds = (waited.as_secs_f64(), left.as_secs_f64());
        let warned = py
            .import("subpool.errors")
            .and_then(|errors| errors.getattr("warn_of_slow_interrupt"))
            .and_then(|warn| warn.call1((label.to_string(), seconds.0, seconds.1)));
        if let Err(error) = warned {
            error.write_unraisable(py, None);
        }
    }));
}

pub fn warn_of_threads(worker: String, threads: Vec<String>, waited: Duration) {
    ask(move |py| {
        let about = (worker, threads, waited.as_secs_f64());
        let warned = py
            .import("subpool.errors")
            .and_then(|errors| errors.getattr("warn_of_threads"))
            .and_then(|warn| warn.call1(about));
        if let Err(error) = warned {
            error.write_unraisable(py, None);
        }
    });
}

pub fn warn_of_close(worker: String, what: String, waited: Duration) {
    // Without a completer it would be dropped; without a thread for that it is.
    let _ = start();
    run_soon(Box::new(move |py| {
        let warned = py
            .import("subpool.errors")
            .and_then(|errors| errors.getattr("warn_of_close"))
            .and_then(|warn| warn.call1((worker, what, waited.as_secs_f64())));
        if let Err(error) = warned {
            error.write_unraisable(py, None);
        }
    }));
}

pub fn warn_of_harm(worker: String, task: Label, how: String) {
    ask(move |py| {
        let logged = py
            .import("subpool.errors")
            .and_then(|errors| errors.getattr("log_harm"))
            .and_then(|log| log.call1((worker, task.to_string(), how)));
        if let Err(error) = logged {
            error.write_unraisable(py, None);
        }
    });
}

/// What `_process.describe` says of this process, for its workers.
pub fn describe_process() -> Option<Vec<u8>> {
    ask(|py| {
        let described = py
            .import("subpool._process")
            .and_then(|process| process.call_method0("describe"))
            .and_then(|described| described.extract());
        described
            .map_err(|error| error.write_unraisable(py, None))
            .ok()
    })
    .flatten()
}

/// What `_questions.answer` says to a worker's question.
pub fn answer(question: Vec<u8>) -> Option<Vec<u8>> {
    ask(move |py| {
        let answered = py
            .import("subpool._questions")
            .and_then(|helper| helper.call_method1("answer", (PyBytes::new(py, &question),)))
            .and_then(|answered| Ok(answered.cast::<PyBytes>()?.as_bytes().to_vec()));
        answered
            .map_err(|error| error.write_unraisable(py, None))
            .ok()
    })
    .flatten()
}

/// Has main do something, and waits for what it gives. `None`: there is no thread to do it, or the
/// program is past its end.
///
/// For a thread that is attached to nothing.
pub fn ask<R: Send + 'static>(work: impl FnOnce(Python<'_>) -> R + Send + 'static) -> Option<R> {
    start().ok()?;
    let (sender, receiver) = bounded(1);
    run_soon(Box::new(move |py| {
        // The receiver waits below.
        let _ = sender.send(work(py));
    }));
    receiver.recv().ok()
}

/// Calls `send` with the completer, which is started if need be: there is none before the first
/// errand, and after a fork. Not past `stop`, when every listener has been served. No thread to be
/// had: the errand is lost, and who waits for its task finds the end by himself.
fn with_completer(send: impl FnOnce(&Completer)) {
    // The lock is held for a send that never blocks.
    let mut place = COMPLETER.lock();
    if place.is_none() {
        drop(place);
        if start().is_err() {
            return;
        }
        place = COMPLETER.lock();
    }
    if let Some(completer) = &*place {
        send(completer);
    }
}

fn send(errand: Errand) {
    with_completer(|completer| completer.send(errand));
}

/// Has the completer give back the buffers that wait for it. Any thread may call this; it waits for
/// nothing. Past `stop` main's own threads clear what they bury.
fn clear_soon() {
    with_completer(|completer| {
        // SeqCst: pairs with the store in `run_errand`; PROTOCOL.md, "Buffers".
        if !completer.shared.clearing.swap(true, Ordering::SeqCst) {
            completer.send(Errand::Clear);
        }
    });
}

/// Has the completer write what tasks print while they run. Any thread may call this; it waits for
/// nothing.
pub fn write_soon() {
    with_completer(|completer| {
        // SeqCst: pairs with the store in `run_errand`. Who finds it set has pushed before the
        // writer's look.
        if !completer.shared.writing.swap(true, Ordering::SeqCst) {
            completer.send(Errand::Write);
        }
    });
}

/// Has the completer do `work`. Any thread may call this; it waits for nothing. After the end of
/// the program nothing is done any more, and `work` is dropped.
pub fn run_soon(work: Work) {
    send(Errand::Run(work));
}

impl Completer {
    fn send(&self, errand: Errand) {
        // The receiver lives in `shared`, beside the sender.
        let _ = self.sender.send(errand);
        self.shared.call_watcher(&self.watcher);
    }
}

impl Shared {
    /// Wakes the watcher if a task waits and nobody waits for it.
    ///
    /// Called by whoever sends a task, after sending, and by whoever takes one, after taking: one
    /// of the two sees a task left behind a delivery.
    fn call_watcher(&self, watcher: &Thread) {
        // SeqCst: pairs with itself in `next`; the sender's "task is in, is somebody waiting?" and
        // the taker's "I wait no more, is a task in?" must not both read the old answer.
        if self.waiting.load(Ordering::SeqCst) == 0 && !self.receiver.is_empty() {
            watcher.unpark();
        }
    }

    fn next(&self) -> Option<Errand> {
        // SeqCst, both: pairs with the load in `call_watcher`.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let looked = idle::look_if_there_is_room(|| self.receiver.try_recv().ok());
        let task = looked.or_else(|| self.receiver.recv().ok());
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        task
    }

    fn run_errand(&self, py: Python<'_>, errand: Errand, watcher: &Thread) {
        self.call_watcher(watcher);
        match errand {
            Errand::Deliver(task) => deliver_here(py, &task),
            Errand::Clear => {
                // Before the look: who buries after it sends another errand. SeqCst, here and
                // below: pairs with the swaps in `clear_soon` and `write_soon`.
                self.clearing.store(false, Ordering::SeqCst);
                clear_graveyard(py);
            }
            Errand::Write => {
                // Before the look, as above.
                self.writing.store(false, Ordering::SeqCst);
                output::catch_up_or_tell(py);
            }
            Errand::Run(work) => work(py),
        }
        // Relaxed: only whether it moves matters.
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }
}

fn run(shared: &Shared, watcher: &Thread) {
    // Relaxed: a fork changes it, in the child, on the very thread that reads it there.
    let born = FORKS.load(Ordering::Relaxed);
    let is_here = || FORKS.load(Ordering::Relaxed) == born;
    Python::attach(|py| {
        while let Some(errand) = py.detach(|| shared.next()) {
            shared.run_errand(py, errand, watcher);
            while is_here()
                && let Ok(errand) = shared.receiver.try_recv()
            {
                shared.run_errand(py, errand, watcher);
            }
            if !is_here() {
                break;
            }
        }
    });
}

fn relieve(shared: &Shared, watcher: &Thread) {
    Python::attach(|py| {
        // Relaxed: the watcher only asks whether to send another one.
        shared.relief_coming.store(false, Ordering::Relaxed);
        let born = FORKS.load(Ordering::Relaxed);
        while FORKS.load(Ordering::Relaxed) == born
            && let Ok(errand) = shared.receiver.try_recv()
        {
            shared.run_errand(py, errand, watcher);
        }
    });
}

fn watch(shared: &Arc<Shared>) {
    // Acquire: pairs with the release in `stop`.
    while !shared.closing.load(Ordering::Acquire) {
        thread::park();
        let mut seen = shared.delivered.load(Ordering::Relaxed);
        while !shared.receiver.is_empty() {
            thread::sleep(PATIENCE);
            let now = shared.delivered.load(Ordering::Relaxed);
            if now == seen && !shared.receiver.is_empty() {
                send_relief(shared);
            }
            seen = now;
        }
    }
}

fn send_relief(shared: &Arc<Shared>) {
    // Relaxed: see `relieve`.
    if shared.relief_coming.load(Ordering::Relaxed) {
        return;
    }
    let mut reliefs = shared.reliefs.lock();
    reliefs.retain(|relief| !relief.ended.state.phase().is_done());
    if reliefs.len() < MOST_RELIEFS {
        let (own, watcher) = (Arc::clone(shared), thread::current());
        // Before the thread exists, which takes it back.
        shared.relief_coming.store(true, Ordering::Relaxed);
        match spawn("subpool-deliver", move || relieve(&own, &watcher)) {
            Ok(relief) => reliefs.push(relief),
            // No thread to be had: the watcher looks again after its patience.
            Err(_) => shared.relief_coming.store(false, Ordering::Relaxed),
        }
    }
}

/// Delivers a task's end to its listener, on a thread of ours: nobody is there to be told of an
/// exception that a callback let pass.
fn deliver_here(py: Python<'_>, task: &Task) {
    let Some(future) = take_listener(py, task) else {
        return;
    };
    if let Err(error) = future.call_method0(intern!(py, "_deliver")) {
        error.write_unraisable(py, Some(&future));
    }
}

/// Delivers a task's end on the calling thread, whose exceptions (Ctrl-C too) are the caller's. An
/// exception that came before the listeners were told leaves the delivery to the completer.
pub fn deliver_at_once(py: Python<'_>, task: &Arc<Task>) -> PyResult<()> {
    let Some(future) = take_listener(py, task) else {
        return Ok(());
    };
    future
        .call_method0(intern!(py, "_deliver"))
        .map(drop)
        .inspect_err(|_| {
            if !task.latch.state.visible().is_done() {
                task.return_listener(entrust(future));
                deliver(Arc::clone(task));
            }
        })
}

/// Releases what buffers of main wait for that. May run any code of the user.
pub fn clear_graveyard(_py: Python<'_>) {
    // SAFETY: attached to main (`_py`), for as long as the call takes.
    unsafe { graveyard::clear(Attached::assume()) }
}

fn take_listener<'py>(py: Python<'py>, task: &Task) -> Option<Bound<'py, PyAny>> {
    task.take_listener().map(|listener| reclaim(py, listener))
}

/// Makes a listener of a future. It owns a reference: `reclaim` it, on a thread attached to main.
pub fn entrust(future: Bound<'_, PyAny>) -> Listener {
    // SAFETY: `into_ptr` of a live object is not null.
    Listener(unsafe { NonNull::new_unchecked(future.into_ptr()) })
}

/// Makes the listener a future again.
pub fn reclaim(py: Python<'_>, Listener(pointer): Listener) -> Bound<'_, PyAny> {
    // SAFETY: `entrust` made it of an owned reference to an object of main, it can be used up once,
    // and this thread is attached to main (`py`).
    unsafe { Bound::from_owned_ptr(py, pointer.as_ptr()) }
}

/// A reference beside a listener's own.
pub fn another<'py>(py: Python<'py>, Listener(pointer): &Listener) -> Bound<'py, PyAny> {
    // SAFETY: as in `reclaim`, but that the listener keeps its reference.
    unsafe { Bound::from_borrowed_ptr(py, pointer.as_ptr()) }
}

/// Logs that a pool broke, or a worker could not start, which is tried again after `retry`. For
/// threads without a thread state.
pub fn report(broken: &Broken, retry: Option<Duration>) {
    Python::attach(|py| {
        let logged = py
            .import("subpool.errors")
            .and_then(|errors| errors.getattr("log_broken"))
            .and_then(|log| {
                let retry = retry.map(|retry| retry.as_secs_f64());
                log.call1((&broken.message, &broken.traceback, retry))
            });
        if let Err(error) = logged {
            error.write_unraisable(py, None);
        }
    });
}
