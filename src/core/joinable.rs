//! Threads whose end is a latch, so that who waits for it can hear signals meanwhile.
//!
//! Guarantees: the latch ends with the thread's body, also by a panic; `join` after that waits for
//! the thread's last steps only, in which nothing of ours runs.

use super::latch::Latch;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle, Thread};

/// A thread, and the latch of its end.
pub struct Joinable {
    handle: JoinHandle<()>,
    pub ended: Arc<Latch>,
}

/// Ends the latch however the body ends.
struct Ending(Arc<Latch>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.fire();
    }
}

/// Starts a thread of that name.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<Joinable> {
    let ended = Arc::new(Latch::new());
    let ending = Ending(Arc::clone(&ended));
    let handle = thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _ending = ending;
            body();
        })?;
    Ok(Joinable { handle, ended })
}

impl Joinable {
    #[must_use]
    pub fn thread(&self) -> &Thread {
        self.handle.thread()
    }

    /// Waits for the thread. Its panic is printed already, and nobody could do more about it.
    pub fn join(self) {
        drop(self.handle.join());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_latch_ends_with_the_thread_also_by_a_panic() {
        for panics in [false, true] {
            let thread = spawn("joinable", move || assert!(!panics, "as it should")).unwrap();
            let ended = Arc::clone(&thread.ended);
            thread.join();
            assert!(ended.state.phase().is_done());
        }
    }
}
