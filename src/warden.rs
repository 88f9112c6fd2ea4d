//! The warden: one thread per process that sees to what is due at some time.
//!
//! Guarantees: what `wake_by` names is looked at by then, or as soon after as the system lets a
//! thread run; a time later than the next look costs its caller a lock and no more.
//! Not guaranteed: that a look finds anything: a task with a time limit mostly ends before it.
//!
//! It knows no pool. `start` is given what to call, which does what is due and tells when to come
//! again; and whoever makes something due earlier calls `wake_by` after that can be found.

use crate::core::alarm::{Alarm, Turn};
use crate::core::joinable::{Joinable, spawn};
use parking_lot::Mutex;
use std::io;
use std::thread;
use std::time::Instant;

/// Does what is due at that time, and gives the next.
pub type Look = fn(Instant) -> Option<Instant>;

struct Warden {
    thread: Option<Joinable>,
    /// What it was started with; then who names a time starts it if need be.
    look: Option<Look>,
    alarm: Alarm,
    /// The thread ends for a fork.
    resting: bool,
    /// It ends for ever.
    ended: bool,
}

const ASLEEP: Warden = Warden {
    thread: None,
    look: None,
    alarm: Alarm::new(),
    resting: false,
    ended: false,
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
            && !self.ended
            && !self.resting
        {
            self.thread = Some(spawn("subpool-warden", move || watch(look))?);
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
    if warden.alarm.wake_by(at) {
        warden.wake();
        // After a fork there may be none. No thread to be had: the next one to name a time tries.
        let _ = warden.come();
    }
}

/// Ends the warden, and gives its thread to wait for.
#[must_use]
pub fn stop() -> Option<Joinable> {
    let mut warden = WARDEN.lock();
    warden.alarm.close();
    warden.ended = true;
    warden.wake();
    warden.thread.take()
}

/// Ends the warden's thread for a fork, and waits for that. What is due is kept, unless `nothing`
/// can be. On a thread that is attached to nothing.
pub fn rest(nothing: bool) {
    let thread = {
        let mut warden = WARDEN.lock();
        warden.resting = true;
        warden.wake();
        warden.thread.take()
    };
    if let Some(thread) = thread {
        thread.join();
    }
    let mut warden = WARDEN.lock();
    warden.resting = false;
    if nothing && !warden.ended {
        warden.alarm = Alarm::new();
    }
}

/// Has it go on after that, if something is due.
pub fn go_on() {
    let mut warden = WARDEN.lock();
    if warden.alarm.is_set() {
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
        let now = Instant::now();
        let turn = {
            let mut warden = WARDEN.lock();
            match warden.resting {
                true => Turn::End,
                false => warden.alarm.turn(now),
            }
        };
        match turn {
            Turn::End => return,
            Turn::Look => {
                if let Some(next) = look(now) {
                    wake_by(next);
                }
            }
            // A wake-up that comes before the sleep ends it.
            Turn::Sleep(Some(time)) => thread::park_timeout(time),
            Turn::Sleep(None) => thread::park(),
        }
    }
}
