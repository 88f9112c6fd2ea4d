//! Models of the protocols, run by loom in every order their threads could take.
//!
//! A lost wake-up shows as a deadlock, a broken hand-over as a failed assertion. `PROTOCOL.md` says
//! what each protocol claims. The threads are few, because the orders grow with their factorial;
//! `PREEMPTIONS` bounds how often a thread is interrupted where the full search takes minutes.

use super::latch::{Latch, Unpark};
use super::mailbox::Mailbox;
use super::queue::{Empty, Queue};
use super::sleepers::Looker;
use super::state::{Cancel, Phase, Start};
use super::stats::{Stats, Width};
use super::sync::{Arc, AtomicBool, AtomicU32, Ordering, Thread, thread};

mod ends;
mod interrupts;
mod shared;

/// Most bugs of this kind need two.
pub const PREEMPTIONS: usize = 2;

pub fn check(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(model);
}

fn worker(queue: &Arc<Queue<u32>>) -> thread::JoinHandle<Vec<u32>> {
    let queue = Arc::clone(queue);
    thread::spawn(move || {
        let mut looker = Looker::new();
        std::iter::from_fn(|| queue.pop(&mut looker)).collect()
    })
}

/// A worker that takes one item, as if the task in it never ended.
fn worker_of_one(queue: &Arc<Queue<u32>>) -> thread::JoinHandle<Option<u32>> {
    let queue = Arc::clone(queue);
    thread::spawn(move || queue.pop(&mut Looker::new()))
}

#[test]
fn a_push_reaches_a_worker_that_goes_to_sleep() {
    check(None, || {
        let queue = Arc::new(Queue::with_lookers(1));
        let worker = worker_of_one(&queue);
        queue.push(1).unwrap();
        assert_eq!(worker.join().unwrap(), Some(1));
    });
}

/// Each worker takes one item and no more: the second item must wake the second worker, also when
/// its push left it to the first, who looked.
#[test]
fn two_items_reach_two_workers() {
    check(Some(PREEMPTIONS), || {
        let queue = Arc::new(Queue::with_lookers(1));
        let workers = [worker_of_one(&queue), worker_of_one(&queue)];
        queue.push(1).unwrap();
        queue.push(2).unwrap();
        let mut items = workers.map(|worker| worker.join().unwrap());
        items.sort_unstable();
        assert_eq!(items, [Some(1), Some(2)]);
    });
}

#[test]
fn two_pushers_reach_two_workers() {
    check(Some(PREEMPTIONS), || {
        let queue = Arc::new(Queue::with_lookers(1));
        let workers = [worker_of_one(&queue), worker_of_one(&queue)];
        let other = Arc::clone(&queue);
        let pusher = thread::spawn(move || other.push(1).unwrap());
        queue.push(2).unwrap();
        pusher.join().unwrap();
        let mut items = workers.map(|worker| worker.join().unwrap());
        items.sort_unstable();
        assert_eq!(items, [Some(1), Some(2)]);
    });
}

#[test]
fn a_close_reaches_a_worker_that_goes_to_sleep() {
    check(None, || {
        let queue = Arc::new(Queue::with_lookers(1));
        let worker = worker(&queue);
        queue.close();
        assert_eq!(worker.join().unwrap(), []);
    });
}

#[test]
fn a_close_reaches_all_and_loses_nothing() {
    check(Some(PREEMPTIONS), || {
        let queue = Arc::new(Queue::with_lookers(1));
        let workers = [worker(&queue), worker(&queue)];
        queue.push(1).unwrap();
        queue.close();
        let items: Vec<_> = workers.map(|worker| worker.join().unwrap()).concat();
        assert_eq!(items, [1]);
    });
}

/// A submit against a worker that leaves: it stays, or another one is wanted.
#[test]
fn a_pause_reaches_a_worker_that_goes_to_sleep() {
    check(None, || {
        let queue = Arc::new(Queue::with_lookers(1));
        let worker = worker(&queue);
        queue.pause();
        // It would not come back if it slept through the pause.
        assert_eq!(worker.join().unwrap(), []);
    });
}

#[test]
fn a_pause_loses_nothing() {
    check(Some(PREEMPTIONS), || {
        let queue = Arc::new(Queue::with_lookers(1));
        let (pusher, worker) = (Arc::clone(&queue), worker(&queue));
        let pusher = thread::spawn(move || pusher.push(1).unwrap());
        queue.pause();
        let mut popped = worker.join().unwrap();
        pusher.join().unwrap();
        queue.resume();
        queue.close();
        popped.extend(std::iter::from_fn(|| queue.try_pop().ok()));
        assert_eq!(popped, [1]);
    });
}

#[test]
fn a_leaving_worker_leaves_no_task_alone() {
    check(None, || {
        let queue = Queue::with_lookers(1);
        let shared = Arc::new((queue, Stats::default(), Width::default()));
        shared.2.set(1);
        let other = Arc::clone(&shared);
        let worker = thread::spawn(move || {
            let (_, stats, width) = &*other;
            width.shrink(stats, 1, 1)
        });
        let (queue, stats, width) = &*shared;
        stats.accepted(1);
        queue.push(1).unwrap();
        let wanted = width.wants_another(stats, 1);
        let left = worker.join().unwrap();
        assert!(wanted || !left, "a task, and no worker");
    });
}

