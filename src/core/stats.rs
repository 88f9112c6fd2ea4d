//! Counters of a pool, and the rule by which it grows.
//!
//! Guarantees: every counted task is counted once in and once out. Not guaranteed: that several
//! counters read together belong to the same moment.

use super::sync::{AtomicU64, AtomicUsize, Ordering};

#[derive(Debug, Default)]
pub struct Stats {
    /// Accepted and not yet ended, queued or running.
    outstanding: AtomicUsize,
    ended: AtomicU64,
}

impl Stats {
    /// Counts tasks in; gives how many are outstanding with them.
    pub fn accepted(&self, tasks: usize) -> usize {
        // Relaxed: a count, it publishes nothing; the tasks themselves travel through the queue.
        self.outstanding.fetch_add(tasks, Ordering::Relaxed) + tasks
    }

    /// Counts a task out. Called before its end is announced, so that a submitter that has seen
    /// the end does not count the task, and start a worker it does not need.
    pub fn ended(&self) {
        // Relaxed: the release in `State::finish`, which follows, carries both counts to whoever
        // acquires the end.
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.outstanding.fetch_sub(1, Ordering::Relaxed);
    }

    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn ended_total(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }
}

/// Whether another worker would find something to do.
#[must_use]
pub const fn should_grow(outstanding: usize, workers: usize, most: usize) -> bool {
    workers < most && outstanding > workers
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_pool_grows_with_its_work_and_no_further() {
        assert!(should_grow(1, 0, 2));
        assert!(!should_grow(1, 1, 2));
        assert!(should_grow(2, 1, 2));
        assert!(!should_grow(9, 2, 2));
    }

    #[test]
    fn tasks_are_counted_in_and_out() {
        let stats = Stats::default();
        assert_eq!(stats.accepted(1), 1);
        assert_eq!(stats.accepted(2), 3);
        stats.ended();
        assert_eq!((stats.outstanding(), stats.ended_total()), (2, 1));
    }
}
