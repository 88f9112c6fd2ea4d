//! The objects through which Python code has shared things: handles, tickets, doors.
//!
//! They are `subpool.sync`'s, which makes classes of them; nobody else sees them.

use super::room::Room;
use super::ticket::{Aim, Shared, Taken, Waited};
use super::{Thing, What};
use super::{door, hold};
use crate::core::shared::channel::{Channel, Refusal};
use crate::core::shared::event::Event;
use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::boxed::{self, Given, methods};
use crate::interp::nap::{Disturb, Rest, own_thread};
use crate::interp::native::Methods;
use crate::interp::object::{Object, Outcome, Raised, check};
use crate::transfer::value::Payload;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

pub struct Handle {
    pub room: Object<'static>,
    pub thing: Arc<Thing>,
}

pub struct Ticket {
    room: Object<'static>,
    shared: Arc<Shared>,
    /// Where it waits.
    door: Mutex<Option<(Arc<door::Door>, u64)>>,
}

pub struct Door {
    pub door: Arc<door::Door>,
    /// Of the thread that runs the loop.
    pub rest: Rest,
}

static FREE: boxed::Free = free;
static FREE_TICKET: boxed::Free = free_ticket;
static FREE_DOOR: boxed::Free = free_door;

unsafe extern "C" fn free(handle: *mut ffi::PyObject) {
    // SAFETY: the end of handles.
    unsafe { boxed::free::<Handle>(handle) };
}

unsafe extern "C" fn free_ticket(ticket: *mut ffi::PyObject) {
    // SAFETY: the end of tickets.
    unsafe { boxed::free::<Ticket>(ticket) };
}

unsafe extern "C" fn free_door(door: *mut ffi::PyObject) {
    // SAFETY: the end of doors.
    unsafe { boxed::free::<Door>(door) };
}

