//! Queues that could be the pool's, all with the pool's counters around them.
//!
//! Those that are not ours wait as the first version did: a look of 30 µs, then the channel's own
//! sleep, or, where there is none, a yield after the look. A yield flatters: nobody is ever woken.

use _subpool::core::queue::Queue;
use _subpool::core::sleepers::Looker;
use _subpool::core::stats::Stats;
use crossbeam_channel::{Receiver, Sender, unbounded};
use crossbeam_deque::{Injector, Stealer, Worker};
use crossbeam_queue::SegQueue;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What is pushed: as large as a task's handle.
type Item = usize;

pub trait Contestant: Sync {
    fn push(&self, item: Item);
    /// Takes items until the queue is closed and drained; gives how many.
    fn work(&self, worker: usize) -> usize;
    fn close(&self);
}

pub struct Contender {
    pub name: &'static str,
    pub make: fn(usize) -> Box<dyn Contestant>,
}

pub fn all() -> Vec<Contender> {
    vec![
        Contender {
            name: "ours",
            make: |_| Box::<Ours>::default(),
        },
        Contender {
            name: "ours, two counters on a line",
            make: |_| Box::<Crowded>::default(),
        },
        Contender {
            name: "crossbeam-channel",
            make: |_| Box::new(Channel::new()),
        },
        Contender {
            name: "SegQueue",
            make: |_| Box::<Bare>::default(),
        },
        Contender {
            name: "Injector and stealing",
            make: |workers| Box::new(Stealing::new(workers)),
        },
        Contender {
            name: "a deque each and stealing",
            make: |workers| Box::new(Dealt::new(workers)),
        },
    ]
}

#[derive(Default)]
struct Ours {
    queue: Queue<Item>,
    stats: Stats,
}

impl Contestant for Ours {
    fn push(&self, item: Item) {
        self.stats.accepted(1);
        self.queue.push(item).expect("open");
    }
    fn work(&self, _: usize) -> usize {
        let mut looker = Looker::new();
        let mut popped = 0;
        loop {
            let item = self.queue.try_pop().ok();
            let Some(_item) = item.or_else(|| self.queue.pop(&mut looker)) else {
                return popped;
            };
            self.stats.ended();
            popped += 1;
        }
    }
    fn close(&self) {
        self.queue.close();
    }
}

/// Ours with the counters of the first version: what is outstanding, raised by one side and
/// lowered by the other, and beside it what has ended.
#[derive(Default)]
struct Crowded {
    queue: Queue<Item>,
    outstanding: AtomicUsize,
    ended: AtomicU64,
}

impl Contestant for Crowded {
    fn push(&self, item: Item) {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        self.queue.push(item).expect("open");
    }
    fn work(&self, _: usize) -> usize {
        let mut looker = Looker::new();
        let mut popped = 0;
        loop {
            let item = self.queue.try_pop().ok();
            let Some(_item) = item.or_else(|| self.queue.pop(&mut looker)) else {
                return popped;
            };
            self.ended.fetch_add(1, Ordering::Relaxed);
            self.outstanding.fetch_sub(1, Ordering::Relaxed);
            popped += 1;
        }
    }
    fn close(&self) {
        self.queue.close();
    }
}

struct Channel {
    /// Behind a lock that makes a push exclusive with the close, as the first version had it.
    sender: parking_lot::RwLock<Option<Sender<Item>>>,
    receiver: Receiver<Item>,
    stats: Stats,
}

impl Channel {
    fn new() -> Self {
        let (sender, receiver) = unbounded();
        Self {
            sender: parking_lot::RwLock::new(Some(sender)),
            receiver,
            stats: Stats::default(),
        }
    }
}

const LOOK: Duration = Duration::from_micros(30);

fn look<T>(ready: impl Fn() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    loop {
        for _ in 0..16 {
            if let Some(found) = ready() {
                return Some(found);
            }
            std::hint::spin_loop();
        }
        if begin.elapsed() >= LOOK {
            return None;
        }
    }
}

