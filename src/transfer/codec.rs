//! The native codec: Python's plain values to bytes and back, without pickle.
//!
//! Guarantees: what is encoded (`encoder.rs`) is decoded (`decoder.rs`) as pickle protocol 5 would
//! bring it, down to which parts are the same object; what is not plain, or nested too deep, is
//! refused, for pickle to decide. No user code runs in either: exact builtin types only, which
//! hash and compare among themselves.

use crate::interp::object::{Object, Raised};

/// From this size on bytes are offered to `Outside`.
pub const LIFT_FROM: usize = 64 << 10;

/// What travels beside the bytes: memoryviews, and large bytes.
pub trait Outside<'i> {
    /// Takes an object along and gives its number; `None`: it has to go in the bytes.
    fn take(&mut self, object: &Object<'i>) -> Result<Option<usize>, Raised>;
    /// The object of that number on this side, `None` if there is none.
    fn give(&mut self, index: usize) -> Result<Option<Object<'i>>, Raised>;
}

/// For values that nothing travels beside.
pub struct Nothing;

impl<'i> Outside<'i> for Nothing {
    fn take(&mut self, _: &Object<'i>) -> Result<Option<usize>, Raised> {
        Ok(None)
    }

    fn give(&mut self, _: usize) -> Result<Option<Object<'i>>, Raised> {
        Ok(None)
    }
}

/// Why a value was not encoded.
pub enum Refused {
    /// It is for pickle.
    Foreign,
    Raised(Raised),
}

impl From<Raised> for Refused {
    fn from(raised: Raised) -> Self {
        Self::Raised(raised)
    }
}
