//! How an event loop learns that a turn of it has come: one descriptor for all its waits.
//!
//! Guarantees: who is called while it waits here is told by the loop's next emptying of the door;
//! a descriptor that is readable until then, and nothing else, wakes the loop; a disturbance of
//! the loop's thread (nap.rs) wakes the loop as well; tickets that are still held when the
//! interpreter ends are given up.
//!
//! `core/mailbox.rs` is the protocol between those who post and the loop.

use super::ticket::Shared as Ticket;
use crate::core::brief::Brief;
use crate::core::latch::Unpark;
use crate::core::mailbox::Mailbox;
use crate::interp::nap::Disturb;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::sync::{Arc, Weak};

pub struct Door {
    interpreter: i64,
    mailbox: Mailbox<u64>,
    reader: File,
    writer: File,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    last: u64,
    tickets: HashMap<u64, Arc<Ticket>>,
}

static DOORS: Brief<Vec<Weak<Door>>> = Brief::new(Vec::new());

impl Door {
    /// Takes over two descriptors that do not block: one to watch, and one that makes it readable.
    ///
    /// # Safety
    /// Nobody else closes them.
    #[must_use]
    pub unsafe fn new(interpreter: i64, reader: RawFd, writer: RawFd) -> Arc<Self> {
        // SAFETY: by the contract.
        let own = |descriptor| unsafe { File::from_raw_fd(descriptor) };
        let door = Arc::new(Self {
            interpreter,
            mailbox: Mailbox::new(),
            reader: own(reader),
            writer: own(writer),
            waiting: Mutex::default(),
        });
        let mut doors = DOORS.lock();
        doors.retain(|door| door.strong_count() > 0);
        doors.push(Arc::downgrade(&door));
        door
    }

    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.reader.as_raw_fd()
    }

    /// A number for a ticket, and the bell that tells it.
    pub fn enter(self: &Arc<Self>, ticket: &Arc<Ticket>) -> (u64, Arc<dyn Unpark>) {
        let mut waiting = self.waiting.lock();
        waiting.last += 1;
        let number = waiting.last;
        waiting.tickets.insert(number, Arc::clone(ticket));
        let bell = Post {
            door: Arc::downgrade(self),
            number,
        };
        (number, Arc::new(bell))
    }

    pub fn leave(&self, number: u64) {
        let left = self.waiting.lock().tickets.remove(&number);
        drop(left);
    }

    /// The numbers of those that were called. By the loop, when the descriptor is readable.
    pub fn empty(&self) -> Vec<u64> {
        // Nothing to read: called for another reason. What is left to read calls again.
        drop((&self.reader).read(&mut [0; 64]));
        self.mailbox.answer();
        std::iter::from_fn(|| self.mailbox.take()).collect()
    }

    fn ring(&self) {
        // It fails when it is full: then it is readable.
        drop((&self.writer).write(&1_u64.to_ne_bytes()));
    }

    /// Gives up all that waits here.
    pub fn abandon(&self) {
        let tickets = std::mem::take(&mut self.waiting.lock().tickets);
        for ticket in tickets.into_values() {
            ticket.give_up();
        }
    }
}

impl Disturb for Door {
    fn disturb(&self) {
        self.ring();
    }
}

/// The bell of one ticket.
struct Post {
    /// Without a door nobody waits.
    door: Weak<Door>,
    number: u64,
}

impl Unpark for Post {
    fn unpark(&self) {
        if let Some(door) = self.door.upgrade()
            && door.mailbox.post(self.number)
        {
            door.ring();
        }
    }
}

/// Keeps others out until `end_fork`.
pub fn hold_for_fork() {
    std::mem::forget(DOORS.lock());
}

/// # Safety
/// The calling thread has called `hold_for_fork`; in the child of the fork or in the parent.
pub unsafe fn end_fork() {
    // SAFETY: held by this thread, by the contract.
    unsafe { DOORS.force_unlock() };
}

/// An interpreter has ended, and its loops with it.
pub fn abandon_those_of(interpreter: i64) {
    let doors: Vec<_> = DOORS.lock().iter().filter_map(Weak::upgrade).collect();
    for door in doors {
        if door.interpreter == interpreter {
            door.abandon();
        }
    }
}
