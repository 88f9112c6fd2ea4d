//! The core's protocols all at once, on real threads: for the sanitizers (`make sanitize`), which
//! need the machine code that runs, not a model of it.
//!
//! A small pool without Python: workers take tasks from the queue, others submit, cancel, wait,
//! interrupt, give up, post to a mailbox, and end the pool in one of three ways.

use _subpool::core::latch::{Latch, Unpark};
use _subpool::core::mailbox::Mailbox;
use _subpool::core::queue::Queue;
use _subpool::core::reach::{Bell, Reach};
use _subpool::core::sleepers::Looker;
use _subpool::core::slot::Slot;
use _subpool::core::state::{Cancel, Start};
use _subpool::core::stats::Stats;
use _subpool::core::window::{Ban, Patience, Window};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const TASKS: usize = 300;
const SUBMITTERS: usize = 3;

struct Task {
    latch: Latch,
    slot: Slot<Box<usize>, Box<usize>>,
    number: usize,
    ends: AtomicUsize,
}

struct Bed(Mutex<Option<thread::Thread>>, AtomicBool);

impl Unpark for Bed {
    fn unpark(&self) {
        self.1.store(true, Ordering::Release);
        if let Some(thread) = self.0.lock().unwrap().take() {
            thread.unpark();
        }
    }
}

impl Task {
    fn end(&self, ended: _subpool::core::state::Ended) {
        self.ends.fetch_add(1, Ordering::Relaxed);
        self.latch.wake(ended);
    }

    fn wait(&self) {
        let bed = Arc::new(Bed(
            Mutex::new(Some(thread::current())),
            AtomicBool::new(false),
        ));
        if self.latch.register(bed.clone()) {
            while !bed.1.load(Ordering::Acquire) {
                thread::park();
            }
        }
    }
}

#[derive(Default)]
struct Seat {
    window: Window<Arc<Task>>,
    reach: Reach<usize>,
    /// What a helper writes with the GIL, and the worker reads with it.
    gil: Mutex<usize>,
}

struct Pool {
    queue: Queue<Arc<Task>>,
    stats: Stats,
    ban: Ban,
    told: Mailbox<Box<usize>>,
    seats: [Arc<Seat>; 2],
}

#[derive(Clone, Copy, Debug)]
enum End {
    Shutdown,
    Cancel,
    Terminate,
}

fn work(pool: &Pool, seat: &Arc<Seat>) {
    seat.reach.open(7);
    let mut looker = Looker::new();
    while let Some(task) = pool.queue.pop(&mut looker) {
        let may = |task: &Arc<Task>| {
            (!pool.ban.is_raised())
                .then(|| task.slot.start(&task.latch.state))
                .flatten()
        };
        let Ok(call) = seat.window.open(task.clone(), None, may) else {
            pool.stats.ended();
            if let Cancel::Cancelled(ended) = task.slot.cancel(&task.latch.state) {
                task.end(ended);
            }
            continue;
        };
        // A step with the GIL, and one without.
        *seat.gil.lock().unwrap() += 1;
        thread::yield_now();
        let mut gil = seat.gil.lock().unwrap();
        *gil += 1;
        let running = seat.window.close().unwrap();
        drop(gil);
        if running.job.slot.settle(&task.latch.state, call) {
            pool.stats.ended();
            let ended = task.latch.state.finish();
            let _ = pool.told.post(Box::new(task.number));
            task.end(ended);
        }
    }
    if let Some(helper) = seat.reach.close() {
        helper.join().unwrap();
    }
}

/// As the warden: gives up what was interrupted and is still there.
fn give_up(pool: &Pool, seat: &Seat) {
    let none = Patience {
        warning: Duration::ZERO,
        grace: Duration::ZERO,
    };
    if let Some(stuck) = seat.window.look(Instant::now(), none).stuck {
        let task = stuck.job;
        if task.slot.settle(&task.latch.state, Box::new(usize::MAX)) {
            pool.stats.ended();
            task.end(task.latch.state.finish());
        }
    }
}