/// A push against a close: accepted and found by the drain that follows, or refused.
#[test]
fn what_was_accepted_is_drained() {
    check(None, || {
        let queue = Arc::new(Queue::with_lookers(1));
        let other = Arc::clone(&queue);
        let pusher = thread::spawn(move || other.push(1));
        queue.close();
        let drained = queue.try_pop();
        assert_eq!(drained.is_ok(), pusher.join().unwrap().is_ok());
        assert_eq!(queue.try_pop(), Err(Empty::ForGood));
    });
}

/// A sleeper as the latch knows it: unparked once.
pub struct Bed {
    woken: AtomicBool,
    thread: Thread,
}

impl Bed {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            woken: AtomicBool::new(false),
            thread: thread::current(),
        })
    }

    pub fn sleep(&self) {
        // Acquire: pairs with the release in `unpark`.
        while !self.woken.load(Ordering::Acquire) {
            thread::park();
        }
    }
}

impl Unpark for Bed {
    fn unpark(&self) {
        let before = self.woken.swap(true, Ordering::Release);
        assert!(!before, "unparked twice");
        self.thread.unpark();
    }
}

/// What `result()` does, against what a worker does. The answer is written relaxed, so that only
/// the state word can make it visible.
#[test]
fn a_waiter_wakes_and_sees_the_answer() {
    check(None, || {
        let shared = Arc::new((Latch::new(), AtomicU32::new(0)));
        let other = Arc::clone(&shared);
        let ender = thread::spawn(move || {
            let (latch, answer) = &*other;
            assert_eq!(latch.state.start(), Start::Run);
            answer.store(1, Ordering::Relaxed);
            latch.wake(latch.state.finish());
        });
        let (latch, answer) = &*shared;
        let bed = Bed::new();
        if latch.register(bed.clone()) {
            bed.sleep();
        }
        assert_eq!(latch.state.phase(), Phase::Finished);
        assert_eq!(answer.load(Ordering::Relaxed), 1);
        ender.join().unwrap();
    });
}

#[test]
fn a_listener_is_either_refused_or_seen() {
    check(None, || {
        let shared = Arc::new((Latch::new(), AtomicU32::new(0)));
        let other = Arc::clone(&shared);
        let ender = thread::spawn(move || {
            let (latch, listener) = &*other;
            assert_eq!(latch.state.start(), Start::Run);
            let ended = latch.state.finish();
            // The listener's slot is read by an ender that saw the flag.
            ended.listened.then(|| listener.load(Ordering::Relaxed))
        });
        let (latch, listener) = &*shared;
        listener.store(1, Ordering::Relaxed);
        let accepted = latch.state.listen();
        let seen = ender.join().unwrap();
        assert_eq!(seen, accepted.then_some(1));
    });
}

#[test]
fn a_task_is_started_or_cancelled() {
    check(Some(3), || {
        let latch = Arc::new(Latch::new());
        let other = Arc::clone(&latch);
        let worker = thread::spawn(move || match other.state.start() {
            Start::Run => {
                other.wake(other.state.finish());
                true
            }
            Start::Cancelled => false,
        });
        let other = Arc::clone(&latch);
        let canceller = thread::spawn(move || match other.state.cancel() {
            Cancel::Cancelled(ended) => {
                other.wake(ended);
                true
            }
            Cancel::Already | Cancel::TooLate => false,
        });
        let bed = Bed::new();
        if latch.register(bed.clone()) {
            bed.sleep();
        }
        assert!(latch.state.phase().is_done());
        assert_ne!(worker.join().unwrap(), canceller.join().unwrap());
    });
}

/// What an event loop does with its bridge. The bell is a flag of its own, as a descriptor is; what
/// is posted is written relaxed, so that only the mailbox can make it visible.
#[test]
fn no_post_stays_behind_unannounced() {
    check(Some(3), || {
        let shared = Arc::new((Mailbox::new(), AtomicBool::new(false)));
        let posters: Vec<_> = (0..2)
            .map(|item| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let (mailbox, bell) = &*shared;
                    if mailbox.post(item) {
                        bell.swap(true, Ordering::AcqRel);
                    }
                })
            })
            .collect();
        let (mailbox, bell) = &*shared;
        let empty = || {
            let mut taken = Vec::new();
            if bell.swap(false, Ordering::AcqRel) {
                mailbox.answer();
                taken.extend(std::iter::from_fn(|| mailbox.take()));
            }
            taken
        };
        // Twice while they post: the first time it may take an item whose bell comes yet, so that
        // the second finds nothing but a post that left the ringing to that one. Then once more
        // when the bell is heard after them.
        let mut taken = Vec::new();
        if mailbox.post(2) {
            bell.swap(true, Ordering::AcqRel);
        }
        taken.extend(empty());
        taken.extend(empty());
        for poster in posters {
            poster.join().unwrap();
        }
        taken.extend(empty());
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2]);
    });
}

/// A post against a loop that goes away: taken by the loop's last emptying, or seen as late.
#[test]
fn a_post_to_a_closed_mailbox_is_taken_or_known() {
    check(None, || {
        let shared = Arc::new((Mailbox::new(), AtomicBool::new(false)));
        let other = Arc::clone(&shared);
        let poster = thread::spawn(move || {
            let (mailbox, closed) = &*other;
            let _ = mailbox.post(1);
            closed.load(Ordering::Relaxed)
        });
        let (mailbox, closed) = &*shared;
        closed.store(true, Ordering::Relaxed);
        mailbox.answer();
        let taken = mailbox.take().is_some();
        assert!(poster.join().unwrap() || taken);
    });
}
