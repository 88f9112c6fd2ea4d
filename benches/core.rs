//! The core alone, without Python: what the queue, the counters and the idle protocol can carry.
//!
//!     make bench-core                 every table, some minutes
//!     make bench-core ARGS=--quick    rough figures
//!
//! Throughput: so many producers push a fixed number of items, so many workers pop them, and both
//! count them as the pool does. Of several rounds, in which the contenders take turns, the median
//! is shown and, in brackets, the least and the greatest.

#[path = "core/contenders.rs"]
mod contenders;
#[path = "core/waiting.rs"]
mod waiting;

use _subpool::core::idle::cpus;
use contenders::{Contender, all};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

pub struct Sizes {
    items: usize,
    rounds: usize,
    turns: usize,
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let sizes = if quick {
        Sizes {
            items: 100_000,
            rounds: 3,
            turns: 2_000,
        }
    } else {
        Sizes {
            items: 500_000,
            rounds: 7,
            turns: 10_000,
        }
    };
    println!(
        "{} CPUs, {} items, {} rounds\n",
        cpus(),
        sizes.items,
        sizes.rounds
    );
    throughput(&sizes);
    waiting::counters(&sizes);
    waiting::latency(&sizes);
    waiting::idle();
}

/// 1, 2, 4 and so on, to twice the CPUs.
pub fn crowd() -> Vec<usize> {
    let most = 2 * cpus();
    let mut sizes: Vec<_> = std::iter::successors(Some(1), |n| Some(n * 2))
        .take_while(|n| *n < most)
        .collect();
    sizes.push(most);
    sizes
}

fn throughput(sizes: &Sizes) {
    println!("## Throughput, million items per second\n");
    let contenders = all();
    print!("| producers | workers |");
    for contender in &contenders {
        print!(" {} |", contender.name);
    }
    println!("\n|---|---|{}", "---|".repeat(contenders.len()));
    for producers in crowd() {
        for workers in crowd() {
            let mut rates = vec![Vec::new(); contenders.len()];
            for _ in 0..sizes.rounds {
                for (contender, rates) in contenders.iter().zip(&mut rates) {
                    rates.push(rate(contender, producers, workers, sizes.items));
                }
            }
            print!("| {producers} | {workers} |");
            for mut rates in rates {
                print!(" {} |", Spread::of(&mut rates));
            }
            println!();
        }
    }
    println!();
}

/// Million items per second through a new queue.
fn rate(contender: &Contender, producers: usize, workers: usize, items: usize) -> f64 {
    let queue = (contender.make)(workers);
    let each = items / producers;
    let start = Barrier::new(producers + workers);
    let pushing = AtomicUsize::new(producers);
    let popped = AtomicUsize::new(0);
    let passed = together(producers + workers, &start, |thread| {
        if thread >= producers {
            popped.fetch_add(queue.work(thread - producers), Ordering::Relaxed);
            return;
        }
        for item in 0..each {
            queue.push(item);
        }
        // AcqRel: whoever closes comes after what the others pushed.
        if pushing.fetch_sub(1, Ordering::AcqRel) == 1 {
            queue.close();
        }
    });
    let popped = popped.into_inner();
    assert_eq!(popped, each * producers, "{} lost items", contender.name);
    to_f64(popped) / passed.as_secs_f64() / 1e6
}

/// Runs `work` on so many threads; from the first one's begin to the last one's end. Each reads
/// the clock itself: a thread that only measures would be late where all cores are taken.
pub fn together(threads: usize, start: &Barrier, work: impl Fn(usize) + Sync) -> Duration {
    let times: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let work = &work;
                scope.spawn(move || {
                    start.wait();
                    let begin = Instant::now();
                    work(thread);
                    (begin, Instant::now())
                })
            })
            .collect();
        let join = |thread: ScopedJoinHandle<'_, _>| thread.join().expect("a thread panicked");
        running.into_iter().map(join).collect()
    });
    let begin = times.iter().map(|(begin, _)| *begin).min();
    let end = times.iter().map(|(_, end)| *end).max();
    end.expect("threads") - begin.expect("threads")
}

pub fn to_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("counts here are small"))
}

/// Median, least and greatest of a few figures.
pub struct Spread(f64, f64, f64);

impl Spread {
    pub fn of(figures: &mut [f64]) -> Self {
        figures.sort_by(f64::total_cmp);
        Self(
            figures[figures.len() / 2],
            figures[0],
            figures[figures.len() - 1],
        )
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:.2} ({:.2}–{:.2})", self.0, self.1, self.2)
    }
}
