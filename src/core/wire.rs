//! The native format: a value and what is in it, as bytes, written once and read once by one process.
//!
//! Guarantees: `decode` ends with a value or an error for any bytes at all. It does not recurse,
//! does not panic, and asks for no more places than there are bytes left to fill them.
//!
//! A value is a byte, its tag, and what the tag asks for. Numbers are in this machine's byte
//! order; counts are varints, seven bits a byte, lowest first.
//!
//! | byte | followed by | value |
//! |---|---|---|
//! | `1vvvvvvv` | | the integer `v - 16` |
//! | `00tttttt` | as the table of `Tag` says | one that nothing refers to |
//! | `01tttttt` | the same | one that has a number |
//!
//! Numbers are given in the order of the tags, so both sides count alike. `Tag::Again` refers to a
//! number. A list, a dict and a set are there as soon as they are opened, so what they contain may
//! refer to them; a tuple, a frozenset, a range and a slice are there when they are complete, so
//! a cycle through one of these alone has no form, and the writer must not open it.

mod build;
mod decode;
#[cfg(any(test, feature = "plain"))]
pub mod plain;

#[cfg(test)]
mod tests;

pub use build::{Builder, Error, Malformed};
pub use decode::{Scratch, decode};

/// How many containers may be open at one time. An empty one never is.
pub const DEEPEST: usize = 128;

const SMALL: u8 = 0x80;
const SMALLEST: i64 = -16;
const LARGEST: i64 = SMALLEST + 0x7f;
const NUMBERED: u8 = 0x40;

/// What a value is, and in brackets what follows the tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Tag {
    None,
    False,
    True,
    Ellipsis,
    /// [1, 2, 4 or 8 bytes]
    Int1,
    Int2,
    Int4,
    Int8,
    /// [count, that many bytes: two's complement, lowest first]
    Big,
    /// [8 bytes]
    Float,
    /// [16 bytes]
    Complex,
    /// [count, that many code points of 1, 2 or 4 bytes]
    Text1,
    Text2,
    Text4,
    /// [count, that many bytes]
    Bytes,
    ByteArray,
    /// [count, that many values]
    Tuple,
    List,
    /// [count, that many times a key and a value]
    Dict,
    /// [count, that many values]
    Set,
    FrozenSet,
    /// [start, stop and step, as values]
    Range,
    Slice,
    /// [index of what travels beside the bytes]
    Outside,
    /// [number of an earlier value]
    Again,
}

const TAGS: [Tag; 25] = {
    use Tag::*;
    [
        None, False, True, Ellipsis, Int1, Int2, Int4, Int8, Big, Float, Complex, Text1, Text2,
        Text4, Bytes, ByteArray, Tuple, List, Dict, Set, FrozenSet, Range, Slice, Outside, Again,
    ]
};

impl Tag {
    /// Whether values of this kind can be told apart by identity, as pickle sees it.
    const fn has_identity(self) -> bool {
        self as u8 >= Self::Complex as u8 && self as u8 <= Self::Outside as u8
    }
}

/// The size of a text's code points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    One = 1,
    Two = 2,
    Four = 4,
}

/// What contains other values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tuple,
    List,
    Dict,
    Set,
    FrozenSet,
    Range,
    Slice,
}

impl Kind {
    /// Whether its items may refer to it.
    #[must_use]
    pub const fn is_early(self) -> bool {
        matches!(self, Self::List | Self::Dict | Self::Set)
    }

    const fn tag(self) -> Tag {
        match self {
            Self::Tuple => Tag::Tuple,
            Self::List => Tag::List,
            Self::Dict => Tag::Dict,
            Self::Set => Tag::Set,
            Self::FrozenSet => Tag::FrozenSet,
            Self::Range => Tag::Range,
            Self::Slice => Tag::Slice,
        }
    }
}

