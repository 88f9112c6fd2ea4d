//! What tasks have printed, on its way to main, where the caller's stream is.
//!
//! Guarantees: one order for all workers, that of the pushes; `is_empty` is false from a push until
//! its text has been written, so who has seen a task's end and finds the outbox empty finds its
//! text written; a push runs no Python and waits for nothing; somebody comes for what was pushed.
//! Not guaranteed: that a task which prints faster than main writes is not slowed down
//! (`wait_for_room`).

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A piece of output.
#[derive(Debug)]
pub struct Chunk {
    /// What main calls the stream that was the caller's.
    pub stream: u64,
    /// 0 for `sys.stdout`, 1 for `sys.stderr`.
    pub which: usize,
    pub bytes: Vec<u8>,
    /// The task asked for it to be flushed.
    pub flush: bool,
}

/// What is pushed while the last chunk waits goes into that one, up to here.
const LARGE: usize = 64 << 10;
/// More than this waits for main.
const MUCH: usize = 16 << 20;
/// How long a push of much more waits for main: long enough to let main work, and short enough
/// for an interrupt to come through.
const BREATH: Duration = Duration::from_millis(100);

struct Chunks {
    waiting: VecDeque<Chunk>,
    bytes: usize,
}

static CHUNKS: Mutex<Chunks> = Mutex::new(Chunks {
    waiting: VecDeque::new(),
    bytes: 0,
});
/// Chunks that were pushed and have not been written. Changed under the lock of `CHUNKS`.
static UNWRITTEN: AtomicUsize = AtomicUsize::new(0);
static TAKEN: Condvar = Condvar::new();
/// Makes a thread of main come soon.
static CALL: OnceLock<fn()> = OnceLock::new();

/// Sets what is called after each push. The first one stays.
pub fn call_with(call: fn()) {
    let _ = CALL.set(call);
}

/// Sends a piece of output. True: much is waiting, and the caller should `wait_for_room`.
pub fn push(stream: u64, which: usize, bytes: &[u8], flush: bool) -> bool {
    let much = {
        let mut chunks = CHUNKS.lock();
        chunks.bytes += bytes.len();
        match chunks.waiting.back_mut() {
            Some(last)
                if (last.stream, last.which) == (stream, which) && last.bytes.len() < LARGE =>
            {
                last.bytes.extend_from_slice(bytes);
                last.flush |= flush;
            }
            _ => {
                chunks.waiting.push_back(Chunk {
                    stream,
                    which,
                    bytes: bytes.to_vec(),
                    flush,
                });
                // Relaxed: who must see it has seen the task's end, which this thread announces
                // after this (`core/state.rs`, release and acquire); or is called below.
                UNWRITTEN.fetch_add(1, Ordering::Relaxed);
            }
        }
        chunks.bytes > MUCH
    };
    if let Some(call) = CALL.get() {
        call();
    }
    much
}

/// Waits a while for main to take what is there. Not attached.
pub fn wait_for_room() {
    let mut chunks = CHUNKS.lock();
    if chunks.bytes > MUCH {
        TAKEN.wait_for(&mut chunks, BREATH);
    }
}

/// Whether all has been written.
#[inline]
pub fn is_empty() -> bool {
    // Acquire: pairs with the release in `written`, so that what was written to the stream by
    // another thread comes before what the caller writes.
    UNWRITTEN.load(Ordering::Acquire) == 0
}

/// Takes all that waits. The caller says of each when it is `written`.
pub fn take() -> VecDeque<Chunk> {
    let mut chunks = CHUNKS.lock();
    chunks.bytes = 0;
    TAKEN.notify_all();
    std::mem::take(&mut chunks.waiting)
}

/// Gives back what was taken and not written, before all else.
pub fn put_back(mut rest: VecDeque<Chunk>) {
    let mut chunks = CHUNKS.lock();
    chunks.bytes += rest.iter().map(|chunk| chunk.bytes.len()).sum::<usize>();
    rest.append(&mut chunks.waiting);
    chunks.waiting = rest;
}

/// One of those taken was written, or never will be.
pub fn written() {
    // Release: pairs with the acquire in `is_empty`.
    UNWRITTEN.fetch_sub(1, Ordering::Release);
}

/// The child of a fork forgets what its parent will write.
///
/// # Safety
/// Called in the child, before it has a second thread.
pub unsafe fn forget_after_fork() {
    // SAFETY: as in completer.rs.
    unsafe {
        if CHUNKS.is_locked() {
            CHUNKS.force_unlock();
        }
        let (waiting, bytes) = (VecDeque::new(), 0);
        ptr::write(CHUNKS.data_ptr(), Chunks { waiting, bytes });
    }
    // Relaxed: the child has one thread.
    UNWRITTEN.store(0, Ordering::Relaxed);
}
