//! The way to a thread that can be interrupted: one helper thread, made when it is first needed.
//!
//! Guarantees: a ring of a reach that is open makes the helper act once more after it, unless the
//! reach is closed meanwhile; there is one helper at most; after `close` none is made, and the one
//! there was ends, which its caller waits for.

use super::sync::{Arc, AtomicBool, Mutex, Ordering, thread};
use std::io;

/// `H` is what a helper needs to know of the place that it goes to.
pub struct Reach<H>(Mutex<Stage<H>>);

enum Stage<H> {
    /// Nobody there.
    Closed,
    Open(Arc<H>),
    Helped(Helper),
}

struct Helper {
    thread: thread::JoinHandle<()>,
    bell: Arc<Bell>,
}

/// What a helper sleeps for.
#[derive(Debug)]
pub struct Bell {
    rung: AtomicBool,
    closing: AtomicBool,
}

impl Bell {
    /// The helper's life: `act` once or more after each ring.
    pub fn heed(&self, mut act: impl FnMut()) {
        // Acquire, twice: pairs with the releases in `ring` and in `close`.
        while !self.closing.load(Ordering::Acquire) {
            if self.rung.swap(false, Ordering::Acquire) {
                act();
            } else {
                thread::park();
            }
        }
    }
}

impl<H> Default for Reach<H> {
    fn default() -> Self {
        Self(Mutex::new(Stage::Closed))
    }
}

impl<H: Send + Sync + 'static> Reach<H> {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn open(&self, host: H) {
        *self.0.lock() = Stage::Open(Arc::new(host));
    }

    /// Wakes the helper, and makes it if there is none, with `help` to do.
    pub fn ring(&self, help: impl FnOnce(&H, &Bell) + Send + 'static) -> io::Result<()> {
        let mut stage = self.0.lock();
        match &*stage {
            Stage::Closed => {}
            Stage::Helped(helper) => {
                // Release: pairs with the acquire in `heed`, which then finds what was marked. A
                // swap, as there: so all changes are one chain, also to the checker.
                helper.bell.rung.swap(true, Ordering::Release);
                helper.thread.thread().unpark();
            }
            Stage::Open(host) => {
                let bell = Arc::new(Bell {
                    rung: AtomicBool::new(true),
                    closing: AtomicBool::new(false),
                });
                let (host, own) = (Arc::clone(host), Arc::clone(&bell));
                let thread = thread::Builder::new()
                    .name("subpool-helper".to_owned())
                    .spawn(move || help(&host, &own))?;
                *stage = Stage::Helped(Helper { thread, bell });
            }
        }
        Ok(())
    }

    /// Ends the helper, and gives its thread to wait for.
    #[must_use]
    pub fn close(&self) -> Option<thread::JoinHandle<()>> {
        let stage = std::mem::replace(&mut *self.0.lock(), Stage::Closed);
        let Stage::Helped(helper) = stage else {
            return None;
        };
        // Release: pairs with the acquire in `heed`.
        helper.bell.closing.store(true, Ordering::Release);
        helper.thread.thread().unpark();
        Some(helper.thread)
    }
}
