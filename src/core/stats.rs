//! Counters of a pool, and the rule by which it grows.
//!
//! Guarantees: every counted task is counted once in and once out. Not guaranteed: that several
//! counters read together belong to the same moment.

use super::sync::{AtomicUsize, CachePadded, Ordering, fence};

/// Two counts that only grow, one for each side: the submitter's writes do not take the line away
/// from the workers, nor theirs from the submitter, who reads both only to see whether to grow.
#[derive(Debug, Default)]
pub struct Stats {
    accepted: CachePadded<AtomicUsize>,
    ended: CachePadded<AtomicUsize>,
}

impl Stats {
    /// Counts tasks in.
    pub fn accepted(&self, tasks: usize) {
        // Relaxed: a count, it publishes nothing; the tasks themselves travel through the queue.
        self.accepted.fetch_add(tasks, Ordering::Relaxed);
    }

    /// Counts a task out. Called before its end is announced, so that a submitter that has seen
    /// the end does not count the task, and start a worker it does not need.
    pub fn ended(&self) {
        // Release: pairs with the acquire in `outstanding`.
        self.ended.fetch_add(1, Ordering::Release);
    }

    /// Counts tasks out that were counted in and not accepted after all.
    pub fn taken_back(&self, tasks: usize) {
        // Relaxed: see `accepted`. `ended` does not count them, so it stays the smaller one.
        self.accepted.fetch_sub(tasks, Ordering::Relaxed);
    }

    /// Accepted and not yet ended, queued or running.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        // Acquire: whoever counts a task out has counted it in or got it from a thread that did,
        // so with each end its beginning is seen, and the difference is not below zero.
        let ended = self.ended.load(Ordering::Acquire);
        self.accepted.load(Ordering::Relaxed) - ended
    }

    #[must_use]
    pub fn accepted_total(&self) -> usize {
        // Relaxed, here and below: a figure to show, of no certain moment.
        self.accepted.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn ended_total(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }
}

/// How many workers a pool has, readable without the lock under which it changes.
///
/// Guarantees: of a submitter that counts a task in, queues it and asks `wants_another`, and a
/// worker that leaves by `shrink` meanwhile, at least one learns of the other.
#[derive(Debug, Default)]
pub struct Width(AtomicUsize);

impl Width {
    /// Under the lock.
    pub fn set(&self, workers: usize) {
        // Relaxed: who reads an old number asks again under the lock, or is met by `shrink`.
        self.0.store(workers, Ordering::Relaxed);
    }

    /// Whether another worker would find something to do. Asked after a push.
    #[must_use]
    pub fn wants_another(&self, stats: &Stats, most: usize) -> bool {
        // Relaxed: the fence in the queue's push orders it after the task was counted in.
        should_grow(stats.outstanding(), self.0.load(Ordering::Relaxed), most)
    }

    /// Makes it one less than `workers`, unless that one is needed. Under the lock.
    #[must_use]
    pub fn shrink(&self, stats: &Stats, workers: usize, most: usize) -> bool {
        self.set(workers - 1);
        // SeqCst: pairs with the fence in the queue's push. A submitter counts in, then reads the
        // width; this writes the width, then reads the count.
        fence(Ordering::SeqCst);
        let needed = should_grow(stats.outstanding(), workers - 1, most);
        if needed {
            self.set(workers);
        }
        !needed
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
    fn a_pool_shrinks_by_those_it_does_not_need() {
        let (stats, width) = (Stats::default(), Width::default());
        width.set(2);
        assert!(width.shrink(&stats, 2, 2));
        stats.accepted(1);
        assert!(!width.shrink(&stats, 1, 2));
        assert!(!width.wants_another(&stats, 2));
        stats.accepted(1);
        assert!(width.wants_another(&stats, 2));
    }

    #[test]
    fn tasks_are_counted_in_and_out() {
        let stats = Stats::default();
        stats.accepted(1);
        stats.accepted(2);
        assert_eq!(stats.outstanding(), 3);
        stats.ended();
        assert_eq!((stats.outstanding(), stats.ended_total()), (2, 1));
    }
}
