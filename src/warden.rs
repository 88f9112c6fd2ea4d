//! The warden: one thread per process that sees to what is due at some time.
//!
//! Guarantees: what `wake_by` names is looked at by then, or as soon after as the system lets a
//! thread run; a time later than the next look costs its caller a lock and no more.
//! Not guaranteed: that a look finds anything: a task with a time limit mostly ends before it.
//!
//! It knows no pool. `start` is given what to call, which does what is due and tells when to come
//! again; and whoever makes something due earlier calls `wake_by` after that can be found.

use parking_lot::{Condvar, Mutex, MutexGuard};
use std::io;
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// Does what is due at that time, and gives the next.
pub type Look = fn(Instant) -> Option<Instant>;

struct Warden {
    thread: Option<JoinHandle<()>>,
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
static BELL: Condvar = Condvar::new();

/// Makes sure there is a warden.
pub fn start(look: Look) -> io::Result<()> {
    let mut warden = WARDEN.lock();
    if warden.thread.is_none() {
        let thread = thread::Builder::new().name("subpool-warden".to_owned());
        warden.thread = Some(thread.spawn(move || watch(look))?);
    }
    Ok(())
}

/// Has the warden look at `at`, or earlier.
pub fn wake_by(at: Instant) {
    let mut warden = WARDEN.lock();
    if warden.next.is_none_or(|next| at < next) {
        warden.next = Some(at);
        BELL.notify_one();
    }
}

/// Ends the warden, and gives its thread to wait for.
#[must_use]
pub fn stop() -> Option<JoinHandle<()>> {
    let mut warden = WARDEN.lock();
    let thread = warden.thread.take()?;
    warden.closing = true;
    BELL.notify_one();
    Some(thread)
}

/// The child of a fork has no warden.
///
/// # Safety
/// Called in the child, before it has a second thread.
pub unsafe fn forget_after_fork() {
    // SAFETY: as in completer.rs. Nobody waits at the bell: its word is of no thread here.
    unsafe {
        if WARDEN.is_locked() {
            WARDEN.force_unlock();
        }
        std::ptr::write(WARDEN.data_ptr(), ASLEEP);
    }
}

fn watch(look: Look) {
    let mut warden = WARDEN.lock();
    while !warden.closing {
        let now = Instant::now();
        match warden.next {
            None => BELL.wait(&mut warden),
            Some(at) if at > now => {
                BELL.wait_until(&mut warden, at);
            }
            Some(_) => {
                // What is named from here on is kept, since the look may have been past its place.
                warden.next = None;
                let next = MutexGuard::unlocked(&mut warden, || look(now));
                warden.next = match (warden.next, next) {
                    (Some(named), Some(found)) => Some(named.min(found)),
                    (named, found) => named.or(found),
                };
            }
        }
    }
}
