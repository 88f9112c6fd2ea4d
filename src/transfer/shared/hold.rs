//! `with lock:` in one call each: Python looks for what is to be raised between calls, and within
//! them for Python code alone, so an interrupt finds the lock held within the block or not at all.
//! `async with lock:` likewise, but for a wait in the loop: what is awaited is done before that.
//!
//! Guarantees: `enter` has acquired the lock, or has raised and has not; both exits have released
//! it.
//! Not guaranteed: that nothing is raised between `enter` and the block: as with `threading.Lock`.

use super::handle::{Handle, room_of};
use super::ticket::{Aim, Shared, Taken, Waited};
use super::{Thing, What};
use crate::core::shared::lock::Lock;
use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::boxed::{self, Given};
use crate::interp::object::{Object, Outcome, Raised};
use std::ffi::c_void;
use std::ptr;
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
        let raised = match shared.wait(token, room, None) {
            Waited::Done if matches!(shared.take(), Taken::Done) => {
                return Ok(Object::boolean(token, true));
            }
            // The next wait looks first.
            Waited::Again(_) | Waited::TimedOut => continue,
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

/// `enter_in_loop()`: what is to be awaited; it has the lock already, if that was free.
pub fn enter_in_loop(own: &Handle, given: &Given) -> Outcome<'static> {
    let token = given.token;
    let room = room_of(&own.room)?;
    if lock_of(&own.thing, token)?.acquire(room.place().of_loop()) {
        return Ok(room.done());
    }
    let wait = Object::import(token, c"subpool._sharing")?.attribute(c"wait_in_loop")?;
    wait.call1(&given.object)
}

/// `exit_in_loop(...)`: releases the lock. There is nothing to wait for in what it gives.
pub fn exit_in_loop(own: &Handle, given: &Given) -> Outcome<'static> {
    let room = room_of(&own.room)?;
    exit(own, given)?;
    Ok(room.done())
}

/// What may be awaited, and is done.
struct Done;

static FREE: boxed::Free = free;

unsafe extern "C" fn free(done: *mut ffi::PyObject) {
    // SAFETY: the end of these.
    unsafe { boxed::free::<Done>(done) };
}

/// The one of an interpreter.
pub fn make_done<'i>(token: Attached<'i>) -> Outcome<'i> {
    let slot = ffi::PyType_Slot {
        slot: ffi::Py_am_await,
        pfunc: nothing_to_wait_for as *mut c_void,
    };
    // SAFETY: the function is static, and of the kind that the slot wants; the type is for these.
    unsafe {
        let class = boxed::make_type_with::<Done>(token, c"subpool.Done", slot, FREE)?;
        boxed::make(&class, Done)
    }
}

/// An iterator that is at its end.
///
/// # Safety
/// Called by CPython as the slot of a type, so attached.
unsafe extern "C" fn nothing_to_wait_for(_done: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: attached, by the contract; new references or null with an error.
    unsafe {
        let token: Attached<'_> = Attached::assume();
        Object::tuple(token, [])
            .map_or(ptr::null_mut(), |none| ffi::PyObject_GetIter(none.as_ptr()))
    }
}