impl Contestant for Channel {
    fn push(&self, item: Item) {
        self.stats.accepted(1);
        let sender = self.sender.read();
        sender.as_ref().expect("open").send(item).expect("open");
    }
    fn work(&self, _: usize) -> usize {
        let mut popped = 0;
        loop {
            let item = look(|| self.receiver.try_recv().ok());
            if item.is_none() && self.receiver.recv().is_err() {
                return popped;
            }
            self.stats.ended();
            popped += 1;
        }
    }
    fn close(&self) {
        *self.sender.write() = None;
    }
}

/// Pops until `closed` and nothing is left.
fn drain(closed: &AtomicBool, stats: &Stats, pop: impl Fn() -> Option<Item>) -> usize {
    let mut popped = 0;
    loop {
        // Acquire: pairs with the release in `close`; what was pushed before is seen by `pop`.
        let last = closed.load(Ordering::Acquire);
        match look(&pop) {
            Some(_item) => {
                stats.ended();
                popped += 1;
            }
            None if last => return popped,
            None => std::thread::yield_now(),
        }
    }
}

#[derive(Default)]
struct Bare {
    queue: SegQueue<Item>,
    closed: AtomicBool,
    stats: Stats,
}

impl Contestant for Bare {
    fn push(&self, item: Item) {
        self.stats.accepted(1);
        self.queue.push(item);
    }
    fn work(&self, _: usize) -> usize {
        drain(&self.closed, &self.stats, || self.queue.pop())
    }
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

type Deques = (Mutex<Vec<Option<Worker<Item>>>>, Vec<Stealer<Item>>);

fn deques(workers: usize) -> Deques {
    let deques: Vec<_> = (0..workers).map(|_| Worker::new_fifo()).collect();
    let stealers = deques.iter().map(Worker::stealer).collect();
    (Mutex::new(deques.into_iter().map(Some).collect()), stealers)
}

/// One global queue from which a worker takes some items at a time into a deque of its own, where
/// others may steal them: how rayon and tokio do it.
struct Stealing {
    injector: Injector<Item>,
    deques: Deques,
    closed: AtomicBool,
    stats: Stats,
}

impl Stealing {
    fn new(workers: usize) -> Self {
        Self {
            injector: Injector::new(),
            deques: deques(workers),
            closed: AtomicBool::new(false),
            stats: Stats::default(),
        }
    }
}

impl Contestant for Stealing {
    fn push(&self, item: Item) {
        self.stats.accepted(1);
        self.injector.push(item);
    }
    fn work(&self, worker: usize) -> usize {
        let own = self.deques.0.lock().expect("whole")[worker]
            .take()
            .expect("one worker each");
        let others = &self.deques.1;
        drain(&self.closed, &self.stats, || {
            own.pop().or_else(|| {
                std::iter::repeat_with(|| {
                    self.injector
                        .steal_batch_and_pop(&own)
                        .or_else(|| others.iter().map(Stealer::steal).collect())
                })
                .find(|stolen| !stolen.is_retry())
                .and_then(crossbeam_deque::Steal::success)
            })
        })
    }
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

/// No global queue: the producer deals the items out in turn, and who has none steals.
struct Dealt {
    hands: Vec<SegQueue<Item>>,
    next: AtomicUsize,
    closed: AtomicBool,
    stats: Stats,
}

impl Dealt {
    fn new(workers: usize) -> Self {
        Self {
            hands: (0..workers).map(|_| SegQueue::new()).collect(),
            next: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            stats: Stats::default(),
        }
    }
}

impl Contestant for Dealt {
    fn push(&self, item: Item) {
        self.stats.accepted(1);
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.hands[turn % self.hands.len()].push(item);
    }
    fn work(&self, worker: usize) -> usize {
        let (before, from) = self.hands.split_at(worker);
        drain(&self.closed, &self.stats, || {
            from.iter().chain(before).find_map(SegQueue::pop)
        })
    }
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}
