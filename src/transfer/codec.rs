//! The native codec: values of exact built-in types, straight between objects and bytes.
//!
//! Guarantees: what it takes comes out as from pickle protocol 5, in value, order and identity;
//! what it does not take it refuses without a trace, and pickle decides; no user code runs
//! meanwhile, and the GIL is not released.
//!
//! Known difference: a reducer that a program registers in `copyreg` for `complex`, `range` or
//! `slice` is not asked. (Pickle itself asks none for the other types.)

mod pack;
mod unpack;

use crate::core::addresses::Addresses;
use crate::core::wire;
use crate::interp::attach::Attached;
use crate::interp::object::{Object, Outcome, Raised};
use std::cell::Cell;

/// From this size on `bytes` and `bytearray` are offered to travel beside the bytes.
pub const LIFT_FROM: usize = 64 << 10;

/// What travels beside the bytes.
///
/// # Safety
/// Neither function runs Python code, releases the GIL, or changes any object that existed: the
/// codec holds borrowed references and pointers into containers meanwhile.
pub unsafe trait Outside<'i> {
    /// Asked for each `memoryview` and `PickleBuffer`, and each `bytes` and `bytearray` of
    /// `LIFT_FROM` bytes or more; once for an object, however often it occurs. `None`: not this
    /// one. Then bytes travel with the others, and a view makes the codec refuse.
    fn take(&mut self, object: &Object<'i>) -> Result<Option<u32>, Raised>;

    /// The object for what `take` gave this index; for any other index, an error.
    fn give(&mut self, token: Attached<'i>, index: u32) -> Outcome<'i>;
}

/// Nothing travels beside the bytes.
#[derive(Debug)]
pub struct Nothing;

// SAFETY: neither does anything but raise an error.
unsafe impl<'i> Outside<'i> for Nothing {
    fn take(&mut self, _object: &Object<'i>) -> Result<Option<u32>, Raised> {
        Ok(None)
    }

    fn give(&mut self, token: Attached<'i>, _index: u32) -> Outcome<'i> {
        Err(Raised::value_error(
            token,
            "nothing travels beside these bytes",
        ))
    }
}

/// The codec of one interpreter, with the memory that it uses again and again.
#[derive(Default)]
pub struct Codec<'i> {
    packing: Cell<Option<Box<Packing>>>,
    unpacking: Cell<Option<Box<wire::Scratch<Object<'i>>>>>,
}

#[derive(Default)]
struct Packing {
    numbers: Addresses,
    frames: Vec<pack::Frame>,
}

impl<'i> Codec<'i> {
    /// `value` as bytes; `None` if it is, or contains, what the codec does not take.
    pub fn encode(&self, value: &Object<'i>, outside: &mut impl Outside<'i>) -> Option<Vec<u8>> {
        let mut packing = self.packing.take().unwrap_or_default();
        let bytes = pack::pack(value, outside, &mut packing);
        packing.numbers.clear();
        packing.frames.clear();
        self.packing.set(Some(packing));
        bytes
    }

    /// What `encode` was given. An error for bytes that `encode` did not make.
    pub fn decode(
        &self,
        token: Attached<'i>,
        bytes: &[u8],
        outside: &mut impl Outside<'i>,
    ) -> Outcome<'i> {
        let mut scratch = self.unpacking.take().unwrap_or_default();
        let object = unpack::unpack(token, bytes, outside, &mut scratch);
        self.unpacking.set(Some(scratch));
        object
    }
}
