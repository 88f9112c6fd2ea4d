//! Values on their way between interpreters: what one interpreter encodes, another decodes.
//!
//! Guarantees: a `Payload` holds no object that its carrier would have to release (buffer.rs), so
//! any thread may carry and drop it.

use super::buffer::{Buffer, Loader, Side, is_view, large_bytes};
use super::codec::{Codec, Outside};
use super::pickle::Pickle;
use crate::interp::attach::Attached;
use crate::interp::object::{Object, Outcome, Raised};
use std::cell::OnceCell;

/// An encoded value.
#[derive(Clone, Debug)]
pub struct Payload {
    pub encoding: Encoding,
    pub bytes: Vec<u8>,
    /// What was lifted out of the bytes.
    pub buffers: Vec<Buffer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Protocol 5, by pickle or by cloudpickle.
    Pickle,
    /// The native codec's format.
    Native,
}

impl Payload {
    #[must_use]
    pub const fn pickled(bytes: Vec<u8>, buffers: Vec<Buffer>) -> Self {
        Self {
            encoding: Encoding::Pickle,
            bytes,
            buffers,
        }
    }
}

/// What encodes and decodes in one interpreter.
pub struct Transfer<'i> {
    codec: Codec<'i>,
    pickle: OnceCell<Pickle<'i>>,
    loader: Loader<'i>,
}

impl<'i> Transfer<'i> {
    pub fn start(token: Attached<'i>, side: Side) -> Result<Self, Raised> {
        let loader = Loader::start(token, side)?;
        Ok(Self {
            codec: Codec::default(),
            pickle: OnceCell::new(),
            loader,
        })
    }

    fn pickle(&self, token: Attached<'i>) -> Result<&Pickle<'i>, Raised> {
        if let Some(pickle) = self.pickle.get() {
            return Ok(pickle);
        }
        // Not within the cell's own initialiser: an import runs Python code, which may come here.
        let pickle = Pickle::import(token, self.loader.share())?;
        Ok(self.pickle.get_or_init(|| pickle))
    }

    /// Encodes natively if the codec takes the value, else by pickle.
    pub fn encode(&self, value: &Object<'i>) -> Result<Payload, Raised> {
        let mut beside = Beside(Vec::new());
        if let Some(bytes) = self.codec.encode(value, &mut beside) {
            // Not before the codec has taken all of it: some are copied now.
            let lifted = beside.0.iter().map(|object| self.loader.lift(object));
            match lifted.collect::<Result<_, _>>() {
                Ok(buffers) => {
                    return Ok(Payload {
                        encoding: Encoding::Native,
                        bytes,
                        buffers,
                    });
                }
                // Pickle will come upon the same, and say it.
                Err(raised) => raised.clear(value.token()),
            }
        }
        self.pickle(value.token())?.dumps(value)
    }

    /// A file for a pickler of Python's to write to.
    pub fn open_sink(&self, token: Attached<'i>) -> Outcome<'i> {
        self.pickle(token)?.open()
    }

    /// What a pickler of Python's has written to it.
    pub fn collect(&self, sink: &Object<'i>) -> Result<Payload, Raised> {
        Ok(self.pickle(sink.token())?.collect(sink))
    }

    /// The native encoding alone, without pickle behind it: for tests.
    pub const fn codec(&self) -> &Codec<'i> {
        &self.codec
    }

    /// Decodes; the bytes are given up, because code that runs meanwhile may hold on to them.
    pub fn decode(&self, token: Attached<'i>, payload: Payload) -> Outcome<'i> {
        match payload.encoding {
            Encoding::Native => self.decode_native(token, payload),
            Encoding::Pickle => {
                let loaded =
                    self.pickle(token)?
                        .loads(token, &self.loader, payload.bytes, payload.buffers);
                loaded.map_err(|(raised, _)| raised)
            }
        }
    }

    /// Decodes, and gives a pickle back that could not be loaded.
    #[inline]
    pub fn decode_or_return(
        &self,
        token: Attached<'i>,
        payload: Payload,
    ) -> Result<Object<'i>, (Raised, Option<Box<Payload>>)> {
        match payload.encoding {
            Encoding::Native => self
                .decode_native(token, payload)
                .map_err(|raised| (raised, None)),
            Encoding::Pickle => self.load_or_return(token, payload),
        }
    }

    #[inline]
    fn decode_native(&self, token: Attached<'i>, payload: Payload) -> Outcome<'i> {
        // All built before: building may run Python, which the codec does not bear.
        let built = payload
            .buffers
            .into_iter()
            .map(|buffer| self.loader.build(buffer));
        let mut beside = Beside(built.collect::<Result<_, _>>()?);
        self.codec.decode(token, &payload.bytes, &mut beside)
    }

    fn load_or_return(
        &self,
        token: Attached<'i>,
        payload: Payload,
    ) -> Result<Object<'i>, (Raised, Option<Box<Payload>>)> {
        let pickle = match self.pickle(token) {
            Ok(pickle) => pickle,
            Err(raised) => return Err((raised, Some(Box::new(payload)))),
        };
        // Counted references, and mostly none.
        let again = payload.buffers.clone();
        let loaded = pickle.loads(token, &self.loader, payload.bytes, payload.buffers);
        loaded.map_err(|(raised, bytes)| {
            let payload = bytes.map(|bytes| Box::new(Payload::pickled(bytes, again)));
            (raised, payload)
        })
    }
}

/// What the codec meets and leaves to travel beside the bytes, and what takes its place.
struct Beside<'i>(Vec<Object<'i>>);

// SAFETY: neither function does more than to look at a type and a size and to take references;
// what costs more, and may run Python, comes before or after the codec.
unsafe impl<'i> Outside<'i> for Beside<'i> {
    fn take(&mut self, object: &Object<'i>) -> Result<Option<u32>, Raised> {
        if !is_view(object) && large_bytes(object).is_none() {
            return Ok(None);
        }
        let index = u32::try_from(self.0.len()).ok();
        if index.is_some() {
            self.0.push(object.share());
        }
        Ok(index)
    }

    fn give(&mut self, token: Attached<'i>, index: u32) -> Outcome<'i> {
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        self.0.get(place).map(Object::share).ok_or_else(|| {
            Raised::value_error(token, "nothing travels beside these bytes at this number")
        })
    }
}
