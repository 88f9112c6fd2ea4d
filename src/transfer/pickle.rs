//! Pickle protocol 5 through the C implementation, in whichever interpreter is attached.

use super::buffer::{Buffer, Loader};
use super::sink::Sinks;
use super::value::Payload;
use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::object::{Object, Outcome, Raised};
use std::cell::Cell;

/// Below this size a copy into a `bytes` object is cheaper than a view of the buffer.
const COPY_BELOW: usize = 4096;

/// After a pickle larger than this its pickler goes: its memo, which has grown with it, would be
/// cleared anew for each small one that follows.
const REUSE_BELOW: usize = 16 << 10;

/// The pickle functions of one interpreter. Made with the first pickle (value.rs): the imports, with
/// all they bring along, are a quarter of a worker's start.
pub struct Pickle<'i> {
    loads: Object<'i>,
    /// `("buffers",)`
    buffers: Object<'i>,
    class: Object<'i>,
    sinks: Sinks<'i>,
    /// A pickler that is not in use. One made for each pickle would double a small one's time.
    idle: Cell<Option<Pickler<'i>>>,
}

struct Pickler<'i> {
    dump: Object<'i>,
    clear_memo: Object<'i>,
    sink: Object<'i>,
}

impl<'i> Pickle<'i> {
    pub fn import(token: Attached<'i>, loader: Loader<'i>) -> Result<Self, Raised> {
        // The C module itself: importing `pickle` costs a new interpreter milliseconds more.
        let module = Object::import(token, c"_pickle")?;
        let ours = Object::import(token, c"subpool._pickler")?;
        Ok(Self {
            loads: module.attribute(c"loads")?,
            buffers: Object::tuple(token, [Object::string(token, "buffers")?])?,
            class: ours.attribute(c"Pickler")?,
            sinks: Sinks::start(token, loader, ours.attribute(c"given")?)?,
            idle: Cell::new(None),
        })
    }

    /// Pickles, with what is large or shared beside the bytes.
    pub fn dumps(&self, value: &Object<'i>) -> Result<Payload, Raised> {
        // Taken for the time: pickling runs the user's code, which may come here again.
        let pickler = self.idle.take().map_or_else(|| self.pickler(), Ok)?;
        pickler.dump.call1(value)?;
        let payload = self.collect(&pickler.sink);
        if payload.bytes.len() < REUSE_BELOW {
            let nothing = Object::tuple(value.token(), [])?;
            pickler.clear_memo.call(&nothing, None)?;
            self.idle.set(Some(pickler));
        }
        Ok(payload)
    }

    fn pickler(&self) -> Result<Pickler<'i>, Raised> {
        let sink = self.sinks.open()?;
        let pickler = self.class.call1(&sink)?;
        Ok(Pickler {
            dump: pickler.attribute(c"dump")?,
            clear_memo: pickler.attribute(c"clear_memo")?,
            sink,
        })
    }

    /// A file for a pickler of Python's to write to, as `_pickler.Pickler` does.
    pub fn open(&self) -> Outcome<'i> {
        self.sinks.open()
    }

    /// What a pickler has written to `sink`, one of `open`.
    pub fn collect(&self, sink: &Object<'i>) -> Payload {
        let (bytes, buffers) = self.sinks.take(sink);
        Payload::pickled(bytes, buffers)
    }

    /// Unpickles; the bytes are given up, because code that runs meanwhile may hold on to them. They
    /// come back with an error, unless something does hold on to them.
    pub fn loads(
        &self,
        token: Attached<'i>,
        loader: &Loader<'i>,
        pickled: Vec<u8>,
        buffers: Vec<Buffer>,
    ) -> Result<Object<'i>, (Raised, Option<Vec<u8>>)> {
        let buffers = if buffers.is_empty() {
            None
        } else {
            let built = buffers.into_iter().map(|buffer| loader.build(buffer));
            match Object::list(token, built) {
                Ok(list) => Some(list),
                Err(raised) => return Err((raised, Some(pickled))),
            }
        };
        if pickled.len() < COPY_BELOW {
            let loaded =
                Object::bytes(token, &pickled).and_then(|bytes| self.load(&bytes, buffers));
            return loaded.map_err(|raised| (raised, Some(pickled)));
        }
        let view = match borrowed_view(token, &pickled) {
            Ok(view) => view,
            Err(raised) => return Err((raised, Some(pickled))),
        };
        let loaded = match self.load(&view, buffers) {
            Ok(value) => Ok(value),
            Err(raised) => Err(raised.take(token)),
        };
        let mut back = None;
        if let Err(raised) = release(&view) {
            // Something reached the view and exported it again (hostile, but possible through
            // `gc`): the bytes must outlive it, and nobody knows how long that is.
            raised.clear(token);
            std::mem::forget(pickled);
        } else {
            back = Some(pickled);
        }
        loaded.map_err(|error| (Raised::from_taken(token, error), back))
    }

    fn load(&self, pickled: &Object<'i>, buffers: Option<Object<'i>>) -> Outcome<'i> {
        match buffers {
            None => self.loads.call1(pickled),
            Some(buffers) => self
                .loads
                .call_with_keyword(pickled, &buffers, &self.buffers),
        }
    }
}

/// A read-only memoryview of `content`, valid as long as `content` is.
fn borrowed_view<'i>(token: Attached<'i>, content: &[u8]) -> Outcome<'i> {
    // SAFETY: pointer and length of one slice; PyBUF_READ promises not to write through it. The
    // caller releases the view before the slice ends, or leaks the slice (`loads`).
    unsafe {
        let pointer = ffi::PyMemoryView_FromMemory(
            content.as_ptr().cast_mut().cast(),
            content.len().cast_signed(),
            ffi::PyBUF_READ,
        );
        Object::from_new(token, pointer)
    }
}

fn release(view: &Object<'_>) -> Result<(), Raised> {
    let release = view.attribute(c"release")?;
    let nothing = Object::tuple(view.token(), [])?;
    release.call(&nothing, None).map(drop)
}