pub fn make_type(token: Attached<'_>) -> Outcome<'_> {
    // SAFETY: the methods are static, and take what they are called on for a handle.
    unsafe { boxed::make_type::<Handle>(token, c"subpool.Handle", METHODS.table(), FREE) }
}

pub fn make_ticket_type(token: Attached<'_>) -> Outcome<'_> {
    let methods = TICKET_METHODS.table();
    // SAFETY: the methods are static, and take what they are called on for a ticket.
    unsafe { boxed::make_type::<Ticket>(token, c"subpool.Ticket", methods, FREE_TICKET) }
}

pub fn make_door_type(token: Attached<'_>) -> Outcome<'_> {
    let methods = DOOR_METHODS.table();
    // SAFETY: the methods are static, and take what they are called on for a door.
    unsafe { boxed::make_type::<Door>(token, c"subpool.Door", methods, FREE_DOOR) }
}

/// What a handle stands for; `None` for anything else.
pub fn thing_of(object: &Object<'_>) -> Option<Arc<Thing>> {
    // SAFETY: `FREE` is the end of handles alone.
    unsafe { boxed::value_of::<Handle>(object, FREE) }.map(|handle| Arc::clone(&handle.thing))
}

impl Handle {
    fn room(&self) -> Result<&Room, Raised> {
        room_of(&self.room)
    }
}

static METHODS: Methods<25> = methods!(
    Handle,
    c"set": METH_NOARGS => |own, given| own.with_event(given, Event::set),
    c"clear": METH_NOARGS => |own, given| own.with_event(given, Event::clear),
    c"is_set": METH_NOARGS => |own, given| match &own.thing.what {
        What::Event(event) => Ok(Object::boolean(given.token, event.is_set())),
        What::Lock(lock) => Ok(Object::boolean(given.token, lock.is_held())),
        What::Queue { .. } => own.refuse(given.token),
    },
    c"acquire": METH_NOARGS => |own, given| match &own.thing.what {
        What::Lock(lock) => {
            let place = own.room()?.place();
            Ok(Object::boolean(given.token, lock.acquire(place)))
        }
        _ => own.refuse(given.token),
    },
    c"acquire_in_loop": METH_NOARGS => |own, given| match &own.thing.what {
        What::Lock(lock) => {
            let place = own.room()?.place().of_loop();
            Ok(Object::boolean(given.token, lock.acquire(place)))
        }
        _ => own.refuse(given.token),
    },
    c"enter": METH_NOARGS => hold::enter,
    c"exit": METH_VARARGS => hold::exit,
    c"free": METH_NOARGS => hold::exit,
    c"enter_in_loop": METH_NOARGS => hold::enter_in_loop,
    c"exit_in_loop": METH_VARARGS => hold::exit_in_loop,
    c"put": METH_O => Handle::put,
    c"get": METH_NOARGS => Handle::get,
    c"task_done": METH_NOARGS => |own, given| {
        own.with_queue(given, |queue| Object::boolean(given.token, queue.task_done()))
    },
    c"shutdown": METH_O => |own, given| {
        // SAFETY: `True` lives for ever and is compared only.
        let now = unsafe { ffi::Py_True() };
        let now = given.argument.as_ref().is_some_and(|given| given.as_ptr() == now);
        own.with_queue(given, |queue| {
            queue.shut(now);
            Object::none(given.token)
        })
    },
    c"qsize": METH_NOARGS => |own, given| match &own.thing.what {
        What::Queue { channel, .. } => own.count(given, channel.len()),
        _ => own.refuse(given.token),
    },
    c"most": METH_NOARGS => |own, given| match &own.thing.what {
        What::Queue { most, .. } => own.count(given, *most),
        _ => own.refuse(given.token),
    },
    c"unfinished": METH_NOARGS => |own, given| match &own.thing.what {
        What::Queue { channel, .. } => own.count(given, channel.unfinished()),
        _ => own.refuse(given.token),
    },
    c"is_shut": METH_NOARGS => |own, given| {
        own.with_queue(given, |queue| Object::boolean(given.token, queue.is_shut()))
    },
    c"full": METH_NOARGS => |own, given| {
        own.with_queue(given, |queue| Object::boolean(given.token, queue.is_full()))
    },
    // For tests.
    c"waiting": METH_NOARGS => |own, given| own.count(given, match &own.thing.what {
        What::Event(event) => event.waiting(),
        What::Lock(lock) => lock.waiting(),
        What::Queue { channel, .. } => channel.waiting(),
    }),
    c"kind": METH_NOARGS => |own, given| Object::string(given.token, own.thing.what.kind()),
    c"name": METH_NOARGS => Handle::name,
    c"ticket": METH_O => Handle::ticket,
    c"__reduce__": METH_NOARGS => Handle::reduce,
);

impl Handle {
    fn with_event(&self, given: &Given, act: fn(&Event)) -> Outcome<'static> {
        let What::Event(event) = &self.thing.what else {
            return self.refuse(given.token);
        };
        act(event);
        Ok(Object::none(given.token))
    }

    fn with_queue(
        &self,
        given: &Given,
        act: impl FnOnce(&Channel<Payload>) -> Object<'static>,
    ) -> Outcome<'static> {
        match &self.thing.what {
            What::Queue { channel, .. } => Ok(act(channel)),
            _ => self.refuse(given.token),
        }
    }

    fn count(&self, given: &Given, count: usize) -> Outcome<'static> {
        Object::integer(given.token, i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// `put(item)`. `True`: it is in. `False`: the queue is shut. A ticket: there is no room.
    fn put(&self, given: &Given) -> Outcome<'static> {
        let token = given.token;
        let (What::Queue { channel, .. }, Some(item)) = (&self.thing.what, &given.argument) else {
            return self.refuse(token);
        };
        let room = self.room()?;
        match channel.put(room.encode(item)?) {
            Ok(()) => Ok(Object::boolean(token, true)),
            Err((_, Refusal::Shut)) => Ok(Object::boolean(token, false)),
            Err((payload, Refusal::Now)) => {
                room.ticket(&self.room, &self.thing, Aim::Put, Some(payload))
            }
        }
    }

    /// `get()`: as `Room::read`. `None`: there is none. `False`: the queue is shut, too.
    fn get(&self, given: &Given) -> Outcome<'static> {
        let token = given.token;
        let What::Queue { channel, .. } = &self.thing.what else {
            return self.refuse(token);
        };
        match channel.get() {
            Ok(item) => self.room()?.read(token, item),
            Err(Refusal::Now) => Ok(Object::none(token)),
            Err(Refusal::Shut) => Ok(Object::boolean(token, false)),
        }
    }

    /// `ticket(joins)`: to wait for what a handle of this kind is waited for; with `True` for the
    /// end of a queue's items.
    fn ticket(&self, given: &Given) -> Outcome<'static> {
        // SAFETY: `True` lives for ever and is compared only.
        let yes = unsafe { ffi::Py_True() };
        let joins = given
            .argument
            .as_ref()
            .is_some_and(|given| given.as_ptr() == yes);
        let aim = match &self.thing.what {
            What::Event(_) => Aim::Set,
            What::Lock(_) => Aim::Acquire,
            What::Queue { .. } if joins => Aim::Join,
            What::Queue { .. } => Aim::Get,
        };
        self.room()?.ticket(&self.room, &self.thing, aim, None)
    }

    /// `(token, number)`, which `Room.find` takes.
    fn name(&self, given: &Given) -> Outcome<'static> {
        let token = given.token;
        // SAFETY: attached; new references or null with an error.
        let number =
            |number| unsafe { Object::from_new(token, ffi::PyLong_FromUnsignedLongLong(number)) };
        Object::tuple(token, [number(super::token())?, number(self.thing.number)?])
    }

    /// For a pickle that is not ours: the number, which leads to the thing as long as it lives.
    fn reduce(&self, given: &Given) -> Outcome<'static> {
        let token = given.token;
        let find = Object::import(token, c"subpool._sharing")?.attribute(c"find")?;
        let kind = Object::string(token, self.thing.what.kind())?;
        let name = self.name(given)?;
        Object::tuple(token, [find, Object::tuple(token, [kind, name])?])
    }

    fn refuse(&self, token: Attached<'static>) -> Outcome<'static> {
        let kind = self.thing.what.kind();
        Err(Raised::value_error(token, &format!("not for a {kind}")))
    }
}

