//! The counters, the way there and back between two threads, and what an idle pool costs.

use super::{Sizes, Spread, crowd, to_f64, together};
use _subpool::core::idle::cpus;
use _subpool::core::queue::Queue;
use _subpool::core::sleepers::Looker;
use _subpool::core::stats::Stats;
use crossbeam_utils::CachePadded;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// One thread counts in, the others count out, as fast as they can.
trait Counter: Sync {
    fn accept(&self);
    fn end(&self, thread: usize);
}

impl Counter for Stats {
    fn accept(&self) {
        self.accepted(1);
    }
    fn end(&self, _: usize) {
        self.ended();
    }
}

/// As the first version had it.
#[derive(Default)]
struct OnOneLine {
    outstanding: AtomicUsize,
    ended: AtomicU64,
}

impl Counter for OnOneLine {
    fn accept(&self) {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
    }
    fn end(&self, _: usize) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.outstanding.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Each worker counts for itself.
struct Sharded {
    accepted: CachePadded<AtomicUsize>,
    ended: Vec<CachePadded<AtomicUsize>>,
}

impl Counter for Sharded {
    fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }
    fn end(&self, thread: usize) {
        self.ended[thread].fetch_add(1, Ordering::Relaxed);
    }
}

pub fn counters(sizes: &Sizes) {
    println!("## Counters, million tasks per second counted in by one thread and out by others\n");
    println!("| workers | one line | padded (ours) | a counter per worker |\n|---|---|---|---|");
    for workers in crowd() {
        let mut rates = [const { Vec::new() }; 3];
        for _ in 0..sizes.rounds {
            rates[0].push(counted(&OnOneLine::default(), workers, sizes.items));
            rates[1].push(counted(&Stats::default(), workers, sizes.items));
            let sharded = Sharded {
                accepted: CachePadded::default(),
                ended: (0..workers).map(|_| CachePadded::default()).collect(),
            };
            rates[2].push(counted(&sharded, workers, sizes.items));
        }
        let [line, padded, sharded] = rates.map(|mut rates| Spread::of(&mut rates));
        println!("| {workers} | {line} | {padded} | {sharded} |");
    }
    println!();
}

fn counted(counter: &impl Counter, workers: usize, items: usize) -> f64 {
    let start = Barrier::new(workers + 1);
    let each = items / workers;
    let passed = together(workers + 1, &start, |thread| {
        if thread == workers {
            for _ in 0..items {
                counter.accept();
            }
        } else {
            for _ in 0..each {
                counter.end(thread);
            }
        }
    });
    to_f64(items) / passed.as_secs_f64() / 1e6
}

/// From a push until the answer is popped, with one worker that answers, in microseconds.
pub fn latency(sizes: &Sizes) {
    println!("## Ping-pong between two threads, µs\n");
    println!("| | median | 99th percentile |\n|---|---|---|");
    for (name, pause) in [
        ("back to back", Duration::ZERO),
        ("1 ms apart: the worker sleeps", Duration::from_millis(1)),
    ] {
        let turns = if pause.is_zero() {
            sizes.turns
        } else {
            sizes.turns / 10
        };
        let (mut median, mut late) = (Vec::new(), Vec::new());
        for _ in 0..sizes.rounds {
            let mut times = ping_pong(turns, pause);
            times.sort_by(f64::total_cmp);
            median.push(times[times.len() / 2]);
            late.push(times[times.len() * 99 / 100]);
        }
        println!(
            "| {name} | {} | {} |",
            Spread::of(&mut median),
            Spread::of(&mut late)
        );
    }
    println!();
}

fn ping_pong(turns: usize, pause: Duration) -> Vec<f64> {
    let (there, back) = (Queue::new(), Queue::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut looker = Looker::new();
            while let Some(item) = there.pop(&mut looker) {
                back.push(item).expect("open");
            }
        });
        let mut looker = Looker::new();
        let times = (0..turns).map(|turn| {
            std::thread::sleep(pause);
            let begin = Instant::now();
            there.push(turn).expect("open");
            assert_eq!(back.pop(&mut looker), Some(turn));
            begin.elapsed().as_secs_f64() * 1e6
        });
        let times = times.collect();
        there.close();
        times
    })
}

/// What as many idle workers as CPUs burn in a second, after they had something to do.
pub fn idle() {
    println!("## An idle pool\n");
    let queue = Queue::new();
    std::thread::scope(|scope| {
        for _ in 0..cpus() {
            scope.spawn(|| {
                let mut looker = Looker::new();
                while queue.pop(&mut looker).is_some() {}
            });
        }
        for item in 0..10_000 {
            queue.push(item).expect("open");
        }
        // The last looks end in this time.
        std::thread::sleep(Duration::from_millis(10));
        let before = cpu_time();
        std::thread::sleep(Duration::from_secs(1));
        let after = cpu_time();
        queue.close();
        match before.zip(after) {
            Some((before, after)) => println!(
                "{} workers, one second: {:.3} ms of CPU time",
                cpus(),
                (after - before).as_secs_f64() * 1e3
            ),
            None => println!("this system does not say what its threads used"),
        }
    });
}

/// CPU time of all threads that live, by the kernel's own count.
fn cpu_time() -> Option<Duration> {
    let mut total = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        total += Duration::from_nanos(text.split(' ').next()?.parse().ok()?);
    }
    Some(total)
}
