//! Events, queues and locks as the interpreters of a process share them.
//!
//! Guarantees: a thing lives as long as anybody refers to it: a handle in any interpreter, a handle
//! on its way (a buffer beside a payload's bytes), somebody who waits; a number leads to a living
//! thing or to none, in this process alone; what an interpreter leaves behind when it ends is taken
//! out of every line, and what it was handed and has not taken goes to the next.
//!
//! `core/PROTOCOL.md`, "Shared things", has the argument.

pub mod door;
pub mod handle;
mod hold;
pub mod room;
pub mod ticket;

use super::value::Payload;
use crate::core::brief::Brief;
use crate::core::shared::channel::Channel;
use crate::core::shared::event::Event;
use crate::core::shared::lock::Lock;
use crate::interp::nap::{self, own_thread};
use parking_lot::Mutex;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once, OnceLock, Weak};
use std::time::SystemTime;

pub struct Thing {
    pub number: u64,
    pub what: What,
}

pub enum What {
    Event(Event),
    Queue {
        channel: Channel<Payload>,
        /// As it was asked for.
        most: usize,
    },
    Lock(Lock),
}

impl What {
    /// As `subpool.sync` names it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Event(_) => "Event",
            Self::Queue { .. } => "Queue",
            Self::Lock(_) => "Lock",
        }
    }
}

struct Registry {
    last: u64,
    things: Option<HashMap<u64, Weak<Thing>>>,
    /// Those whose last handle went while the process forked: they go when the next is made, comes
    /// from elsewhere or goes itself, with this.
    late: Vec<Thing>,
}

impl Registry {
    fn forget(&mut self, number: u64) {
        if let Some(things) = &mut self.things {
            things.remove(&number);
        }
    }
}

/// Drops what a fork has left. What is dropped may run code of Python's.
pub fn drop_late() {
    let late = std::mem::take(&mut REGISTRY.lock().late);
    drop(late);
}

static REGISTRY: Brief<Registry> = Brief::new(Registry {
    last: 0,
    things: None,
    late: Vec::new(),
});

impl Thing {
    #[must_use]
    pub fn new(what: What) -> Arc<Self> {
        survive_forks();
        drop_late();
        let mut registry = REGISTRY.lock();
        registry.last += 1;
        let number = registry.last;
        let thing = Arc::new(Self { number, what });
        let things = registry.things.get_or_insert_default();
        things.insert(number, Arc::downgrade(&thing));
        thing
    }

    #[must_use]
    pub fn find(number: u64) -> Option<Arc<Self>> {
        let registry = REGISTRY.lock();
        registry.things.as_ref()?.get(&number)?.upgrade()
    }

    fn hold_for_fork(&self) {
        match &self.what {
            What::Event(event) => event.hold_for_fork(),
            What::Queue { channel, .. } => channel.hold_for_fork(),
            What::Lock(lock) => lock.hold_for_fork(),
        }
    }

    /// # Safety
    /// As for those of the core.
    unsafe fn end_fork(&self, child: Option<u64>) {
        // SAFETY: by the contract.
        unsafe {
            match &self.what {
                What::Event(event) => event.end_fork(child),
                What::Queue { channel, .. } => channel.end_fork(child),
                What::Lock(lock) => lock.end_fork(child),
            }
        }
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        let late = {
            let mut registry = REGISTRY.lock();
            registry.forget(self.number);
            std::mem::take(&mut registry.late)
        };
        drop(late);
        if let What::Queue { channel, .. } = &mut self.what {
            drop_in_turn(channel.take_all());
        }
    }
}

/// Drops the items of a queue that goes. One may be the last handle of a queue with another in it,
/// and so on, for longer than a stack is deep.
fn drop_in_turn(items: VecDeque<Payload>) {
    thread_local! {
        /// What the drop that is under way has come upon.
        static LEFT: RefCell<Option<Vec<VecDeque<Payload>>>> = const { RefCell::new(None) };
    }
    if items.is_empty() {
        return;
    }
    let mut next = LEFT.with_borrow_mut(|left| match left {
        Some(left) => {
            left.push(items);
            None
        }
        None => {
            *left = Some(Vec::new());
            Some(items)
        }
    });
    while let Some(items) = next {
        drop(items);
        next = LEFT.with_borrow_mut(|left| {
            let more = left.as_mut().and_then(Vec::pop);
            if more.is_none() {
                *left = None;
            }
            more
        });
    }
}

/// How many things there are.
#[must_use]
pub fn count() -> usize {
    drop_late();
    REGISTRY.lock().things.as_ref().map_or(0, HashMap::len)
}

/// What no other process has, so that a number of this one means nothing there. Never 0.
#[must_use]
pub fn token() -> u64 {
    // Relaxed, everywhere: whoever makes it first decides, and nothing else hangs on it.
    let known = TOKEN.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    let made = RandomState::new().hash_one((std::process::id(), SystemTime::now()));
    let made = made.max(1);
    match TOKEN.compare_exchange(0, made, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => made,
        Err(first) => first,
    }
}

static TOKEN: AtomicU64 = AtomicU64::new(0);

/// What was held when the process forked.
static HELD: OnceLock<Mutex<Vec<Arc<Thing>>>> = OnceLock::new();

/// All locks of things are taken for a fork, by the forking thread itself and within the C library's
/// `fork`: a hook of Python's might come before others that use them. They are held for moments
/// only, and never by who waits for a GIL, so this does not wait for the forking thread's own.
pub fn survive_forks() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        HELD.get_or_init(Mutex::default);
        // SAFETY: functions without arguments. No memory for it: then a child may find a lock
        // taken, as it may find those of the C library's callers.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    });
}

unsafe extern "C" fn before() {
    let registry = REGISTRY.lock();
    let things: Vec<_> = registry
        .things
        .iter()
        .flat_map(HashMap::values)
        .filter_map(Weak::upgrade)
        .collect();
    std::mem::forget(registry);
    for thing in &things {
        thing.hold_for_fork();
    }
    nap::hold_for_fork();
    door::hold_for_fork();
    if let Some(held) = HELD.get() {
        *held.lock() = things;
    }
}

unsafe extern "C" fn in_parent() {
    // SAFETY: after `before`, on its thread.
    unsafe { after(None) };
}

unsafe extern "C" fn in_child() {
    // Relaxed: one thread.
    TOKEN.store(0, Ordering::Relaxed);
    // SAFETY: as above.
    unsafe { after(Some(own_thread())) };
}

/// # Safety
/// After `before`, on its thread, which is that number in the child.
unsafe fn after(child: Option<u64>) {
    let things = HELD.get().map(|held| std::mem::take(&mut *held.lock()));
    // SAFETY: taken in `before`.
    unsafe {
        door::end_fork();
        nap::end_fork(child);
        for thing in things.iter().flatten() {
            thing.end_fork(child);
        }
        REGISTRY.force_unlock();
    }
    // Of some the last handle has gone meanwhile. Nothing of theirs is dropped within a fork, which
    // would run code of Python's; and in the child, where that handle was another thread's, never.
    let last: Vec<_> = things
        .into_iter()
        .flatten()
        .filter_map(Arc::into_inner)
        .collect();
    let mut registry = REGISTRY.lock();
    if child.is_none() {
        registry.late.extend(last);
        return;
    }
    let late = std::mem::take(&mut registry.late);
    for thing in last.into_iter().chain(late) {
        registry.forget(thing.number);
        std::mem::forget(thing);
    }
}

/// An interpreter has ended: what it has left in any line goes.
pub fn forget_interpreter(number: i64) {
    door::abandon_those_of(number);
}
