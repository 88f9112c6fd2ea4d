//! Something that is to be done with a shared thing as soon as it can be: a wait, native.
//!
//! Guarantees: what a ticket was called for is its own until it is taken or given up, so neither
//! a timeout nor an interrupt nor a cancelled await loses an item or a lock; a ticket that goes
//! without has given up; the thread sleeps with the GIL released, and without looking at a clock.

use super::door::Door;
use super::room::Room;
use super::{Thing, What};
use crate::core::idle;
use crate::core::latch::Unpark;
use crate::core::shared::channel::Standing;
use crate::core::shared::{Fate, Place, Turn};
use crate::interp::attach::Attached;
use crate::interp::lock::Woken;
use crate::interp::nap::{self, Nap};
use crate::transfer::value::Payload;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// An event's being set.
    Set,
    Get,
    Put,
    /// The end of all items of a queue.
    Join,
    Acquire,
}

/// The longest sleep of the thread that handles signals: see `future.rs`.
const LONGEST_NAP: Duration = Duration::from_secs(1);

/// How a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    Done,
    TimedOut,
    /// Disturbed, with so much left to wait: come back by way of Python.
    Again(Option<Duration>),
    /// A signal's handler has raised, or an interrupt was.
    Raised,
    NoMemory,
}

pub struct Shared {
    pub thing: Arc<Thing>,
    pub aim: Aim,
    state: Mutex<State>,
    /// In whose loop it waits (`token`), if it does in one.
    process: AtomicU64,
}

enum State {
    /// Not in a line: with what is to be put.
    Idle(Option<Payload>),
    InLine(Line),
    /// Called: with what was got.
    Done(Option<Payload>),
    Shut,
    Over,
}

/// A queue's turns hand something over, the others' do not.
#[derive(Clone)]
enum Line {
    Plain(Arc<Turn>),
    Queue(Arc<Turn<Payload>>),
}

impl Line {
    fn fate(&self) -> Fate {
        match self {
            Self::Plain(turn) => turn.fate(),
            Self::Queue(turn) => turn.fate(),
        }
    }
}

/// What became of a ticket.
pub enum Taken {
    Nothing,
    Done,
    Item(Payload),
    Shut,
}

impl Shared {
    #[must_use]
    pub fn new(thing: Arc<Thing>, aim: Aim, item: Option<Payload>) -> Arc<Self> {
        Arc::new(Self {
            thing,
            aim,
            state: Mutex::new(State::Idle(item)),
            process: AtomicU64::new(0),
        })
    }

    /// Gets in line, with this bell. False: there is nothing to wait for.
    #[must_use]
    pub fn line_up(&self, place: Place, bell: Arc<dyn Unpark>) -> bool {
        let mut state = self.state.lock();
        let State::Idle(item) = &mut *state else {
            return matches!(&*state, State::InLine(_));
        };
        let (line, standing) = match &self.thing.what {
            What::Event(event) => {
                let turn = Turn::new(place, bell, None);
                let waits = event.line_up(&turn);
                (Line::Plain(turn), standing(waits))
            }
            What::Lock(lock) => {
                let turn = Turn::new(place, bell, None);
                let waits = lock.line_up(&turn);
                (Line::Plain(turn), standing(waits))
            }
            What::Queue { channel, .. } => {
                let turn = Turn::new(place, bell, item.take());
                let standing = match self.aim {
                    Aim::Put => channel.put_or_line_up(&turn),
                    Aim::Join => channel.join_or_line_up(&turn),
                    _ => channel.get_or_line_up(&turn),
                };
                (Line::Queue(turn), standing)
            }
        };
        let waits = standing == Standing::InLine;
        *state = match standing {
            Standing::InLine => State::InLine(line),
            Standing::Done => State::Done(self.handed(&line)),
            Standing::Shut => State::Shut,
        };
        waits
    }

    /// What a turn was given. What it had to give is none of it.
    fn handed(&self, line: &Line) -> Option<Payload> {
        match line {
            Line::Queue(turn) if self.aim == Aim::Get => turn.take(),
            _ => None,
        }
    }

    /// Whether it waits no more. What it was called for is its own then.
    #[must_use]
    pub fn settle(&self) -> bool {
        let mut state = self.state.lock();
        let State::InLine(line) = &*state else {
            return true;
        };
        *state = match line.fate() {
            Fate::Waits => return false,
            Fate::Called => State::Done(self.handed(line)),
            Fate::Refused => State::Shut,
        };
        true
    }

    /// Leaves the line, if it has not been called; it may get in line again. False: it has been.
    fn step_out(&self) -> bool {
        let mut state = self.state.lock();
        let State::InLine(line) = &*state else {
            return matches!(&*state, State::Idle(_));
        };
        match (&self.thing.what, line) {
            (What::Event(event), Line::Plain(turn)) => event.leave(turn),
            (What::Lock(lock), Line::Plain(turn)) => lock.leave(turn),
            (What::Queue { channel, .. }, Line::Queue(turn)) => channel.leave(turn),
            _ => {}
        }
        // It has left: its fate is certain now.
        let (next, left) = match (line.fate(), line) {
            (Fate::Waits, Line::Queue(turn)) => (State::Idle(turn.take()), true),
            (Fate::Waits, Line::Plain(_)) => (State::Idle(None), true),
            (Fate::Called, line) => (State::Done(self.handed(line)), false),
            (Fate::Refused, _) => (State::Shut, false),
        };
        *state = next;
        left
    }

