//! Values on their way between interpreters: what one interpreter encodes, another decodes.
//!
//! Guarantees: a `Payload` holds no object of any interpreter, so any thread may carry and drop it.

use super::pickle::Pickle;
use crate::interp::attach::Attached;
use crate::interp::object::{Object, Outcome, Raised};

/// An encoded value.
#[derive(Clone, Debug)]
pub struct Payload {
    pub encoding: Encoding,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Protocol 5, by pickle or by cloudpickle.
    Pickle,
}

impl Payload {
    #[must_use]
    pub const fn pickled(bytes: Vec<u8>) -> Self {
        Self {
            encoding: Encoding::Pickle,
            bytes,
        }
    }
}

/// What encodes and decodes in one interpreter.
#[derive(Default)]
pub struct Transfer<'i> {
    pickle: Pickle<'i>,
}

impl<'i> Transfer<'i> {
    pub fn encode(&self, value: &Object<'i>) -> Result<Payload, Raised> {
        self.pickle.dumps(value).map(Payload::pickled)
    }

    /// Decodes; the bytes are given up, because code that runs meanwhile may hold on to them.
    pub fn decode(&self, token: Attached<'i>, payload: Payload) -> Outcome<'i> {
        match payload.encoding {
            Encoding::Pickle => self.pickle.loads(token, payload.bytes),
        }
    }
}
