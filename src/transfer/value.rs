//! Values on their way between interpreters: what one interpreter encodes, another decodes.
//!
//! Guarantees: a `Payload` holds no object that its carrier would have to release (buffer.rs), so
//! any thread may carry and drop it.

use super::buffer::{Buffer, Loader, Side};
use super::pickle::Pickle;
use crate::interp::attach::Attached;
use crate::interp::object::{Object, Outcome, Raised};

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
    pickle: Pickle<'i>,
    loader: Loader<'i>,
}

impl<'i> Transfer<'i> {
    pub fn start(token: Attached<'i>, side: Side) -> Result<Self, Raised> {
        let loader = Loader::start(token, side)?;
        Ok(Self {
            pickle: Pickle::import(token, loader.share())?,
            loader,
        })
    }

    pub fn encode(&self, value: &Object<'i>) -> Result<Payload, Raised> {
        self.pickle.dumps(value)
    }

    /// A file for a pickler of Python's to write to.
    pub fn open_sink(&self) -> Outcome<'i> {
        self.pickle.open()
    }

    /// What a pickler of Python's has written to it.
    pub fn collect(&self, sink: &Object<'i>) -> Payload {
        self.pickle.collect(sink)
    }

    /// Decodes; the bytes are given up, because code that runs meanwhile may hold on to them.
    pub fn decode(&self, token: Attached<'i>, payload: Payload) -> Outcome<'i> {
        let Payload {
            encoding,
            bytes,
            buffers,
        } = payload;
        match encoding {
            Encoding::Pickle => self.pickle.loads(token, &self.loader, bytes, buffers),
        }
    }
}
