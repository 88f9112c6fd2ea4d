//! Models of shared things: who waits is woken, and nothing is lost on the way to somebody who
//! gives up.

use super::{Bed, PREEMPTIONS, check};
use crate::core::brief;
use crate::core::shared::channel::{Channel, Refusal, Standing};
use crate::core::shared::event::Event;
use crate::core::shared::lock::Lock;
use crate::core::shared::{Fate, Place, Turn};
use crate::core::sync::{Arc, AtomicU32, Ordering, thread};
use loom::sync::{Condvar, Mutex};

const PLACE: Place = Place {
    interpreter: 0,
    thread: 0,
    in_loop: false,
};

fn turn<T>(hand: Option<T>) -> (Arc<Bed>, Arc<Turn<T>>) {
    let bed = Bed::new();
    let turn = Turn::new(PLACE, bed.clone(), hand);
    (bed, turn)
}

/// A getter, where there is nothing to get.
fn in_line<T>(channel: &Channel<T>) -> (Arc<Bed>, Arc<Turn<T>>) {
    let (bed, getter) = turn(None);
    let is_in_line = channel.get_or_line_up(&getter) == Standing::InLine;
    assert!(is_in_line);
    (bed, getter)
}

/// As `Shared::wait` in ticket.rs.
fn get<T>(channel: &Channel<T>) -> Result<T, Refusal> {
    let (bed, turn) = turn(None);
    match channel.get_or_line_up(&turn) {
        Standing::InLine => bed.sleep(),
        Standing::Done => {}
        Standing::Shut => return Err(Refusal::Shut),
    }
    assert_ne!(turn.fate(), Fate::Waits, "woken for nothing");
    turn.take().ok_or(Refusal::Shut)
}

/// Whether it was accepted.
fn put<T>(channel: &Channel<T>, item: T) -> bool {
    let (bed, turn) = turn(Some(item));
    match channel.put_or_line_up(&turn) {
        Standing::InLine => bed.sleep(),
        Standing::Done => {}
        Standing::Shut => return false,
    }
    assert_ne!(turn.fate(), Fate::Waits, "woken for nothing");
    turn.fate() == Fate::Called
}

/// Also if it is cleared at once. What was done before is seen.
#[test]
fn a_set_reaches_who_begins_to_wait() {
    check(None, || {
        let shared = Arc::new((Event::new(), AtomicU32::new(0)));
        let other = Arc::clone(&shared);
        let setter = thread::spawn(move || {
            other.1.store(1, Ordering::Relaxed);
            other.0.set();
        });
        let (event, done) = &*shared;
        let (bed, turn) = turn(None);
        if event.line_up(&turn) {
            bed.sleep();
            assert_eq!(turn.fate(), Fate::Called);
        }
        assert_eq!(done.load(Ordering::Relaxed), 1);
        setter.join().unwrap();
    });
}

#[test]
fn a_flag_that_is_cleared_at_once_has_called_those_who_waited() {
    check(None, || {
        let event = Arc::new(Event::new());
        let other = Arc::clone(&event);
        let (bed, turn) = turn(None);
        let waits = event.line_up(&turn);
        let setter = thread::spawn(move || {
            other.set();
            other.clear();
        });
        assert!(waits);
        bed.sleep();
        assert_eq!(turn.fate(), Fate::Called);
        setter.join().unwrap();
    });
}

/// The flag alone shows what was done before it was set.
#[test]
fn who_sees_the_flag_sees_what_came_before() {
    check(None, || {
        let shared = Arc::new((Event::new(), AtomicU32::new(0)));
        let other = Arc::clone(&shared);
        let setter = thread::spawn(move || {
            other.1.store(1, Ordering::Relaxed);
            other.0.set();
        });
        if shared.0.is_set() {
            assert_eq!(shared.1.load(Ordering::Relaxed), 1);
        }
        setter.join().unwrap();
    });
}

#[test]
fn a_put_reaches_who_begins_to_get() {
    check(None, || {
        let channel = Arc::new(Channel::new(0));
        let other = Arc::clone(&channel);
        let getter = thread::spawn(move || get(&other));
        channel.put(1).unwrap();
        assert_eq!(getter.join().unwrap(), Ok(1));
    });
}

