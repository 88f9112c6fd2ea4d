//! Values on their way between interpreters: what one interpreter encodes, another decodes.
//!
//! Guarantees: a `Payload` holds no object of any interpreter, so any thread may carry and drop it.

use super::codec::{Nothing, Refused};
use super::decoder;
use super::encoder;
use super::pickle::Pickle;
use crate::interp::attach::Attached;
use crate::interp::object::{Object, Outcome, Raised};
use std::cell::Cell;

/// Below this size a copy is cheaper than a buffer that grows from nothing.
const COPY_BELOW: usize = 4096;

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
    /// Where the next value is written, kept for its memory.
    scratch: Cell<Vec<u8>>,
}

impl<'i> Transfer<'i> {
    pub fn encode(&self, value: &Object<'i>) -> Result<Payload, Raised> {
        let mut written = self.scratch.take();
        written.clear();
        let encoded = encoder::encode(value, &mut written, &mut Nothing);
        let bytes = if written.len() < COPY_BELOW {
            let bytes = written.as_slice().to_vec();
            self.scratch.set(written);
            bytes
        } else {
            written
        };
        match encoded {
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
