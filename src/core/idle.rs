//! How long to look before going to sleep.
//!
//! To be woken costs a sleeper 10 to 50 µs on Linux and its waker a system call, so a look is worth
//! it when the next event is near, and a waste when it is not. `Patience` learns which from the
//! looks before. Guarantees: a look ends; after some looks in vain it lasts no time, but for one in
//! `PROBE`, so whoever waits for rare events spends next to nothing on looking, and learns within
//! `PROBE` waits that looking has begun to pay.
//!
//! Looking takes a core. `Awake` counts, over all pools of the process, who works or looks, and
//! those who wait for a result look only while there is a core for them: on a core that a worker
//! could use, looking for that worker's answer only delays it. The count is advice: nothing relies
//! on it, and it is a little late.

use super::sync::{Ordering, StaticCount};
use std::cell::Cell;
use std::sync::OnceLock;
use std::time::Duration;
#[cfg(not(loom))]
use std::time::Instant;

/// The longest look: a little more than a sleep and a wake-up take, so that two who wait for each
/// other in turn and have both fallen asleep find out that they need not.
pub const LONGEST: Duration = Duration::from_micros(60);

/// A shorter look than this is none.
const SHORTEST: Duration = Duration::from_micros(4);

/// One wait in so many has a look, and the longest, when the looks before were in vain.
const PROBE: u32 = 16;

/// Turns between two looks at the clock, itself some 25 ns.
#[cfg(not(loom))]
const TURNS_PER_LOOK: u32 = 16;

/// What one waiter has learnt about the worth of its looks.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    limit: Duration,
    /// Waits without a look since the last one.
    skipped: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self::new()
    }
}

impl Patience {
    #[must_use]
    pub const fn new() -> Self {
        Self {
            limit: LONGEST,
            skipped: 0,
        }
    }

    /// Calls `ready` until it gives something or the patience is at its end.
    pub fn look<T>(&mut self, ready: impl FnMut() -> Option<T>) -> Option<T> {
        let limit = self.next_limit();
        if limit.is_zero() {
            return None;
        }
        let found = look(limit, ready);
        self.learn(found.is_some());
        found
    }

    fn next_limit(&mut self) -> Duration {
        if !self.limit.is_zero() {
            return self.limit;
        }
        self.skipped += 1;
        if self.skipped < PROBE {
            return Duration::ZERO;
        }
        self.skipped = 0;
        LONGEST
    }

    fn learn(&mut self, paid: bool) {
        self.limit = match (paid, self.limit.is_zero()) {
            // A probe paid.
            (true, true) => LONGEST,
            (true, false) => (self.limit * 2).min(LONGEST),
            (false, _) if self.limit > SHORTEST => self.limit / 2,
            (false, _) => Duration::ZERO,
        };
    }
}

#[cfg(not(loom))]
fn look<T>(limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    loop {
        for _ in 0..TURNS_PER_LOOK {
            if let Some(found) = ready() {
                return Some(found);
            }
            std::hint::spin_loop();
        }
        if begin.elapsed() >= limit {
            return None;
        }
    }
}

/// One turn: the checker tries every moment for it, and cannot follow a loop that waits.
#[cfg(loom)]
fn look<T>(_: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    ready()
}

/// Threads that work or look.
static AWAKE: StaticCount = StaticCount::new(0);

/// One of them, for as long as this lives.
#[derive(Debug)]
pub struct Awake(());

impl Awake {
    /// For the calling thread, which drops it, too.
    #[must_use]
    pub fn new() -> Self {
        // Relaxed, here and below: a count that nothing is read by.
        AWAKE.fetch_add(1, Ordering::Relaxed);
        COUNTED.set(COUNTED.get() + 1);
        Self(())
    }

    /// `None`: each core has somebody to keep it busy.
    fn if_there_is_room() -> Option<Self> {
        COUNTED.set(COUNTED.get() + 1);
        let one = Self(());
        (AWAKE.fetch_add(1, Ordering::Relaxed) < cpus()).then_some(one)
    }
}

impl Default for Awake {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        AWAKE.fetch_sub(1, Ordering::Relaxed);
        COUNTED.set(COUNTED.get() - 1);
    }
}

thread_local! {
    /// How often the thread is counted in `AWAKE`.
    static COUNTED: Cell<u32> = const { Cell::new(0) };
}

/// The time in which a thread that is awake waits for others: it keeps no core busy.
#[derive(Debug)]
pub struct AtRest(bool);

impl AtRest {
    #[must_use]
    pub fn new() -> Self {
        let counted = COUNTED.get() > 0;
        if counted {
            AWAKE.fetch_sub(1, Ordering::Relaxed);
        }
        Self(counted)
    }
}

impl Default for AtRest {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for AtRest {
    fn drop(&mut self) {
        if self.0 {
            AWAKE.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The child of a fork has none of its parent's workers.
pub fn forget_after_fork() {
    AWAKE.store(0, Ordering::Relaxed);
}

/// CPUs this process may use, asked once.
#[must_use]
pub fn cpus() -> usize {
    static CPUS: OnceLock<usize> = OnceLock::new();
    *CPUS.get_or_init(|| std::thread::available_parallelism().map_or(1, Into::into))
}

/// The look of a thread that is no worker, with the patience it has learnt.
pub fn look_if_there_is_room<T>(ready: impl FnMut() -> Option<T>) -> Option<T> {
    thread_local! {
        static PATIENCE: Cell<Patience> = const { Cell::new(Patience::new()) };
    }
    let _awake = Awake::if_there_is_room()?;
    let mut patience = PATIENCE.get();
    let found = patience.look(ready);
    PATIENCE.set(patience);
    found
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_look_ends_with_what_it_found() {
        let mut turns = 0;
        let found = Patience::new().look(|| {
            turns += 1;
            (turns == 3).then_some(turns)
        });
        assert_eq!(found, Some(3));
    }

    fn looked(patience: &mut Patience) -> bool {
        let mut looked = false;
        let _ = patience.look(|| {
            looked = true;
            None::<()>
        });
        looked
    }

    #[test]
    fn looks_in_vain_get_shorter_and_cease_but_for_a_probe() {
        let mut patience = Patience::new();
        while !patience.limit.is_zero() {
            let before = patience.limit;
            assert!(looked(&mut patience));
            assert!(patience.limit < before);
        }
        let probes = (0..10 * PROBE).filter(|_| looked(&mut patience));
        assert_eq!(probes.count(), 10);
    }

    #[test]
    fn a_probe_that_pays_restores_the_whole_patience() {
        let mut patience = Patience {
            limit: Duration::ZERO,
            skipped: PROBE - 1,
        };
        assert_eq!(patience.look(|| Some(1)), Some(1));
        assert_eq!(patience.limit, LONGEST);
    }

    #[test]
    fn waiters_do_not_look_when_every_core_is_taken() {
        let _workers: Vec<_> = (0..cpus()).map(|_| Awake::new()).collect();
        let mut turns = 0;
        let _ = look_if_there_is_room(|| {
            turns += 1;
            None::<()>
        });
        assert_eq!(turns, 0);
        // A worker that waits leaves its own.
        let _waits = AtRest::new();
        assert_eq!(look_if_there_is_room(|| Some(1)), Some(1));
    }
}
