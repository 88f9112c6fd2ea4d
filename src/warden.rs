//! The warden: one thread per process that sees to what is due at some time.
//!
//! Guarantees: what `wake_by` names is looked at by then, or as soon after as the system lets a
//! thread run; a time later than the next look costs its caller a lock and no more.
//! Not guaranteed: that a look finds anything: a task with a time limit mostly ends before it.
//!
//! It knows no pool. `start` is given what to call, which does what is due and tells when to come
//! again; and whoever makes something due earlier calls `wake_by` after that can be found.

use crate::core::joinable::{Joinable, spawn};
use parking_lot::Mutex;
use std::io;
use std::thread;
use std::time::Instant;

/// Does what is due at that time, and gives the next.
pub type Look = fn(Instant) -> Option<Instant>;

struct Warden {
    thread: Option<Joinable>,
    /// When to look. `None`: when somebody names a time; during a look, the earliest named since
    /// it began.
    next: Option<Instant>,
    closing: bool,
}

const ASLEEP: Warden = Warden {
    thread: None,
    next: None,
    closing: false,
};

static WARDEN: Mutex<Warden> = Mutex::new(ASLEEP);

impl Warden {
    /// By the thread's own token, which a fork leaves behind. A condition variable would remember
    /// the parent's warden in the child, and wake that one.
    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

/// Makes sure there is a warden.
pub fn start(look: Look) -> io::Result<()> {
    let mut warden = WARDEN.lock();
    if warden.thread.is_none() {
        warden.thread = Some(spawn("subpool-warden", move || watch(look))?);
    }
    Ok(())
}

/// Has the warden look at `at`, or earlier.
pub fn wake_by(at: Instant) {
    let mut warden = WARDEN.lock();
    if warden.next.is_none_or(|next| at < next) {
        warden.next = Some(at);
        warden.wake();
    }
}

/// Ends the warden, and gives its thread to wait for.
#[must_use]
pub fn stop() -> Option<Joinable> {
    let mut warden = WARDEN.lock();
    warden.closing = true;
    warden.wake();
    warden.thread.take()
}

/// The child of a fork has no warden.
///
/// # Safety
/// Called in the child, before it has a second thread.
pub unsafe fn forget_after_fork() {
    // SAFETY: as in completer.rs.
    unsafe {
        if WARDEN.is_locked() {
            WARDEN.force_unlock();
        }
        std::ptr::write(WARDEN.data_ptr(), ASLEEP);
    }
}

fn watch(look: Look) {
    loop {
        let mut warden = WARDEN.lock();
        if warden.closing {
            return;
        }
        let now = Instant::now();
        match warden.next {
            Some(at) if at <= now => {
                // What is named from here on is kept: the look may have been past its place.
                warden.next = None;
                drop(warden);
                if let Some(next) = look(now) {
                    wake_by(next);
                }
            }
            // A wake-up that comes before the sleep ends it.
            Some(at) => {
                drop(warden);
                thread::park_timeout(at - now);
            }
            None => {
                drop(warden);
                thread::park();
            }
        }
    }
}
