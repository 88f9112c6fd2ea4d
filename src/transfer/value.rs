//! Values on their way between interpreters: what one interpreter encodes, another decodes.
//!
//! Guarantees: a `Payload` holds no object of any interpreter, so any thread may carry and drop it.

use super::codec::{Nothing, Refused};
use super::decoder;
use super::encoder;
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
    /// By `codec`.
    Native,
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
        let mut bytes = Vec::new();
        match encoder::encode(value, &mut bytes, &mut Nothing) {
            Ok(()) => Ok(Payload {
                encoding: Encoding::Native,
                bytes,
            }),
            Err(Refused::Foreign) => self.pickle.dumps(value).map(Payload::pickled),
            Err(Refused::Raised(raised)) => Err(raised),
        }
    }

    /// Decodes; the bytes are given up, because code that runs meanwhile may hold on to them.
    pub fn decode(&self, token: Attached<'i>, payload: Payload) -> Outcome<'i> {
        match payload.encoding {
            Encoding::Native => decoder::decode(token, &payload.bytes, &mut Nothing),
            Encoding::Pickle => self.pickle.loads(token, payload.bytes),
        }
    }
}
