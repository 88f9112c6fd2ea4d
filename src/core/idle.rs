//! How long to look before going to sleep.
//!
//! To be woken costs a sleeper some 50 µs on Linux and its waker a system call, so a look is worth
//! it when the next event is near, and a waste when it is not. `Patience` learns which from the
//! waits before. Guarantees: a look ends; after a few waits that no look would have caught it lasts
//! no time, so whoever waits for rare events spends nothing on looking; and every wait teaches, the
//! slept ones too, so looking begins again as soon as it would pay.
//!
//! Looking takes a core. `Awake` counts, over all pools of the process, who works or looks, and
//! those who wait for a result look only while there is a core for them: on a core that a worker
//! could use, looking for that worker's answer only delays it. The count is advice: nothing relies
//! on it, and it is a little late.

use super::sync::{Ordering, StaticCount};
use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The longest look: a little more than a sleep and a wake-up take, so that two who wait for each
/// other in turn and have both fallen asleep find out that they need not.
pub const LONGEST: Duration = Duration::from_micros(60);

/// The first look after none. A shorter one is none.
const SHORTEST: Duration = Duration::from_micros(8);

/// Turns between two looks at the clock, itself some 25 ns.
#[cfg(not(loom))]
const TURNS_PER_LOOK: u32 = 16;

/// A moment that fits into an atomic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(u64);

impl Moment {
    #[must_use]
    pub fn now() -> Self {
        static BEGIN: OnceLock<Instant> = OnceLock::new();
        let passed = BEGIN.get_or_init(Instant::now).elapsed();
        // 584 years.
        Self(u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX))
    }

    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// What one waiter has learnt about the worth of its looks.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    limit: Duration,
    /// When the wait began.
    begin: Moment,
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
            begin: Moment(0),
        }
    }

    /// A wait begins: calls `ready` until it gives something or the patience is at its end.
    pub fn look<T>(&mut self, ready: impl FnMut() -> Option<T>) -> Option<T> {
        self.begin = Moment::now();
        if self.limit.is_zero() {
            return None;
        }
        let found = look(self.begin, self.limit, ready);
        if found.is_some() {
            self.learn(true);
        }
        found
    }

    /// A wait begins without a look.
    pub fn skip(&mut self) {
        self.begin = Moment::now();
    }

    /// The wait went on asleep, and what it was for came at `end`.
    pub fn slept(&mut self, end: Moment) {
        self.learn(end.since(self.begin) <= LONGEST);
    }

    /// Whether the longest look would have been long enough.
    fn learn(&mut self, near: bool) {
        self.limit = match near {
            true => (self.limit * 2).clamp(SHORTEST, LONGEST),
            false if self.limit > SHORTEST => self.limit / 2,
            false => Duration::ZERO,
        };
    }
}

#[cfg(not(loom))]
fn look<T>(begin: Moment, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    loop {
        for _ in 0..TURNS_PER_LOOK {
            if let Some(found) = ready() {
                return Some(found);
            }
            std::hint::spin_loop();
        }
        if Moment::now().since(begin) >= limit {
            return None;
        }
    }
}

/// One turn: the checker tries every moment for it, and cannot follow a loop that waits.
#[cfg(loom)]
fn look<T>(_: Moment, _: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    ready()
}

/// Threads that work or look.
static AWAKE: StaticCount = StaticCount::new(0);

/// One of them, for as long as this lives.
#[derive(Debug)]
pub struct Awake(());

impl Awake {
    #[must_use]
    pub fn new() -> Self {
        // Relaxed, here and below: a count that nothing is read by.
        AWAKE.fetch_add(1, Ordering::Relaxed);
        Self(())
    }

    /// `None`: each core has somebody to keep it busy.
    fn if_there_is_room() -> Option<Self> {
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
    }
}

/// CPUs this process may use, asked once.
#[must_use]
pub fn cpus() -> usize {
    static CPUS: OnceLock<usize> = OnceLock::new();
    *CPUS.get_or_init(|| std::thread::available_parallelism().map_or(1, Into::into))
}

/// The wait of a thread that is no worker, with the patience it has learnt.
#[derive(Debug)]
pub struct Wait(Patience);

thread_local! {
    static PATIENCE: Cell<Patience> = const { Cell::new(Patience::new()) };
}

impl Wait {
    /// Looks, if there is a core for it.
    pub fn look<T>(ready: impl FnMut() -> Option<T>) -> Result<T, Self> {
        let mut patience = PATIENCE.get();
        let found = match Awake::if_there_is_room() {
            Some(_awake) => patience.look(ready),
            None => {
                patience.skip();
                None
            }
        };
        PATIENCE.set(patience);
        found.ok_or(Self(patience))
    }

    /// It slept, and what it waited for came at `end`.
    pub fn slept(mut self, end: Moment) {
        self.0.slept(end);
        PATIENCE.set(self.0);
    }
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

    fn turns(patience: &mut Patience) -> usize {
        let mut turns = 0;
        let _ = patience.look(|| {
            turns += 1;
            None::<()>
        });
        turns
    }

    fn wait(patience: &mut Patience, length: Duration) {
        patience.begin = Moment(0);
        patience.slept(Moment(u64::try_from(length.as_nanos()).unwrap()));
    }

    #[test]
    fn long_waits_end_the_looks_and_short_ones_bring_them_back() {
        let mut patience = Patience::new();
        for _ in 0..8 {
            wait(&mut patience, LONGEST * 2);
        }
        assert_eq!(turns(&mut patience), 0);
        wait(&mut patience, LONGEST);
        assert!(turns(&mut patience) > 0);
        for _ in 0..8 {
            wait(&mut patience, SHORTEST);
        }
        assert_eq!(patience.limit, LONGEST);
    }

    #[test]
    fn waiters_do_not_look_when_every_core_is_taken() {
        let _workers: Vec<_> = (0..cpus()).map(|_| Awake::new()).collect();
        let mut turns = 0;
        let _ = Wait::look(|| {
            turns += 1;
            None::<()>
        });
        assert_eq!(turns, 0);
    }
}
