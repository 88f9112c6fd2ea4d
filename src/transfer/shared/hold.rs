//! `with lock:` in one call each: Python looks for what is to be raised between calls, and within
//! them for Python code alone, so an interrupt finds the lock held within the block or not at all.
//!
//! Guarantees: `enter` has acquired the lock, or has raised and has not; `exit` has released it.
//! Not guaranteed: that nothing is raised between `enter` and the block: as with `threading.Lock`.

use super::handle::{Handle, room_of};
use super::ticket::{Aim, Shared, Taken, Waited};
use super::{Thing, What};
use crate::core::shared::lock::Lock;
use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::boxed::Given;
use crate::interp::object::{Object, Outcome, Raised};
use std::sync::Arc;

fn lock_of<'t>(thing: &'t Thing, token: Attached<'_>) -> Result<&'t Lock, Raised> {
    match &thing.what {
        What::Lock(lock) => Ok(lock),
        _ => Err(Raised::value_error(token, "not a lock")),
    }
}

/// `enter()`: waits for the lock, whatever it takes.
pub fn enter(own: &Handle, given: &Given) -> Outcome<'static> {
    let token = given.token;
    let room = room_of(&own.room)?;
    if lock_of(&own.thing, token)?.acquire(room.place()) {
        return Ok(Object::boolean(token, true));
    }
    let shared = Shared::new(Arc::clone(&own.thing), Aim::Acquire, None);
    loop {
        let raised = match shared.wait(token, room.place(), None, room.signals()) {
            Waited::Done if matches!(shared.take(), Taken::Done) => {
                return Ok(Object::boolean(token, true));
            }
            Waited::Again(_) | Waited::TimedOut => match look(token) {
                Ok(_) => continue,
                Err(raised) => raised,
            },
            Waited::Raised => Raised::pending(token),
            Waited::NoMemory => {
                // SAFETY: attached; sets MemoryError.
                unsafe { ffi::PyErr_NoMemory() };
                Raised::pending(token)
            }
            Waited::Done => Raised::lost(token),
        };
        shared.give_up();
        return Err(raised);
    }
}

/// Has Python raise what was set for this thread: it does when a function of its begins.
fn look(token: Attached<'static>) -> Outcome<'static> {
    let look = Object::import(token, c"subpool._sharing")?.attribute(c"look")?;
    look.call(&Object::tuple(token, [])?, None)
}

/// `exit(...)`, and `free()`: releases the lock.
pub fn exit(own: &Handle, given: &Given) -> Outcome<'static> {
    let token = given.token;
    if lock_of(&own.thing, token)?.release() {
        return Ok(Object::none(token));
    }
    // SAFETY: attached; a static exception type and a C string.
    unsafe {
        ffi::PyErr_SetString(ffi::PyExc_RuntimeError, c"release unlocked lock".as_ptr());
    }
    Err(Raised::pending(token))
}