#[test]
fn each_item_goes_to_one_getter() {
    check(Some(PREEMPTIONS), || {
        let channel = Arc::new(Channel::new(0));
        let getters = [0, 1].map(|_| {
            let channel = Arc::clone(&channel);
            thread::spawn(move || get(&channel))
        });
        channel.put(1).unwrap();
        channel.put(2).unwrap();
        let mut items = getters.map(|getter| getter.join().unwrap().unwrap());
        items.sort_unstable();
        assert_eq!(items, [1, 2]);
    });
}

/// A putter waits for room, a getter for items.
#[test]
fn a_get_lets_a_putter_in() {
    check(Some(PREEMPTIONS), || {
        let channel = Arc::new(Channel::new(1));
        let other = Arc::clone(&channel);
        let putter = thread::spawn(move || assert!(put(&other, 1) && put(&other, 2)));
        assert_eq!(get(&channel), Ok(1));
        assert_eq!(get(&channel), Ok(2));
        putter.join().unwrap();
    });
}

/// A getter gives up (a timeout, a cancelled await) while an item comes: the other getter has it.
#[test]
fn who_gives_up_loses_no_item() {
    check(Some(PREEMPTIONS), || {
        let channel = Arc::new(Channel::new(0));
        let (_bed, impatient) = in_line(&channel);
        let other = Arc::clone(&channel);
        let getter = thread::spawn(move || get(&other));
        let other = Arc::clone(&channel);
        let putter = thread::spawn(move || other.put(1).unwrap());
        channel.give_up(&impatient, true);
        assert_eq!(getter.join().unwrap(), Ok(1));
        putter.join().unwrap();
    });
}

/// As after an interrupt, or at the end of its time: it has the item, or may come again for it.
#[test]
fn who_leaves_has_its_item_or_may_come_again() {
    check(Some(PREEMPTIONS), || {
        let channel = Arc::new(Channel::new(0));
        let (_bed, impatient) = in_line(&channel);
        let other = Arc::clone(&channel);
        let putter = thread::spawn(move || other.put(1).unwrap());
        channel.leave(&impatient);
        let item = match impatient.fate() {
            Fate::Called => impatient.take(),
            _ => get(&channel).ok(),
        };
        assert_eq!(item, Some(1));
        putter.join().unwrap();
    });
}

/// A putter that gives up has put its item, or has it yet.
#[test]
fn who_gives_up_has_put_or_not() {
    check(None, || {
        let channel = Arc::new(Channel::new(1));
        channel.put(1).unwrap();
        let (_bed, impatient) = turn(Some(2));
        let in_line = channel.put_or_line_up(&impatient) == Standing::InLine;
        assert!(in_line);
        let other = Arc::clone(&channel);
        let getter = thread::spawn(move || other.get());
        channel.leave(&impatient);
        let back = impatient.take();
        assert_eq!(getter.join().unwrap(), Ok(1));
        assert_eq!(channel.get().is_ok(), back.is_none());
    });
}

#[test]
fn a_shutdown_reaches_getters_and_putters() {
    check(Some(PREEMPTIONS), || {
        let channel = Arc::new(Channel::new(1));
        let other = Arc::clone(&channel);
        let getter = thread::spawn(move || (get(&other), get(&other)));
        let other = Arc::clone(&channel);
        let putter = thread::spawn(move || [1, 2, 3].map(|item| put(&other, item)));
        channel.shut(false);
        let accepted = putter.join().unwrap();
        // What was accepted comes out, then the end.
        let (first, second) = getter.join().unwrap();
        assert!(first.is_ok() || second.is_err());
        let rest = std::iter::from_fn(|| channel.get().ok());
        let got: Vec<_> = first.into_iter().chain(second).chain(rest).collect();
        let accepted = accepted.into_iter().filter(|accepted| *accepted).count();
        assert_eq!(got, (1..=accepted).collect::<Vec<_>>());
    });
}

