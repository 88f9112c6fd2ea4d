//! When a worker that may run only so many tasks has another made ready, and when it leaves.
//!
//! Guarantees: `last` comes with the last task it may run; `prepare` comes once, no later.
//! Not guaranteed: that the time between the two is enough; it is estimated.

use std::time::{Duration, Instant};

/// What a worker has run and may run.
pub struct Mileage {
    /// Tasks until the next look, that one included.
    until: u64,
    /// How many lie between the last look and the next.
    span: u64,
    /// Tasks that have begun, at the last look.
    begun: u64,
    most: u64,
    ready: Instant,
    /// How long it took to get this worker ready; the next one will take as long.
    making: Duration,
    prepared: bool,
}

/// What is due as a task begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Have another worker made ready: so many tasks are left, this one included.
    pub prepare: Option<u64>,
    /// This task is the last.
    pub last: bool,
}

impl Default for Mileage {
    /// Without a limit.
    fn default() -> Self {
        Self::new(None, Duration::ZERO)
    }
}

impl Mileage {
    #[must_use]
    pub fn new(most: Option<u64>, making: Duration) -> Self {
        let first = most.map_or(u64::MAX, |_| 1);
        Self {
            until: first,
            span: first,
            begun: 0,
            most: most.unwrap_or(u64::MAX),
            ready: Instant::now(),
            making,
            prepared: false,
        }
    }

    /// A task begins. True: have a look.
    #[inline]
    #[must_use]
    pub const fn begin(&mut self) -> bool {
        self.until -= 1;
        self.until == 0
    }

    /// The last task has begun: whatever else is found, the worker leaves after it.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.begun == self.most
    }

    #[cold]
    #[must_use]
    pub fn look(&mut self, now: Instant) -> Due {
        let before = self.begun + self.span - 1;
        self.begun += self.span;
        let left = self.most - before; // this one included
        let last = left == 1;
        let few = left - 1 <= self.most / 8;
        // With the time that it had nothing to do, so maybe too much; then `few` decides.
        let each = now.saturating_duration_since(self.ready).as_secs_f64() / before as f64;
        let soon = before > 0 && each * left as f64 <= 2.0 * self.making.as_secs_f64();
        let prepare = (!self.prepared && (few || soon)).then_some(left);
        self.prepared |= prepare.is_some();
        let far = if self.prepared {
            left - 1
        } else if before == 0 {
            self.most / 8
        } else {
            left / 2
        };
        // Once it has come to its last task nobody asks again.
        self.span = far.clamp(1, (left - 1).max(1));
        self.until = self.span;
        Due { prepare, last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At which task another was to be made ready, and which was the last, if each takes `each`.
    fn run(most: u64, each: Duration, making: Duration) -> (u64, u64) {
        let mut mileage = Mileage::new(Some(most), making);
        let (mut prepared, start) = (Vec::new(), mileage.ready);
        for task in 1.. {
            if !mileage.begin() {
                continue;
            }
            let due = mileage.look(start + each * u32::try_from(task - 1).unwrap());
            if let Some(left) = due.prepare {
                assert_eq!(left, most - task + 1);
                prepared.push(task);
            }
            assert_eq!(due.last, mileage.is_over());
            if due.last {
                assert_eq!(prepared.len(), 1);
                return (prepared[0], task);
            }
        }
        unreachable!()
    }

    #[test]
    fn the_last_task_is_the_last() {
        for most in 1..200 {
            for each in [
                Duration::ZERO,
                Duration::from_micros(50),
                Duration::from_secs(1),
            ] {
                let (prepared, last) = run(most, each, Duration::from_millis(15));
                assert_eq!(last, most);
                assert!(prepared <= last);
            }
        }
    }

    #[test]
    fn long_tasks_do_not_have_it_made_ready_early() {
        let (prepared, _) = run(1000, Duration::from_secs(1), Duration::from_millis(15));
        assert!((875..1000).contains(&prepared), "{prepared}");
    }

    #[test]
    fn short_ones_have() {
        let (prepared, _) = run(1000, Duration::from_micros(1), Duration::from_millis(15));
        assert!(prepared < 200, "{prepared}");
    }

    #[test]
    fn without_a_limit_nothing_is_due() {
        let mut mileage = Mileage::new(None, Duration::ZERO);
        assert!((0..100_000).all(|_| !mileage.begin()));
        assert!(!mileage.is_over());
    }
}