static TICKET_METHODS: Methods<5> = methods!(
    Ticket,
    c"wait": METH_O => Ticket::wait,
    c"enter": METH_O => Ticket::enter,
    c"take": METH_NOARGS => Ticket::take,
    c"leave": METH_NOARGS => |own, given| {
        own.give_up();
        Ok(Object::none(given.token))
    },
);

impl Ticket {
    pub fn new(room: Object<'static>, shared: Arc<Shared>) -> Self {
        Self {
            room,
            shared,
            door: Mutex::new(None),
        }
    }

    /// `wait(seconds)`: `True`: there is something to take; `False`: the time is up; else what is
    /// left of the time, `None` for any: look whether something was raised, then come again.
    fn wait(&self, given: &Given) -> Outcome<'static> {
        let token = given.token;
        let limit = match &given.argument {
            Some(limit) => seconds(token, limit)?,
            None => None,
        };
        let room = room_of(&self.room)?;
        match self.shared.wait(token, room, limit) {
            Waited::Done => Ok(Object::boolean(token, true)),
            Waited::TimedOut => Ok(Object::boolean(token, false)),
            Waited::Again(None) => Ok(Object::none(token)),
            Waited::Again(Some(left)) => {
                // SAFETY: attached; a new reference or null with an error.
                unsafe { Object::from_new(token, ffi::PyFloat_FromDouble(left.as_secs_f64())) }
            }
            Waited::Raised => Err(Raised::pending(token)),
            Waited::NoMemory => {
                // SAFETY: attached; sets MemoryError.
                unsafe { ffi::PyErr_NoMemory() };
                Err(Raised::pending(token))
            }
        }
    }

    /// `enter(door)`: the number under which the door will tell; `None`: there is something to
    /// take.
    fn enter(&self, given: &Given) -> Outcome<'static> {
        let token = given.token;
        let door = given.argument.as_ref();
        // SAFETY: `FREE_DOOR` is the end of doors alone.
        let door = door.and_then(|door| unsafe { boxed::value_of::<Door>(door, FREE_DOOR) });
        let Some(Door { door, rest }) = door else {
            return Err(Raised::value_error(token, "not a door"));
        };
        // A loop may be run by one thread after the other.
        rest.follow(own_thread());
        let place = room_of(&self.room)?.place();
        let Some(number) = self.shared.enter(place, door) else {
            return Ok(Object::none(token));
        };
        *self.door.lock() = Some((Arc::clone(door), number));
        Object::integer(token, number.cast_signed())
    }

    /// `take()`: of a queue as `Room::read`, else `True`. `None`: it waits yet. `False`: the queue
    /// is shut. Once.
    fn take(&self, given: &Given) -> Outcome<'static> {
        let token = given.token;
        let taken = self.shared.take();
        if !matches!(taken, Taken::Nothing) {
            self.leave_door();
        }
        match taken {
            Taken::Nothing => Ok(Object::none(token)),
            Taken::Done => Ok(Object::boolean(token, true)),
            Taken::Shut => Ok(Object::boolean(token, false)),
            Taken::Item(item) => room_of(&self.room)?.read(token, item),
        }
    }

    fn leave_door(&self) {
        let left = self.door.lock().take();
        if let Some((door, number)) = left {
            door.leave(number);
        }
    }

    fn give_up(&self) {
        self.shared.give_up();
        self.leave_door();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.give_up();
    }
}

