//! Models of how a pool ends: by a shutdown, with the rest cancelled, or broken.

use super::{Bed, PREEMPTIONS, check};
use crate::core::latch::Latch;
use crate::core::queue::Queue;
use crate::core::sleepers::Looker;
use crate::core::slot::Slot;
use crate::core::state::{Cancel, Phase, Start};
use crate::core::stats::Stats;
use crate::core::sync::{Arc, AtomicU32, Ordering, thread};

struct Task {
    latch: Latch,
    slot: Slot<u32, u32>,
    /// How often its end was announced.
    ends: AtomicU32,
}

impl Task {
    fn new(call: u32) -> Arc<Self> {
        Arc::new(Self {
            latch: Latch::new(),
            slot: Slot::new(call),
            ends: AtomicU32::new(0),
        })
    }

    /// As `Task::finish` in task.rs.
    fn finish(&self, answer: u32, before: impl FnOnce()) {
        assert!(self.slot.settle(&self.latch.state, answer));
        before();
        self.latch.wake(self.latch.state.finish());
        self.ends.fetch_add(1, Ordering::Relaxed);
    }

    fn cancel(&self) -> bool {
        let Cancel::Cancelled(ended) = self.slot.cancel(&self.latch.state) else {
            return false;
        };
        self.latch.wake(ended);
        self.ends.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn ended_once(&self) -> bool {
        self.latch.state.phase().is_done() && self.ends.load(Ordering::Relaxed) == 1
    }
}

/// A pool of one worker, with the counts and the latch that its thread fires as its last.
struct Pool {
    queue: Queue<Arc<Task>>,
    stats: Stats,
    exit: Latch,
}

impl Pool {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            queue: Queue::with_lookers(1),
            stats: Stats::default(),
            exit: Latch::new(),
        })
    }

    /// As `Pool::push`.
    fn push(&self, task: &Arc<Task>) -> bool {
        self.stats.accepted(1);
        let accepted = self.queue.push(Arc::clone(task)).is_ok();
        if !accepted {
            self.stats.ended();
        }
        accepted
    }

    /// As `worker::work`.
    fn work(&self) {
        let mut looker = Looker::new();
        while let Some(task) = self.queue.pop(&mut looker) {
            if let Some(call) = task.slot.start(&task.latch.state) {
                task.finish(call, || self.stats.ended());
            } else {
                self.stats.ended();
            }
        }
    }

    /// As `Seat::end`.
    fn leave(&self) {
        assert_eq!(self.exit.state.start(), Start::Run);
        self.exit.wake(self.exit.state.finish());
    }

    fn wait_for_exit(&self) {
        let bed = Bed::new();
        if self.exit.register(bed.clone()) {
            bed.sleep();
        }
    }
}

/// A submit against `shutdown(wait=True)`: after it nothing is left to do, and each task that was
/// accepted has ended once.
#[test]
fn a_shutdown_waits_for_all_that_was_accepted() {
    check(Some(PREEMPTIONS), || {
        let (pool, task) = (Pool::new(), Task::new(1));
        let own = Arc::clone(&pool);
        let worker = thread::spawn(move || {
            own.work();
            own.leave();
        });
        let (own, other) = (Arc::clone(&pool), Arc::clone(&task));
        let submitter = thread::spawn(move || own.push(&other));
        pool.queue.close();
        pool.wait_for_exit();
        // The worker may leave before a submit that is refused has counted its task out again.
        assert!(pool.queue.is_empty());
        let accepted = submitter.join().unwrap();
        assert_eq!(task.ended_once(), accepted);
        assert_eq!(pool.stats.outstanding(), 0);
        worker.join().unwrap();
    });
}

/// `shutdown(cancel_futures=True)` against a worker, and against `Future.cancel`: whoever has a
/// task, it ends once, and who waits for it is woken.
#[test]
fn a_shutdown_that_cancels_ends_each_task_once() {
    check(Some(PREEMPTIONS), || {
        let (pool, task) = (Pool::new(), Task::new(1));
        assert!(pool.push(&task));
        let own = Arc::clone(&pool);
        let worker = thread::spawn(move || own.work());
        let other = Arc::clone(&task);
        let canceller = thread::spawn(move || other.cancel());
        pool.queue.close();
        while let Ok(drained) = pool.queue.try_pop() {
            pool.stats.ended();
            drained.cancel();
        }
        let bed = Bed::new();
        if task.latch.register(bed.clone()) {
            bed.sleep();
        }
        canceller.join().unwrap();
        worker.join().unwrap();
        assert!(task.ended_once());
        assert_eq!(pool.stats.outstanding(), 0);
    });
}

/// One worker breaks the pool while another is at work and a third thread submits: what was accepted
/// is run or failed, and never both.
#[test]
fn a_pool_that_breaks_fails_what_nobody_runs() {
    check(Some(PREEMPTIONS), || {
        let (pool, task) = (Pool::new(), Task::new(1));
        let own = Arc::clone(&pool);
        let worker = thread::spawn(move || own.work());
        let (own, other) = (Arc::clone(&pool), Arc::clone(&task));
        let submitter = thread::spawn(move || own.push(&other));
        // As `Pool::break_down`.
        pool.queue.close();
        while let Ok(drained) = pool.queue.try_pop() {
            pool.stats.ended();
            if drained.slot.start(&drained.latch.state).is_some() {
                drained.finish(2, || ());
            }
        }
        let accepted = submitter.join().unwrap();
        worker.join().unwrap();
        assert_eq!(task.ended_once(), accepted);
        if accepted {
            assert!(matches!(task.slot.take_answer(), Some(1 | 2)));
        }
        assert_eq!(pool.stats.outstanding(), 0);
    });
}

/// A count that anybody may read at any time: no task ends before it was counted in.
#[test]
fn no_more_tasks_end_than_were_accepted() {
    check(None, || {
        let pool = Pool::new();
        let own = Arc::clone(&pool);
        let worker = thread::spawn(move || {
            if let Ok(task) = own.queue.try_pop() {
                let call = task.slot.start(&task.latch.state).unwrap();
                task.finish(call, || own.stats.ended());
            }
        });
        let own = Arc::clone(&pool);
        // It subtracts: below zero is a panic here.
        let reader = thread::spawn(move || own.stats.outstanding());
        let task = Task::new(1);
        assert!(pool.push(&task));
        let seen_done = task.latch.state.phase() == Phase::Finished;
        // Who has seen the end does not count the task.
        assert!(!seen_done || pool.stats.outstanding() == 0);
        worker.join().unwrap();
        assert!(reader.join().unwrap() <= 1);
    });
}
