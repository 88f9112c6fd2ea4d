//! Models of the entrance: see `core/models.rs`.

use super::{Entrance, LinedUp, Turn};
use crate::core::models::{Bed, PREEMPTIONS, check};
use crate::core::queue::Queue;
use crate::core::sleepers::Looker;
use crate::core::state::Phase;
use crate::core::sync::{Arc, AtomicUsize, Ordering, thread};

/// A bounded queue, as the pool has it: who takes an item gives its place back.
struct Bounded {
    queue: Queue<u32>,
    entrance: Entrance<u32>,
    /// Items that have a place.
    taken: AtomicUsize,
    /// Items that were let in so far.
    ever: AtomicUsize,
}

impl Bounded {
    fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            queue: Queue::with_lookers(1),
            entrance: Entrance::new(places),
            taken: AtomicUsize::new(0),
            ever: AtomicUsize::new(0),
        })
    }

    fn put(&self, item: u32) {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        assert!(before < self.entrance.most(), "more than there are places");
        self.queue.push(item).unwrap();
        self.ever.fetch_add(1, Ordering::Relaxed);
    }

    fn leave(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
        self.entrance.leave(1, |next| self.put(next));
    }

    /// What `submit` does. The number by which it stands in line, if it does.
    fn submit(&self, item: u32, turn: Option<Turn>) -> Option<u64> {
        if self.entrance.enter(1) == 1 {
            self.put(item);
            return None;
        }
        match self.entrance.line_up(item, 1, turn, |next| self.put(next)) {
            LinedUp::Waits(number) => Some(number),
            LinedUp::In => None,
            LinedUp::Closed(_) => panic!("nobody has closed it"),
        }
    }

    /// A worker that takes so many items.
    fn worker(self: &Arc<Self>, items: usize) -> thread::JoinHandle<Vec<u32>> {
        let shared = Arc::clone(self);
        thread::spawn(move || {
            let mut looker = Looker::new();
            let next = || {
                let item = shared.queue.pop(&mut looker).unwrap();
                shared.leave();
                item
            };
            std::iter::repeat_with(next).take(items).collect()
        })
    }
}

/// Who finds no place against who gives one back: it gets in, by itself or by the other.
#[test]
fn who_lines_up_gets_in() {
    check(None, || {
        let shared = Bounded::new(1);
        assert_eq!(shared.submit(1, None), None);
        let worker = shared.worker(2);
        let _ = shared.submit(2, None);
        assert_eq!(worker.join().unwrap(), [1, 2]);
        assert_eq!(shared.entrance.enter(2), 1, "the place is free again");
    });
}

/// With two places that both become free meanwhile: what the line does not need is free again.
#[test]
fn no_place_is_lost_or_made() {
    check(Some(PREEMPTIONS), || {
        let shared = Bounded::new(2);
        assert_eq!(shared.submit(1, None), None);
        assert_eq!(shared.submit(2, None), None);
        let worker = shared.worker(2);
        let _ = shared.submit(3, None);
        assert_eq!(worker.join().unwrap(), [1, 2]);
        assert_eq!(shared.queue.try_pop(), Ok(3));
        shared.leave();
        assert_eq!(shared.entrance.enter(3), 2, "both places are free again");
    });
}

/// A thread that sleeps until it is in, against who gives the place back.
#[test]
fn a_thread_in_line_is_woken() {
    check(Some(PREEMPTIONS), || {
        let shared = Bounded::new(1);
        assert_eq!(shared.submit(1, None), None);
        let worker = shared.worker(2);
        let turn = Turn::default();
        if shared.submit(2, Some(Arc::clone(&turn))).is_some() {
            let bed = Bed::new();
            if turn.register(bed.clone()) {
                bed.sleep();
            }
            assert_eq!(turn.state.phase(), Phase::Finished);
            assert_eq!(shared.ever.load(Ordering::Relaxed), 2, "told, and not in");
        }
        assert_eq!(worker.join().unwrap(), [1, 2]);
    });
}

/// Two who find no place: both get in, and never at the same time.
#[test]
fn two_in_line_get_in_one_after_the_other() {
    check(Some(PREEMPTIONS), || {
        let shared = Bounded::new(1);
        assert_eq!(shared.submit(1, None), None);
        let worker = shared.worker(3);
        let other = Arc::clone(&shared);
        let submitter = thread::spawn(move || {
            let _ = other.submit(2, None);
        });
        let _ = shared.submit(3, None);
        submitter.join().unwrap();
        let mut items = worker.join().unwrap();
        items.sort_unstable();
        assert_eq!(items, [1, 2, 3]);
    });
}

/// A cancel of what stands in line against who lets it in: it is in, or it is out, and the place is
/// the next one's.
#[test]
fn who_steps_out_is_not_let_in() {
    check(None, || {
        let shared = Bounded::new(1);
        assert_eq!(shared.submit(1, None), None);
        let number = shared.submit(2, None).unwrap();
        let other = Arc::clone(&shared);
        let leaver = thread::spawn(move || {
            assert_eq!(other.queue.try_pop(), Ok(1));
            other.leave();
        });
        let out = shared
            .entrance
            .step_out(number, |next| shared.put(next))
            .is_some();
        leaver.join().unwrap();
        assert_eq!(shared.queue.try_pop().is_ok(), !out);
        if !out {
            shared.leave();
        }
        assert_eq!(shared.entrance.enter(2), 1, "the place is free again");
    });
}

/// A close against who lets a thread in: it is told one of the two, and gets what it was told.
#[test]
fn who_waits_is_let_in_or_refused() {
    check(Some(PREEMPTIONS), || {
        let shared = Bounded::new(1);
        assert_eq!(shared.submit(1, None), None);
        let other = Arc::clone(&shared);
        let closer = thread::spawn(move || {
            let refused = other
                .entrance
                .close(|_| panic!("nobody waits without a thread"));
            other.queue.close();
            refused
        });
        let other = Arc::clone(&shared);
        let leaver = thread::spawn(move || {
            assert_eq!(other.queue.try_pop(), Ok(1));
            other.leave();
        });
        let turn = Turn::default();
        let lined_up = shared
            .entrance
            .line_up(2, 1, Some(Arc::clone(&turn)), |next| shared.put(next));
        let is_in = match lined_up {
            LinedUp::In => true,
            LinedUp::Closed(_) => false,
            LinedUp::Waits(_) => {
                let bed = Bed::new();
                if turn.register(bed.clone()) {
                    bed.sleep();
                }
                turn.state.phase() == Phase::Finished
            }
        };
        leaver.join().unwrap();
        let refused = closer.join().unwrap();
        assert_eq!(shared.queue.try_pop().is_ok(), is_in);
        assert!(refused.is_empty() || !is_in);
    });
}