static DOOR_METHODS: Methods<4> = methods!(
    Door,
    c"fileno": METH_NOARGS => |own, given| {
        Object::integer(given.token, own.door.descriptor().into())
    },
    // `drain(told)`: adds the numbers of those that were called to the list.
    c"drain": METH_O => |own, given| {
        let token = given.token;
        own.rest.follow(own_thread());
        for number in own.door.empty() {
            let number = Object::integer(token, number.cast_signed())?;
            if let Some(told) = &given.argument {
                // SAFETY: live; what is no list raises.
                check(unsafe { ffi::PyList_Append(told.as_ptr(), number.as_ptr()) })?;
            }
        }
        Ok(Object::none(token))
    },
    // `ring()`: has the loop drain once more.
    c"ring": METH_NOARGS => |own, given| {
        own.door.disturb();
        Ok(Object::none(given.token))
    },
);

impl Drop for Door {
    fn drop(&mut self) {
        self.door.abandon();
    }
}

/// Seconds, or `None` for any time.
fn seconds(token: Attached<'_>, given: &Object<'_>) -> Result<Option<Duration>, Raised> {
    // SAFETY: live; `None` is compared only; what is no number raises.
    unsafe {
        if given.as_ptr() == ffi::Py_None() {
            return Ok(None);
        }
        let seconds = ffi::PyFloat_AsDouble(given.as_ptr());
        if !ffi::PyErr_Occurred().is_null() {
            return Err(Raised::pending(token));
        }
        // Negative or not a number: do not wait. Too large for a clock: any time.
        Ok(if seconds > 0.0 {
            Duration::try_from_secs_f64(seconds).ok()
        } else {
            Some(Duration::ZERO)
        })
    }
}

/// The room that a handle or ticket keeps.
pub(super) fn room_of<'o>(room: &'o Object<'static>) -> Result<&'o Room, Raised> {
    super::room::of(room).ok_or_else(|| Raised::lost(room.token()))
}
