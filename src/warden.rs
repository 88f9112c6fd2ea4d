//! The warden: one thread per process that sees to what is due at some time.
//!
//! Guarantees: what `wake_by` names is looked at by then, or as soon after as the system lets a
//! thread run; a time later than the next look costs its caller a lock and no more.
//! Not guaranteed: that a look finds anything: a task with a time limit mostly ends before it.
//!
//! It knows no pool. `start` is given what to call, which does what is due and tells when to come
//! again; and whoever makes something due earlier calls `wake_by` after that can be found.

use parking_lot::Mutex;
use std::io;
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// Does what is due at that time, and gives the next.
pub type Look = fn(Instant) -> Option<Instant>;

struct Warden {
    thread: Option<JoinHandle<()>>,
    /// What it was started with; then who names a time starts it if need be.
    look: Option<Look>,
    /// When to look. `None`: when somebody names a time; during a look, the earliest named since
    /// it began.
    next: Option<Instant>,
    closing: bool,
    /// The thread ends for a fork.
    resting: bool,
}

const ASLEEP: Warden = Warden {
    thread: None,
    look: None,
    next: None,
    closing: false,
    resting: false,
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

    fn come(&mut self) -> io::Result<()> {
        if let Some(look) = self.look
            && self.thread.is_none()
            && !self.closing
            && !self.resting
        {
            let thread = thread::Builder::new().name("subpool-warden".to_owned());
            self.thread = Some(thread.spawn(move || watch(look))?);
        }
        Ok(())
    }
}

/// Makes sure there is a warden.
pub fn start(look: Look) -> io::Result<()> {
    let mut warden = WARDEN.lock();
    warden.look = Some(look);
    warden.come()
}

/// Has the warden look at `at`, or earlier.
pub fn wake_by(at: Instant) {
    let mut warden = WARDEN.lock();
    if warden.next.is_none_or(|next| at < next) {
        warden.next = Some(at);
        warden.wake();
        // After a fork there may be none. No thread to be had: the next one to name a time tries.
        let _ = warden.come();
    }
}

/// Ends the warden, and gives its thread to wait for.
#[must_use]
pub fn stop() -> Option<JoinHandle<()>> {
    let mut warden = WARDEN.lock();
    warden.closing = true;
    warden.wake();
    warden.thread.take()
}

/// Ends the warden's thread for a fork, and waits for that; what is due is kept. On a thread that is
/// attached to nothing.
pub fn rest() {
    let thread = {
        let mut warden = WARDEN.lock();
        warden.resting = true;
        warden.wake();
        warden.thread.take()
    };
    if let Some(thread) = thread {
        // A panic there is already printed.
        drop(thread.join());
    }
    WARDEN.lock().resting = false;
}

/// Has it go on after that, if something is due.
pub fn go_on() {
    let mut warden = WARDEN.lock();
    if warden.next.is_some() {
        // As in `wake_by`.
        let _ = warden.come();
    }
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
        if warden.closing || warden.resting {
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