/// What somebody was handed and gives up goes with the others: who joins waited for it for ever.
#[test]
fn a_shutdown_at_once_drops_what_comes_back() {
    check(Some(PREEMPTIONS), || {
        let channel = Arc::new(Channel::new(0));
        let (_bed, impatient) = in_line(&channel);
        channel.put(1).unwrap();
        let (bed, joiner) = turn(None);
        let in_line = channel.join_or_line_up(&joiner) == Standing::InLine;
        assert!(in_line);
        let other = Arc::clone(&channel);
        let closer = thread::spawn(move || other.shut(true));
        channel.give_up(&impatient, true);
        closer.join().unwrap();
        bed.sleep();
        assert_eq!(channel.get(), Err(Refusal::Shut));
    });
}

#[test]
fn a_join_ends_with_the_last_item() {
    check(None, || {
        let channel = Arc::new(Channel::new(0));
        channel.put(1).unwrap();
        let other = Arc::clone(&channel);
        let worker = thread::spawn(move || {
            assert_eq!(other.get(), Ok(1));
            assert!(other.task_done());
        });
        let (bed, turn) = turn(None);
        if channel.join_or_line_up(&turn) == Standing::InLine {
            bed.sleep();
        }
        assert!(!channel.task_done());
        worker.join().unwrap();
    });
}

/// As `Shared::wait` in ticket.rs.
fn locked(lock: &Lock, count: &AtomicU32) {
    let (bed, turn) = turn(None);
    if lock.line_up(&turn) {
        bed.sleep();
    }
    let before = count.load(Ordering::Relaxed);
    count.store(before + 1, Ordering::Relaxed);
    assert!(lock.release());
}

#[test]
fn one_has_the_lock_at_a_time() {
    check(Some(PREEMPTIONS), || {
        let shared = Arc::new((Lock::new(), AtomicU32::new(0)));
        let others = [0, 1].map(|_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || locked(&shared.0, &shared.1))
        });
        locked(&shared.0, &shared.1);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(shared.1.load(Ordering::Relaxed), 3);
        assert!(!shared.0.is_held());
    });
}

#[test]
fn who_gives_up_leaves_the_lock_to_the_next() {
    check(Some(PREEMPTIONS), || {
        let shared = Arc::new((Lock::new(), AtomicU32::new(0)));
        assert!(shared.0.acquire(PLACE));
        let (_bed, impatient) = turn(None);
        assert!(shared.0.line_up(&impatient));
        let other = Arc::clone(&shared);
        let next = thread::spawn(move || locked(&other.0, &other.1));
        let other = Arc::clone(&shared);
        let holder = thread::spawn(move || assert!(other.0.release()));
        shared.0.give_up(&impatient);
        holder.join().unwrap();
        next.join().unwrap();
        assert!(!shared.0.is_held());
    });
}

/// What the kernel does for futexes: the look at the word and the sleep are one step for who wakes.
#[derive(Default)]
struct Futex(Mutex<()>, Condvar);

impl Futex {
    fn sleep(&self, word: &AtomicU32, value: u32) {
        let kernel = self.0.lock().unwrap();
        if word.load(Ordering::Relaxed) == value {
            drop(self.1.wait(kernel).unwrap());
        }
    }

    fn wake(&self) {
        let _kernel = self.0.lock().unwrap();
        self.1.notify_one();
    }
}

/// The lock within each of them (brief.rs).
#[test]
fn who_sleeps_for_a_brief_lock_is_woken() {
    check(Some(PREEMPTIONS), || {
        let shared = Arc::new((AtomicU32::new(0), Futex::default(), AtomicU32::new(0)));
        let turn = |(word, futex, count): &(AtomicU32, Futex, AtomicU32)| {
            if !brief::try_take(word) {
                brief::take(word, |word, value| futex.sleep(word, value));
            }
            let before = count.load(Ordering::Relaxed);
            count.store(before + 1, Ordering::Relaxed);
            if brief::let_go(word) {
                futex.wake();
            }
        };
        let others = [0, 1].map(|_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || turn(&shared))
        });
        turn(&shared);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(shared.2.load(Ordering::Relaxed), 3);
    });
}
