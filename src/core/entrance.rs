//! How many tasks may wait in a queue, and the line of those that wait to get in.
//!
//! Guarantees: no more than `most` places are taken at a time; who lines up gets in in that order,
//! unless it steps out or the entrance is closed, and is told so once; nobody stands in line while
//! there is room for the first of it; whoever frees a place lets the next one in, so getting in
//! needs no thread of those who wait. Nothing here blocks but the lock, which is held for a push.
//! Not guaranteed: the bound after `close`.
//!
//! `PROTOCOL.md`, "The entrance", has the argument.

use super::latch::Latch;
use super::state::{Cancel, Start};
use super::sync::{Arc, AtomicUsize, CachePadded, Mutex, Ordering};
use std::collections::VecDeque;

#[cfg(all(test, loom))]
mod models;

/// The word: bit 0 says that there is a line, the rest counts the free places. While there is a
/// line it counts none: those that become free are the line's.
const LINE: usize = 1;
const PLACE: usize = 2;

/// What `T` is lined up for, if a thread waits for it: ends finished when it is in, and cancelled
/// when it was refused.
pub type Turn = Arc<Latch>;

#[derive(Debug)]
pub struct Entrance<T> {
    /// Every change of it is one read-modify-write, or is made under the lock while `LINE` keeps
    /// all others from changing it. So its own order is all that counts, and `Relaxed` will do:
    /// what is let in travels through the lock or the queue.
    word: CachePadded<AtomicUsize>,
    line: Mutex<Line<T>>,
    most: usize,
}

struct Line<T> {
    /// `None`: stepped out. The first one has not, and neither has the last.
    waiting: VecDeque<Option<Entry<T>>>,
    /// The number of the first one. Those after it have those after that.
    first: u64,
    /// Places that wait for the first one to have enough.
    gathered: usize,
    closed: bool,
}

struct Entry<T> {
    item: T,
    places: usize,
    turn: Option<Turn>,
}

impl<T> std::fmt::Debug for Line<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let length = self.waiting.len();
        f.debug_struct("Line").field("length", &length).finish()
    }
}

/// What came of lining up.
#[must_use]
#[derive(Debug)]
pub enum LinedUp<T> {
    /// There was room after all.
    In,
    /// By this number it can step out.
    Waits(u64),
    Closed(T),
}

fn settle(turn: Option<Turn>, is_in: bool) {
    let Some(turn) = turn else { return };
    if is_in {
        if turn.state.start() == Start::Run {
            turn.wake(turn.state.finish());
        }
    } else if let Cancel::Cancelled(ended) = turn.state.cancel() {
        turn.wake(ended);
    }
}