/// Puts values into the format. `numbered` values can be referred to with `again`.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(capacity),
        }
    }

    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn tag(&mut self, tag: Tag, numbered: bool) {
        let bit = if numbered { NUMBERED } else { 0 };
        self.bytes.push(tag as u8 | bit);
    }

    fn count(&mut self, mut count: usize) {
        while count >= 0x80 {
            self.bytes.push(count as u8 | 0x80);
            count >>= 7;
        }
        self.bytes.push(count as u8);
    }

    /// Tag and payload in one piece: one look at the capacity.
    fn fixed<const N: usize, const M: usize>(&mut self, tag: Tag, payload: [u8; N]) {
        const { assert!(M == N + 1) };
        let mut whole = [tag as u8; M];
        whole[1..].copy_from_slice(&payload);
        self.bytes.extend_from_slice(&whole);
    }

    fn sized(&mut self, tag: Tag, numbered: bool, count: usize, content: &[u8]) {
        self.bytes.reserve(content.len() + 8);
        self.tag(tag, numbered);
        self.count(count);
        self.bytes.extend_from_slice(content);
    }

    pub fn none(&mut self) {
        self.tag(Tag::None, false);
    }

    pub fn boolean(&mut self, value: bool) {
        self.tag(if value { Tag::True } else { Tag::False }, false);
    }

    pub fn ellipsis(&mut self) {
        self.tag(Tag::Ellipsis, false);
    }

    #[inline]
    pub fn integer(&mut self, value: i64) {
        if (SMALLEST..=LARGEST).contains(&value) {
            self.bytes.push(SMALL | (value - SMALLEST) as u8);
        } else if let Ok(value) = i16::try_from(value) {
            match i8::try_from(value) {
                Ok(value) => self.fixed::<1, 2>(Tag::Int1, value.to_ne_bytes()),
                Err(_) => self.fixed::<2, 3>(Tag::Int2, value.to_ne_bytes()),
            }
        } else {
            match i32::try_from(value) {
                Ok(value) => self.fixed::<4, 5>(Tag::Int4, value.to_ne_bytes()),
                Err(_) => self.fixed::<8, 9>(Tag::Int8, value.to_ne_bytes()),
            }
        }
    }

    /// An integer of any size: two's complement, lowest byte first.
    pub fn big(&mut self, value: &[u8]) {
        self.sized(Tag::Big, false, value.len(), value);
    }

    pub fn float(&mut self, value: f64) {
        self.fixed::<8, 9>(Tag::Float, value.to_ne_bytes());
    }

    pub fn complex(&mut self, real: f64, imaginary: f64, numbered: bool) {
        self.tag(Tag::Complex, numbered);
        self.bytes.extend_from_slice(&real.to_ne_bytes());
        self.bytes.extend_from_slice(&imaginary.to_ne_bytes());
    }

    /// Code points as they lie in memory; `units.len()` is a multiple of `width`.
    pub fn text(&mut self, width: Width, units: &[u8], numbered: bool) {
        let tag = match width {
            Width::One => Tag::Text1,
            Width::Two => Tag::Text2,
            Width::Four => Tag::Text4,
        };
        self.sized(tag, numbered, units.len() / width as usize, units);
    }

    pub fn bytes(&mut self, content: &[u8], numbered: bool) {
        self.sized(Tag::Bytes, numbered, content.len(), content);
    }

    pub fn bytearray(&mut self, content: &[u8], numbered: bool) {
        self.sized(Tag::ByteArray, numbered, content.len(), content);
    }

    /// `count` values follow; for a dict twice as many, for a range and a slice always three.
    pub fn open(&mut self, kind: Kind, count: usize, numbered: bool) {
        self.tag(kind.tag(), numbered);
        if !matches!(kind, Kind::Range | Kind::Slice) {
            self.count(count);
        }
    }

    pub fn outside(&mut self, index: u32, numbered: bool) {
        self.tag(Tag::Outside, numbered);
        self.count(index as usize);
    }

    pub fn again(&mut self, number: u32) {
        self.tag(Tag::Again, false);
        self.count(number as usize);
    }
}
