//! Who sleeps in a call of ours, and how others get them out of it for another reason than the one
//! they sleep for: something was set for them that they find nowhere but outside of that call.
//!
//! Guarantees: who entered with a look, and sleeps, has seen what was set before the look, or is
//! disturbed; a disturbance of a thread that rests reaches it, and it never blocks.
//! Not guaranteed: that there is anything for a thread that was disturbed. It looks, and may rest
//! again.
//!
//! `PROTOCOL.md`, "Shared things", has the argument.

use super::sync::{Arc, AtomicU64, Brief, Ordering};

/// What a thread may be disturbed in.
pub trait Disturb: Send + Sync {
    fn disturb(&self);
}

struct Resting {
    number: u64,
    thread: u64,
    what: Arc<dyn Disturb>,
}

#[derive(Default)]
pub struct All {
    last: u64,
    resting: Vec<Resting>,
}

impl All {
    #[must_use]
    pub const fn none() -> Self {
        Self {
            last: 0,
            resting: Vec::new(),
        }
    }
}

pub struct Rests(Brief<All>);

impl Rests {
    #[must_use]
    pub const fn of(all: Brief<All>) -> Self {
        Self(all)
    }

    /// That thread, the calling one, may be disturbed from now on.
    #[must_use]
    pub fn enter(&self, thread: u64, what: Arc<dyn Disturb>) -> Rest<'_> {
        let mut all = self.0.lock();
        all.last += 1;
        let number = all.last;
        all.resting.push(Resting {
            number,
            thread,
            what,
        });
        Rest {
            rests: self,
            number,
            thread: AtomicU64::new(thread),
        }
    }

    /// The same for who will sleep. It looks for what was set before: whoever sets something later
    /// finds it.
    pub fn enter_and_look<E>(
        &self,
        thread: u64,
        what: Arc<dyn Disturb>,
        look: impl FnOnce() -> Result<(), E>,
    ) -> Result<Rest<'_>, E> {
        let rest = self.enter(thread, what);
        look()?;
        Ok(rest)
    }

    /// Gets that thread out of what it rests in. After something was set for it.
    pub fn disturb(&self, thread: u64) {
        for resting in &self.0.lock().resting {
            if resting.thread == thread {
                resting.what.disturb();
            }
        }
    }
}

/// The time in which a thread can be disturbed.
pub struct Rest<'a> {
    rests: &'a Rests,
    number: u64,
    /// As in the list; written under its lock.
    thread: AtomicU64,
}

impl Rest<'_> {
    /// From now on for that thread, the calling one, which rests there in the place of the one
    /// before.
    pub fn follow(&self, thread: u64) {
        // Relaxed, here and below: who sees another's number goes by the list's lock.
        if self.thread.load(Ordering::Relaxed) == thread {
            return;
        }
        let mut all = self.rests.0.lock();
        if let Some(own) = all.resting.iter_mut().find(|it| it.number == self.number) {
            own.thread = thread;
        }
        self.thread.store(thread, Ordering::Relaxed);
    }
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        let ended = {
            let mut all = self.rests.0.lock();
            let place = all.resting.iter().position(|it| it.number == self.number);
            place.map(|place| all.resting.swap_remove(place))
        };
        drop(ended);
    }
}

#[cfg(not(loom))]
impl Rests {
    /// Keeps others out until `end_fork`.
    pub fn hold_for_fork(&self) {
        std::mem::forget(self.0.lock());
    }

    /// # Safety
    /// The calling thread has called `hold_for_fork`; in the child of the fork, where it is
    /// `child`, or in the parent.
    pub unsafe fn end_fork(&self, child: Option<u64>) {
        // SAFETY: held by this thread, by the contract.
        unsafe { self.0.force_unlock() };
        if let Some(own) = child {
            let mut all = self.0.lock();
            let (kept, others): (Vec<_>, Vec<_>) = std::mem::take(&mut all.resting)
                .into_iter()
                .partition(|it| it.thread == own);
            all.resting = kept;
            // What threads of the parent sleep in.
            std::mem::forget(others);
        }
    }
}
