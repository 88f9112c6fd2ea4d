//! What an interpreter needs for shared things: the types of its handles, and the way items take.
//!
//! `subpool._sharing` asks for one when it is imported, and keeps it.

use super::handle::{self, Door, Handle, Ticket};
use super::hold;
use super::ticket::{Aim, Shared};
use super::{Thing, What, door};
use crate::core::shared::Place;
use crate::core::shared::channel::Channel;
use crate::core::shared::event::Event;
use crate::core::shared::lock::Lock;
use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::boxed::{self, Given, methods};
use crate::interp::nap::{self, own_thread};
use crate::interp::native::Methods;
use crate::interp::object::{Object, Outcome, Raised};
use crate::transfer::buffer::Side;
use crate::transfer::value::{Payload, Transfer};
use std::sync::Arc;

/// How main encodes and decodes items; that needs what is above this room.
pub struct Upcalls {
    pub encode: fn(&Object<'static>) -> Result<Payload, Raised>,
    pub decode: fn(Attached<'static>, Payload) -> Outcome<'static>,
}

enum Coder {
    Main(&'static Upcalls),
    Worker(Transfer<'static>),
}

/// The Python object's content. All of it is of the interpreter that the object lives in.
pub struct Room {
    handles: Object<'static>,
    tickets: Object<'static>,
    doors: Object<'static>,
    /// A function that does nothing.
    look: Object<'static>,
    done: Object<'static>,
    interpreter: i64,
    coder: Coder,
}

static FREE: boxed::Free = free;

unsafe extern "C" fn free(room: *mut ffi::PyObject) {
    // SAFETY: the end of a room's type.
    unsafe { boxed::free::<Room>(room) };
}

/// A new one, of main with its `upcalls`, of a worker without. `look` is a function of Python's
/// that does nothing, and through which no garbage collector would have to come back here.
pub fn make(
    token: Attached<'static>,
    look: Object<'static>,
    upcalls: Option<&'static Upcalls>,
) -> Outcome<'static> {
    // SAFETY: attached (`token`).
    let interpreter = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    let room = Room {
        handles: handle::make_type(token)?,
        tickets: handle::make_ticket_type(token)?,
        doors: handle::make_door_type(token)?,
        look,
        done: hold::make_done(token)?,
        interpreter,
        coder: match upcalls {
            Some(upcalls) => Coder::Main(upcalls),
            None => Coder::Worker(Transfer::start(token, Side::Worker)?),
        },
    };
    // SAFETY: the methods below are static and take what they are called on for a room.
    unsafe {
        let class = boxed::make_type::<Room>(token, c"subpool.Room", METHODS.table(), FREE)?;
        boxed::make(&class, room)
    }
}

/// A handle in the attached interpreter for a thing that has come there.
pub fn receive(token: Attached<'_>, thing: Arc<Thing>) -> Outcome<'_> {
    // Imports where it comes for the first time, so before anything is borrowed.
    let room = Object::import(token, c"subpool._sharing")?.attribute(c"room")?;
    let Some(own) = of(&room) else {
        return Err(Raised::lost(token));
    };
    // SAFETY: an owned reference of the attached interpreter; the lifetime is that of the object
    // it goes into, which is of the same interpreter.
    let room = unsafe {
        let pointer = room.share().into_ptr();
        Object::from_new(Attached::assume(), pointer)?
    };
    super::drop_late();
    let handle = own.handle(&room, thing)?.into_ptr();
    // SAFETY: an owned reference of the attached interpreter.
    unsafe { Object::from_new(token, handle) }
}

/// The content of a room.
pub(super) fn of<'o>(room: &'o Object<'_>) -> Option<&'o Room> {
    // SAFETY: `FREE` is the end of rooms alone.
    unsafe { boxed::value_of(room, FREE) }
}

impl Room {
    fn handle(&self, room: &Object<'static>, thing: Arc<Thing>) -> Outcome<'static> {
        let handle = Handle {
            room: room.share(),
            thing,
        };
        // SAFETY: the handles' type is for those.
        unsafe { boxed::make(&self.handles, handle) }
    }

    /// A ticket for something that cannot be done at once.
    pub(super) fn ticket(
        &self,
        room: &Object<'static>,
        thing: &Arc<Thing>,
        aim: Aim,
        item: Option<Payload>,
    ) -> Outcome<'static> {
        let ticket = Ticket::new(room.share(), Shared::new(Arc::clone(thing), aim, item));
        // SAFETY: the tickets' type is for those.
        unsafe { boxed::make(&self.tickets, ticket) }
    }

    pub(super) fn place(&self) -> Place {
        Place {
            interpreter: self.interpreter,
            thread: own_thread(),
            in_loop: false,
        }
    }

    /// Has Python raise what was set for this thread: it does when a function of its begins.
    pub(super) fn look(&self) -> Result<(), Raised> {
        // SAFETY: live, and attached, by the object's token; a new reference or null with an error.
        unsafe {
            Object::from_new(
                self.look.token(),
                ffi::PyObject_CallNoArgs(self.look.as_ptr()),
            )
        }
        .map(drop)
    }

    /// What may be awaited, and is done.
    pub(super) fn done(&self) -> Object<'static> {
        self.done.share()
    }

    /// What runs the handlers of signals, if the calling thread may.
    pub(super) fn signals(&self) -> Option<fn(Attached<'_>) -> bool> {
        let may = matches!(self.coder, Coder::Main(_)) && is_first_thread();
        may.then_some(handle_signals)
    }

    pub(super) fn encode(&self, item: &Object<'static>) -> Result<Payload, Raised> {
        let token = item.token();
        let transfer = match &self.coder {
            Coder::Main(upcalls) => return (upcalls.encode)(item),
            Coder::Worker(transfer) => transfer,
        };
        let raised = match transfer.encode(item) {
            Ok(payload) => return Ok(payload),
            Err(raised) => raised,
        };
        let error = raised.take(token).unwrap_or_else(|| Object::none(token));
        let sink = transfer.open_sink(token)?;
        let helper = Object::import(token, c"subpool._sharing")?.attribute(c"dump_otherwise")?;
        let arguments = Object::tuple(token, [error, item.share(), sink.share()])?;
        helper.call(&arguments, None)?;
        transfer.collect(&sink)
    }

    /// `(item,)`, or `(None, error)` if it cannot be had here: so nobody takes another exception
    /// for that one, a signal handler's in the wait for the item.
    pub(super) fn read(&self, token: Attached<'static>, item: Payload) -> Outcome<'static> {
        let read = match &self.coder {
            Coder::Main(upcalls) => (upcalls.decode)(token, item),
            Coder::Worker(transfer) => transfer.decode(token, item),
        };
        let raised = match read {
            Ok(item) => return Object::tuple(token, [item]),
            Err(raised) => raised,
        };
        match raised.take(token) {
            Some(error) => Object::tuple(token, [Object::none(token), error]),
            None => Err(Raised::lost(token)),
        }
    }
}

/// Whether the thread may be the one on which CPython runs the handlers of signals.
fn is_first_thread() -> bool {
    if cfg!(target_os = "linux") {
        // SAFETY: need nothing.
        unsafe { ffi::PyThread_get_thread_native_id() == u64::from(libc::getpid().unsigned_abs()) }
    } else {
        true
    }
}

/// False: one has raised.
fn handle_signals(_token: Attached<'_>) -> bool {
    // SAFETY: attached (`_token`).
    unsafe { ffi::PyErr_CheckSignals() == 0 }
}

static METHODS: Methods<7> = methods!(
    Room,
    c"event": METH_NOARGS => |own, given| own.make(given, What::Event(Event::new())),
    c"queue": METH_O => Room::queue,
    c"lock": METH_NOARGS => |own, given| own.make(given, What::Lock(Lock::new())),
    c"door": METH_VARARGS => Room::door,
    c"find": METH_VARARGS => Room::find,
    c"count": METH_NOARGS => |_, given| {
        Object::integer(given.token, i64::try_from(super::count()).unwrap_or(i64::MAX))
    },
);

impl Room {
    fn make(&self, given: &Given, what: What) -> Outcome<'static> {
        self.handle(&given.object, Thing::new(what))
    }

    /// `queue(most)`.
    fn queue(&self, given: &Given) -> Outcome<'static> {
        let most = number(given.token, given.argument.clone())?;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let channel = Channel::new(most);
        self.make(given, What::Queue { channel, most })
    }

    /// `door(reader, writer)`: takes over two descriptors, for the loop of the calling thread.
    fn door(&self, given: &Given) -> Outcome<'static> {
        let [reader, writer] = [0, 1].map(|place| number(given.token, given.item(place)));
        let [reader, writer] = [reader?, writer?].map(|number| number as _);
        // SAFETY: the caller gives them up (`subpool._doors`). Descriptors are ints of C's.
        let door = unsafe { door::Door::new(self.interpreter, reader, writer) };
        let door = Door {
            rest: nap::rest(door.clone()),
            door,
        };
        // SAFETY: the doors' type is for those.
        unsafe { boxed::make(&self.doors, door) }
    }

    /// `find(token, number)`: a handle, or `None` if there is no such thing (any more).
    fn find(&self, given: &Given) -> Outcome<'static> {
        let [process, wanted] = [0, 1].map(|place| number(given.token, given.item(place)));
        let (process, wanted) = (process?, wanted?);
        let found = (process == super::token()).then(|| Thing::find(wanted));
        match found.flatten() {
            Some(thing) => self.handle(&given.object, thing),
            None => Ok(Object::none(given.token)),
        }
    }
}

fn number(token: Attached<'static>, given: Option<Object<'static>>) -> Result<u64, Raised> {
    let Some(given) = given else {
        return Err(Raised::value_error(token, "a number is wanted"));
    };
    // SAFETY: live; what is no int, or is negative, raises.
    unsafe {
        let number = ffi::PyLong_AsUnsignedLongLong(given.as_ptr());
        if ffi::PyErr_Occurred().is_null() {
            return Ok(number);
        }
    }
    Err(Raised::pending(token))
}