    /// Takes what it was called for. It is over then.
    pub fn take(&self) -> Taken {
        let waits = !self.settle();
        let mut state = self.state.lock();
        if waits || matches!(&*state, State::Idle(_)) {
            return Taken::Nothing;
        }
        match std::mem::replace(&mut *state, State::Over) {
            State::Done(Some(item)) => Taken::Item(item),
            State::Done(None) => Taken::Done,
            State::Shut => Taken::Shut,
            _ => Taken::Nothing,
        }
    }

    /// Leaves the line, and gives back what it was called for and has not taken.
    pub fn give_up(&self) {
        let last = std::mem::replace(&mut *self.state.lock(), State::Over);
        match (last, &self.thing.what) {
            (State::InLine(Line::Queue(turn)), What::Queue { channel, .. }) => {
                channel.give_up(&turn, self.aim == Aim::Get);
            }
            (State::Done(Some(item)), What::Queue { channel, .. }) => channel.give_back(item),
            (State::InLine(Line::Plain(turn)), What::Event(event)) => event.leave(&turn),
            (_, What::Lock(_)) if self.is_of_the_parent() => {}
            (State::InLine(Line::Plain(turn)), What::Lock(lock)) => lock.give_up(&turn),
            (State::Done(_), What::Lock(lock)) => {
                let _ = lock.release();
            }
            _ => {}
        }
    }

    /// Whether it waited in a loop of the process that this one was forked from. A lock that it was
    /// handed there was free at the beginning here, and may be another's by now.
    fn is_of_the_parent(&self) -> bool {
        // Relaxed, as in `enter`: written by the loop's thread, which is the one that forked if this
        // is not the process that it was written in.
        let process = self.process.load(Ordering::Relaxed);
        process != 0 && process != super::token()
    }

    /// Waits, detached, and runs the handlers of signals, if this thread does.
    pub fn wait(
        self: &Arc<Self>,
        token: Attached<'_>,
        room: &Room,
        limit: Option<Duration>,
    ) -> Waited {
        let begin = Instant::now();
        let signals = room.signals();
        let Some(nap) = Nap::new() else {
            return Waited::NoMemory;
        };
        if limit == Some(Duration::ZERO) {
            return if self.line_up(room.place(), nap) {
                self.end(Waited::TimedOut)
            } else {
                Waited::Done
            };
        }
        let Ok(_rest) = nap::rest_and_look(nap.clone(), || room.look()) else {
            return Waited::Raised;
        };
        if !self.line_up(room.place(), nap.clone()) {
            return Waited::Done;
        }
        let mut first = true;
        loop {
            let left = limit.map(|limit| limit.saturating_sub(begin.elapsed()));
            let sleep = if signals.is_some() {
                Some(left.map_or(LONGEST_NAP, |left| left.min(LONGEST_NAP)))
            } else {
                left
            };
            let look = std::mem::take(&mut first);
            let woken = token.detached(|| {
                let _rests = idle::AtRest::new();
                if look && idle::look_if_there_is_room(|| self.settle().then_some(())).is_some() {
                    return Woken::Unparked;
                }
                if look && signals.is_some() {
                    return Woken::Signal; // one that came meanwhile would not end the sleep
                }
                nap.sleep(sleep)
            });
            if self.settle() {
                return Waited::Done;
            }
            if nap.was_disturbed() {
                let left = limit.map(|limit| limit.saturating_sub(begin.elapsed()));
                return self.end(Waited::Again(left));
            }
            if woken == Woken::TimedOut && sleep == left {
                return self.end(Waited::TimedOut);
            }
            if woken != Woken::Unparked
                && let Some(signals) = signals
                && !signals(token)
            {
                self.step_out();
                return Waited::Raised;
            }
        }
    }

    /// Ends a wait like this, unless it was called meanwhile.
    fn end(&self, otherwise: Waited) -> Waited {
        if self.step_out() {
            otherwise
        } else {
            Waited::Done
        }
    }

    /// Waits by way of a loop's door. `None`: there is nothing to wait for.
    pub fn enter(self: &Arc<Self>, place: Place, door: &Arc<Door>) -> Option<u64> {
        // Relaxed: as in `is_of_the_parent`.
        self.process.store(super::token(), Ordering::Relaxed);
        let (number, bell) = door.enter(self);
        if self.line_up(place.of_loop(), bell) {
            return Some(number);
        }
        door.leave(number);
        None
    }
}

const fn standing(waits: bool) -> Standing {
    if waits {
        Standing::InLine
    } else {
        Standing::Done
    }
}