fn interrupt(seat: &Arc<Seat>, number: usize) {
    let which = |task: &Arc<Task>| task.number % 3 == number % 3;
    if seat.window.ask(Instant::now(), None, which) {
        let other = Arc::clone(seat);
        let help = move |host: &usize, bell: &Bell| {
            bell.heed(|| {
                let mut gil = other.gil.lock().unwrap();
                if other.window.take_due() {
                    *gil += *host;
                }
            });
        };
        seat.reach.ring(help).unwrap();
    }
}

/// As often as `RACES` says.
fn a_pool_lives_and_ends(how: End) {
    let times = std::env::var("RACES").map_or(3, |times| times.parse().unwrap());
    for _ in 0..times {
        once(how);
    }
}

fn once(how: End) {
    let pool = Arc::new(Pool {
        queue: Queue::with_lookers(1),
        stats: Stats::default(),
        ban: Ban::new(),
        told: Mailbox::new(),
        seats: Default::default(),
    });
    let workers = pool.seats.clone().map(|seat| {
        let pool = Arc::clone(&pool);
        thread::spawn(move || work(&pool, &seat))
    });
    let submitters: Vec<_> = (0..SUBMITTERS)
        .map(|own| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || submit(&pool, own))
        })
        .collect();
    let other = Arc::clone(&pool);
    let over = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&over);
    let troubler = thread::spawn(move || {
        for number in 0.. {
            let seat = &other.seats[number % 2];
            interrupt(seat, number);
            give_up(&other, seat);
            other.told.answer();
            while other.told.take().is_some() {}
            let _ = other.stats.outstanding();
            if seen.load(Ordering::Acquire) {
                return;
            }
            thread::yield_now();
        }
    });
    if matches!(how, End::Terminate) {
        pool.queue.close();
        pool.ban.raise();
        for seat in &pool.seats {
            interrupt(seat, 0);
        }
    }
    let tasks: Vec<_> = submitters
        .into_iter()
        .flat_map(|submitter| submitter.join().unwrap())
        .collect();
    pool.queue.close();
    if !matches!(how, End::Shutdown) {
        while let Ok(task) = pool.queue.try_pop() {
            pool.stats.ended();
            if let Cancel::Cancelled(ended) = task.slot.cancel(&task.latch.state) {
                task.end(ended);
            }
        }
    }
    for task in &tasks {
        task.wait();
    }
    for worker in workers {
        worker.join().unwrap();
    }
    over.store(true, Ordering::Release);
    troubler.join().unwrap();
    assert_eq!(pool.stats.outstanding(), 0);
    for task in tasks {
        assert_eq!(task.ends.load(Ordering::Relaxed), 1, "{}", task.number);
        assert_eq!(task.latch.state.start(), Start::Cancelled);
    }
}

/// Submits, cancels every fifth, and waits for every seventh.
fn submit(pool: &Pool, own: usize) -> Vec<Arc<Task>> {
    let mut tasks = Vec::new();
    for number in (own * TASKS)..((own + 1) * TASKS) {
        let task = Arc::new(Task {
            latch: Latch::new(),
            slot: Slot::new(Box::new(number)),
            number,
            ends: AtomicUsize::new(0),
        });
        pool.stats.accepted(1);
        if pool.queue.push(Arc::clone(&task)).is_err() {
            pool.stats.ended();
            break;
        }
        if number % 5 == 0
            && let Cancel::Cancelled(ended) = task.slot.cancel(&task.latch.state)
        {
            task.end(ended);
        }
        if number % 7 == 0 {
            task.wait();
            let _ = task.slot.take_answer();
        }
        tasks.push(task);
    }
    tasks
}

#[test]
fn a_shutdown_finishes_everything() {
    a_pool_lives_and_ends(End::Shutdown);
}

#[test]
fn a_shutdown_that_cancels() {
    a_pool_lives_and_ends(End::Cancel);
}

#[test]
fn a_termination() {
    a_pool_lives_and_ends(End::Terminate);
}