impl<T> Entrance<T> {
    /// With `most` places, at least one.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let most = most.clamp(1, usize::MAX / PLACE);
        Self {
            word: CachePadded::new(AtomicUsize::new(most * PLACE)),
            line: Mutex::new(Line {
                waiting: VecDeque::new(),
                // 0 is nobody's.
                first: 1,
                gathered: 0,
                closed: false,
            }),
            most,
        }
    }

    #[must_use]
    pub const fn most(&self) -> usize {
        self.most
    }

    /// Takes as many places as are free, `wanted` at the most. None if there is a line.
    #[must_use]
    pub fn enter(&self, wanted: usize) -> usize {
        // Relaxed, here and below: see `word`.
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            // None, if there is a line.
            let places = (word / PLACE).min(wanted);
            if places == 0 {
                return 0;
            }
            let left = word - places * PLACE;
            match self
                .word
                .compare_exchange_weak(word, left, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return places,
                Err(now) => word = now,
            }
        }
    }

    /// Gives places back. Who waits for them is handed to `admit`, under the lock, in order.
    pub fn leave(&self, places: usize, admit: impl FnMut(T)) {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & LINE == 0 {
            let more = word + places * PLACE;
            match self
                .word
                .compare_exchange_weak(word, more, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
        let mut line = self.line.lock();
        if line.waiting.is_empty() {
            // It was let in meanwhile. No new line: that takes the lock.
            self.word.fetch_add(places * PLACE, Ordering::Relaxed);
        } else {
            line.gathered += places;
            self.advance(&mut line, admit);
        }
    }

    /// Waits in line for `places`, no more than `most`; a thread may wait for its `turn`. Whoever
    /// gets in by this, also others, is handed to `admit`, under the lock.
    pub fn line_up(
        &self,
        item: T,
        places: usize,
        turn: Option<Turn>,
        admit: impl FnMut(T),
    ) -> LinedUp<T> {
        let mut line = self.line.lock();
        if line.closed {
            return LinedUp::Closed(item);
        }
        if line.waiting.is_empty() {
            // From here on nobody else changes the word.
            line.gathered = self.word.swap(LINE, Ordering::Relaxed) / PLACE;
        }
        let number = line.first + line.waiting.len() as u64;
        line.waiting.push_back(Some(Entry {
            item,
            places: places.min(self.most),
            turn,
        }));
        self.advance(&mut line, admit);
        if number < line.first {
            return LinedUp::In;
        }
        LinedUp::Waits(number)
    }

    /// Leaves the line. `None`: it is in, or was refused.
    pub fn step_out(&self, number: u64, admit: impl FnMut(T)) -> Option<T> {
        let mut line = self.line.lock();
        let place = number.checked_sub(line.first)?;
        let place = usize::try_from(place).ok()?;
        let entry = line.waiting.get_mut(place)?.take()?;
        while let Some(None) = line.waiting.back() {
            line.waiting.pop_back();
        }
        self.advance(&mut line, admit);
        Some(entry.item)
    }

    /// Has nobody wait any more: what no thread waits for is handed to `admit`, whether there is
    /// room or not; the rest is refused and given back, to be dropped without the lock.
    pub fn close(&self, mut admit: impl FnMut(T)) -> Vec<T> {
        let mut refused = Vec::new();
        let mut line = self.line.lock();
        line.closed = true;
        if line.waiting.is_empty() {
            return refused;
        }
        for entry in std::mem::take(&mut line.waiting).into_iter().flatten() {
            if entry.turn.is_some() {
                refused.push(entry.item);
                settle(entry.turn, false);
            } else {
                admit(entry.item);
            }
        }
        // Numbers that were given lead nowhere now.
        line.first = u64::MAX;
        self.advance(&mut line, admit);
        refused
    }

    /// How many stand in line.
    #[must_use]
    pub fn line_length(&self) -> usize {
        self.line.lock().waiting.iter().flatten().count()
    }

    /// Lets in who has enough places. There is a line, or was until the caller emptied it.
    fn advance(&self, line: &mut Line<T>, mut admit: impl FnMut(T)) {
        while let Some(first) = line.waiting.front() {
            if let Some(entry) = first {
                let Some(left) = line.gathered.checked_sub(entry.places) else {
                    return;
                };
                line.gathered = left;
            }
            let first = line.waiting.pop_front().flatten();
            line.first += 1;
            if let Some(entry) = first {
                // In first: who is told so finds it there.
                admit(entry.item);
                settle(entry.turn, true);
            }
        }
        // Nobody waits: the word counts again.
        let free = std::mem::take(&mut line.gathered);
        self.word.store(free * PLACE, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::core::state::Phase;
    use std::cell::RefCell;

    /// An entrance with one place, which is taken, and what was let in.
    fn full() -> (Entrance<u32>, RefCell<Vec<u32>>) {
        let entrance = Entrance::new(1);
        assert_eq!(entrance.enter(1), 1);
        (entrance, RefCell::new(Vec::new()))
    }

    fn number(lined_up: LinedUp<u32>) -> u64 {
        match lined_up {
            LinedUp::Waits(number) => number,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn places_are_taken_and_given_back() {
        let entrance = Entrance::<u32>::new(3);
        assert_eq!(entrance.enter(2), 2);
        assert_eq!(entrance.enter(2), 1);
        assert_eq!(entrance.enter(1), 0);
        entrance.leave(2, |_| unreachable!("nobody waits"));
        assert_eq!(entrance.enter(9), 2);
    }

    #[test]
    fn the_line_gets_in_in_order_and_before_others() {
        let (entrance, seen) = full();
        let admit = |item| seen.borrow_mut().push(item);
        for item in [1, 2] {
            let _ = number(entrance.line_up(item, 1, None, admit));
        }
        entrance.leave(1, admit);
        assert_eq!(*seen.borrow(), [1]);
        assert_eq!(entrance.enter(1), 0, "2 stands in line");
        entrance.leave(1, admit);
        entrance.leave(1, admit);
        assert_eq!(*seen.borrow(), [1, 2]);
        assert_eq!(entrance.enter(2), 1);
    }

    #[test]
    fn who_lines_up_when_there_is_room_is_in() {
        let (entrance, seen) = full();
        entrance.leave(1, |_| ());
        let admit = |item| seen.borrow_mut().push(item);
        assert!(matches!(entrance.line_up(1, 1, None, admit), LinedUp::In));
        assert_eq!((entrance.enter(1), entrance.line_length()), (0, 0));
    }

    #[test]
    fn the_first_one_gathers_its_places() {
        let entrance = Entrance::new(3);
        assert_eq!(entrance.enter(2), 2);
        let seen = RefCell::new(Vec::new());
        let admit = |item| seen.borrow_mut().push(item);
        let _ = number(entrance.line_up(1, 3, None, admit));
        let _ = number(entrance.line_up(2, 1, None, admit));
        entrance.leave(1, admit);
        assert!(seen.borrow().is_empty(), "one of three is missing");
        entrance.leave(1, admit);
        assert_eq!(*seen.borrow(), [1]);
    }

    #[test]
    fn who_steps_out_makes_room_for_the_next() {
        let (entrance, seen) = full();
        let admit = |item| seen.borrow_mut().push(item);
        let numbers = [1, 2, 3, 4].map(|item| number(entrance.line_up(item, 1, None, admit)));
        assert_eq!(entrance.step_out(numbers[1], admit), Some(2));
        assert_eq!(entrance.step_out(numbers[1], admit), None);
        assert_eq!(entrance.step_out(numbers[3], admit), Some(4));
        assert_eq!(entrance.line_length(), 2);
        assert_eq!(entrance.step_out(numbers[0], admit), Some(1));
        entrance.leave(1, admit);
        assert_eq!(*seen.borrow(), [3]);
        assert_eq!(entrance.step_out(numbers[2], admit), None, "it is in");
        entrance.leave(1, admit);
        assert_eq!(entrance.enter(2), 1);
    }

    #[test]
    fn what_the_first_one_had_gathered_goes_to_the_next() {
        let entrance = Entrance::new(2);
        assert_eq!(entrance.enter(1), 1);
        let seen = RefCell::new(Vec::new());
        let admit = |item| seen.borrow_mut().push(item);
        let first = number(entrance.line_up(1, 2, None, admit));
        let _ = number(entrance.line_up(2, 1, None, admit));
        assert_eq!(entrance.step_out(first, admit), Some(1));
        assert_eq!(*seen.borrow(), [2]);
    }

    #[test]
    fn a_close_refuses_threads_and_lets_the_rest_in() {
        let (entrance, seen) = full();
        let admit = |item| seen.borrow_mut().push(item);
        let turn = Turn::default();
        let waiting = number(entrance.line_up(1, 1, Some(Arc::clone(&turn)), admit));
        let _ = number(entrance.line_up(2, 1, None, admit));
        assert_eq!(entrance.close(admit), [1]);
        assert_eq!(*seen.borrow(), [2]);
        assert_eq!(turn.state.phase(), Phase::Cancelled);
        assert_eq!(entrance.step_out(waiting, admit), None);
        assert!(matches!(
            entrance.line_up(3, 1, None, admit),
            LinedUp::Closed(3)
        ));
    }
}
