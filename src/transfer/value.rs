//! Values on their way between interpreters: what one interpreter encodes, another decodes.
//!
//! Guarantees: a `Payload` holds no object of any interpreter, so any thread may carry and drop it.

use super::codec::{Codec, Nothing};
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
    /// The native codec's format.
    Native,
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
pub struct Transfer<'i> {
    codec: Codec<'i>,
    pickle: Pickle<'i>,
}

impl<'i> Transfer<'i> {
    pub fn start(token: Attached<'i>) -> Result<Self, Raised> {
        Ok(Self {
            codec: Codec::default(),
            pickle: Pickle::import(token)?,
        })
    }

    /// Encodes natively if the codec takes the value, else by pickle.
    pub fn encode(&self, value: &Object<'i>) -> Result<Payload, Raised> {
        if let Some(bytes) = self.codec.encode(value, &mut Nothing) {
            return Ok(Payload {
                encoding: Encoding::Native,
                bytes,
            });
        }
        self.pickle.dumps(value).map(Payload::pickled)
    }

    /// The native encoding alone, without pickle behind it: for tests.
    pub const fn codec(&self) -> &Codec<'i> {
        &self.codec
    }

    /// Decodes; the bytes are given up, because code that runs meanwhile may hold on to them.
    pub fn decode(&self, token: Attached<'i>, payload: Payload) -> Outcome<'i> {
        match payload.encoding {
            Encoding::Native => self.codec.decode(token, &payload.bytes, &mut Nothing),
            Encoding::Pickle => self.pickle.loads(token, payload.bytes),
        }
    }
}
