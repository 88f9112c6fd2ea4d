//! What reading the native format needs from who makes the values, and what can go wrong.

use super::{Kind, Width};
use std::fmt;

/// Why bytes are not in the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    Truncated,
    Trailing,
    UnknownTag(u8),
    /// A count that no size has, or that the bytes left cannot fill.
    Count,
    TooDeep,
    /// A number that nothing has, or only something not complete.
    Reference,
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => out.write_str("the bytes end too early"),
            Self::Trailing => out.write_str("bytes are left over"),
            Self::UnknownTag(byte) => write!(out, "no value begins with {byte:#04x}"),
            Self::Count => out.write_str("a count is larger than what is left"),
            Self::TooDeep => out.write_str("too many containers are open"),
            Self::Reference => out.write_str("a reference leads nowhere"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<E> {
    Malformed(Malformed),
    /// What the builder said.
    Builder(E),
}

impl<E> From<Malformed> for Error<E> {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Makes the values that `decode` reads.
///
/// `decode` keeps to this order: `open`, then `put` for each index from 0 to below the count, in
/// order (`pair` for a dict), then `close` or, after an error, `abandon`.
pub trait Builder {
    type Object;
    type Error;

    /// Another handle to the same object.
    fn share(&mut self, object: &Self::Object) -> Self::Object;
    fn none(&mut self) -> Self::Object;
    fn boolean(&mut self, value: bool) -> Self::Object;
    fn ellipsis(&mut self) -> Self::Object;
    fn integer(&mut self, value: i64) -> Result<Self::Object, Self::Error>;
    fn big(&mut self, value: &[u8]) -> Result<Self::Object, Self::Error>;
    fn float(&mut self, value: f64) -> Result<Self::Object, Self::Error>;
    fn complex(&mut self, real: f64, imaginary: f64) -> Result<Self::Object, Self::Error>;
    fn text(&mut self, width: Width, units: &[u8]) -> Result<Self::Object, Self::Error>;
    fn bytes(&mut self, content: &[u8]) -> Result<Self::Object, Self::Error>;
    fn bytearray(&mut self, content: &[u8]) -> Result<Self::Object, Self::Error>;
    fn outside(&mut self, index: u32) -> Result<Self::Object, Self::Error>;

    fn open(&mut self, kind: Kind, count: usize) -> Result<Self::Object, Self::Error>;
    fn put(
        &mut self,
        kind: Kind,
        container: &Self::Object,
        index: usize,
        item: Self::Object,
    ) -> Result<(), Self::Error>;
    fn pair(
        &mut self,
        dict: &Self::Object,
        key: Self::Object,
        value: Self::Object,
    ) -> Result<(), Self::Error>;
    fn close(&mut self, kind: Kind, container: Self::Object) -> Result<Self::Object, Self::Error>;
    /// The container gets no more than the `filled` items it has.
    fn abandon(&mut self, kind: Kind, container: &Self::Object, filled: usize);
}
