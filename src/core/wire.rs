//! The native format: values as tags, counts and bytes. Knows no Python; `transfer/codec.rs` makes
//! objects of it, the tests and the fuzzer plain Rust values.
//!
//! Guarantees: `decode` ends on every input, with a value or an error; it never panics, never
//! nests deeper than `DEEPEST`, and asks for no container larger than the input is long.
//!
//! A value is a tag, what the tag asks for, and its parts. A tag with `MEMO` gives the value the
//! next number, by which `Tag::Ref` means it again: containers that can hold themselves (lists,
//! dicts, sets) before their parts, all others after them.

/// The deepest nesting that is written or read. What is deeper is pickle's.
pub const DEEPEST: usize = 100;

/// Set in a tag: the value is referred to again.
const MEMO: u8 = 0x80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Tag {
    None,
    True,
    False,
    Ellipsis,
    /// A zigzag varint.
    Int,
    /// A length and so many bytes of two's complement, least significant first.
    BigInt,
    /// Eight bytes.
    Float,
    /// Sixteen bytes.
    Complex,
    /// A length in code points and so many bytes, double bytes or quadruple bytes.
    Str1,
    Str2,
    Str4,
    Bytes,
    ByteArray,
    Tuple,
    List,
    Dict,
    Set,
    FrozenSet,
    /// Start, stop and step follow.
    Range,
    Slice,
    /// A number given out by `MEMO`.
    Ref,
    /// A number in the list of what travels beside the bytes.
    Outside,
}

const TAGS: [Tag; 22] = [
    Tag::None,
    Tag::True,
    Tag::False,
    Tag::Ellipsis,
    Tag::Int,
    Tag::BigInt,
    Tag::Float,
    Tag::Complex,
    Tag::Str1,
    Tag::Str2,
    Tag::Str4,
    Tag::Bytes,
    Tag::ByteArray,
    Tag::Tuple,
    Tag::List,
    Tag::Dict,
    Tag::Set,
    Tag::FrozenSet,
    Tag::Range,
    Tag::Slice,
    Tag::Ref,
    Tag::Outside,
];

/// Writes tags, counts and bytes to the end of a buffer.
pub struct Writer<'b>(pub &'b mut Vec<u8>);

impl Writer<'_> {
    pub fn tag(&mut self, tag: Tag, memo: bool) {
        self.0.push(tag as u8 | if memo { MEMO } else { 0 });
    }

    pub fn count(&mut self, count: usize) {
        self.varint(count as u64);
    }

    pub fn int(&mut self, value: i64) {
        self.varint(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn varint(&mut self, mut value: u64) {
        // One byte for most.
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// The bytes are not what a writer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// A value without parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Atom<'b> {
    None,
    Bool(bool),
    Ellipsis,
    Int(i64),
    BigInt(&'b [u8]),
    Float(f64),
    Complex(f64, f64),
    Str1(&'b [u8]),
    /// Pairs of bytes, least significant first.
    Str2(&'b [u8]),
    /// Quadruples, each a code point.
    Str4(&'b [u8]),
    Bytes(&'b [u8]),
    ByteArray(&'b [u8]),
}

/// Containers that are made first and filled then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Tuple,
    List,
    Dict,
    Set,
    FrozenSet,
}

/// What makes values of a format's parts.
pub trait Build {
    /// A clone is the same value.
    type Value: Clone;
    type Error: From<Malformed>;

    fn atom(&mut self, atom: Atom<'_>) -> Result<Self::Value, Self::Error>;

    /// The commonest atoms, which deserve a short way.
    fn int(&mut self, value: i64) -> Result<Self::Value, Self::Error> {
        self.atom(Atom::Int(value))
    }
    fn float(&mut self, value: f64) -> Result<Self::Value, Self::Error> {
        self.atom(Atom::Float(value))
    }
    fn text(&mut self, bytes: &[u8]) -> Result<Self::Value, Self::Error> {
        self.atom(Atom::Str1(bytes))
    }

    /// An empty container, to be filled with `count` items (or pairs).
    fn container(&mut self, shape: Shape, count: usize) -> Result<Self::Value, Self::Error>;
    /// The item of a tuple, list, set or frozenset.
    fn item(
        &mut self,
        container: &Self::Value,
        shape: Shape,
        index: usize,
        item: Self::Value,
    ) -> Result<(), Self::Error>;
    fn pair(
        &mut self,
        dict: &Self::Value,
        key: Self::Value,
        value: Self::Value,
    ) -> Result<(), Self::Error>;
    fn range(&mut self, parts: [Self::Value; 3]) -> Result<Self::Value, Self::Error>;
    fn slice(&mut self, parts: [Self::Value; 3]) -> Result<Self::Value, Self::Error>;
    /// What travels beside the bytes, by its number.
    fn outside(&mut self, index: usize) -> Result<Self::Value, Self::Error>;
}

/// Reads one value, which must be all of `bytes`.
pub fn decode<B: Build>(bytes: &[u8], build: &mut B) -> Result<B::Value, B::Error> {
    let mut reader = Reader {
        rest: bytes,
        memo: Vec::new(),
        build,
    };
    let value = reader.value(DEEPEST)?;
    if reader.rest.is_empty() {
        Ok(value)
    } else {
        Err(Malformed("bytes after the end").into())
    }
}

struct Reader<'b, 's, B: Build> {
    rest: &'b [u8],
    memo: Vec<B::Value>,
    build: &'s mut B,
}

impl<'b, B: Build> Reader<'b, '_, B> {
    #[inline]
    fn value(&mut self, depth: usize) -> Result<B::Value, B::Error> {
        const INT: u8 = Tag::Int as u8;
        const FLOAT: u8 = Tag::Float as u8;
        const TEXT: u8 = Tag::Str1 as u8;
        const SHARED_TEXT: u8 = TEXT | MEMO;
        let [byte] = self.fixed()?;
        match byte {
            INT => {
                let value = self.zigzag()?;
                self.build.int(value)
            }
            FLOAT => {
                let value = f64::from_le_bytes(self.fixed()?);
                self.build.float(value)
            }
            TEXT => {
                let bytes = self.sized(1)?;
                self.build.text(bytes)
            }
            SHARED_TEXT => {
                let bytes = self.sized(1)?;
                let value = self.build.text(bytes)?;
                self.memo.push(value.clone());
                Ok(value)
            }
            byte => self.rarer(byte, depth),
        }
    }

    #[inline(never)]
    fn rarer(&mut self, byte: u8, depth: usize) -> Result<B::Value, B::Error> {
        let memo = byte & MEMO != 0;
        let tag = TAGS
            .get(usize::from(byte & !MEMO))
            .ok_or(Malformed("an unknown tag"))?;
        let value = match tag {
            Tag::None => self.build.atom(Atom::None)?,
            Tag::True => self.build.atom(Atom::Bool(true))?,
            Tag::False => self.build.atom(Atom::Bool(false))?,
            Tag::Ellipsis => self.build.atom(Atom::Ellipsis)?,
            Tag::Int => {
                let value = self.zigzag()?;
                self.build.int(value)?
            }
            Tag::BigInt => {
                let bytes = self.sized(1)?;
                self.build.atom(Atom::BigInt(bytes))?
            }
            Tag::Float => {
                let value = f64::from_le_bytes(self.fixed()?);
                self.build.float(value)?
            }
            Tag::Complex => {
                let real = f64::from_le_bytes(self.fixed()?);
                let imaginary = f64::from_le_bytes(self.fixed()?);
                self.build.atom(Atom::Complex(real, imaginary))?
            }
            Tag::Str1 => {
                let bytes = self.sized(1)?;
                self.build.text(bytes)?
            }
            Tag::Str2 => {
                let bytes = self.sized(2)?;
                self.build.atom(Atom::Str2(bytes))?
            }
            Tag::Str4 => {
                let bytes = self.sized(4)?;
                let (points, _) = bytes.as_chunks::<4>();
                if points.iter().any(|&p| u32::from_le_bytes(p) > 0x0010_FFFF) {
                    return Err(Malformed("a code point out of range").into());
                }
                self.build.atom(Atom::Str4(bytes))?
            }
            Tag::Bytes => {
                let bytes = self.sized(1)?;
                self.build.atom(Atom::Bytes(bytes))?
            }
            Tag::ByteArray => {
                let bytes = self.sized(1)?;
                self.build.atom(Atom::ByteArray(bytes))?
            }
            Tag::Tuple => return self.container(Shape::Tuple, memo, depth),
            Tag::List => return self.container(Shape::List, memo, depth),
            Tag::Dict => return self.container(Shape::Dict, memo, depth),
            Tag::Set => return self.container(Shape::Set, memo, depth),
            Tag::FrozenSet => return self.container(Shape::FrozenSet, memo, depth),
            Tag::Range => {
                let parts = self.three(depth)?;
                self.build.range(parts)?
            }
            Tag::Slice => {
                let parts = self.three(depth)?;
                self.build.slice(parts)?
            }
            Tag::Ref => {
                let number = self.count()?;
                let known = self.memo.get(number).cloned();
                known.ok_or(Malformed("a reference to nothing"))?
            }
            Tag::Outside => {
                let number = self.count()?;
                self.build.outside(number)?
            }
        };
        if memo {
            self.memo.push(value.clone());
        }
        Ok(value)
    }

    fn container(&mut self, shape: Shape, memo: bool, depth: usize) -> Result<B::Value, B::Error> {
        let below = deeper(depth)?;
        let count = self.count()?;
        let least = if shape == Shape::Dict { 2 } else { 1 };
        // Each item takes a byte at least, so what is larger cannot be filled.
        if count > self.rest.len() / least {
            return Err(Malformed("a count beyond the end").into());
        }
        let container = self.build.container(shape, count)?;
        let first = matches!(shape, Shape::List | Shape::Dict | Shape::Set);
        if memo && first {
            self.memo.push(container.clone());
        }
        for index in 0..count {
            let item = self.value(below)?;
            if shape == Shape::Dict {
                let value = self.value(below)?;
                self.build.pair(&container, item, value)?;
            } else {
                self.build.item(&container, shape, index, item)?;
            }
        }
        if memo && !first {
            self.memo.push(container.clone());
        }
        Ok(container)
    }

    fn three(&mut self, depth: usize) -> Result<[B::Value; 3], B::Error> {
        let below = deeper(depth)?;
        Ok([self.value(below)?, self.value(below)?, self.value(below)?])
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'b [u8], Malformed> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(Malformed("a length beyond the end"))?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(Malformed("the end comes too early"))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A count of units of `width` bytes, and these bytes.
    #[inline]
    fn sized(&mut self, width: usize) -> Result<&'b [u8], Malformed> {
        let length = self.count()?.checked_mul(width);
        self.take(length.ok_or(Malformed("a length beyond the end"))?)
    }

    fn count(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.varint()?).map_err(|_| Malformed("a count beyond the end"))
    }

    #[inline]
    fn zigzag(&mut self) -> Result<i64, Malformed> {
        let zigzag = self.varint()?;
        Ok((zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed()))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        match self.rest {
            [byte @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.fixed()?;
            let bits = u64::from(byte & 0x7F);
            if (bits << shift) >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("a number too large"))
    }
}

fn deeper(depth: usize) -> Result<usize, Malformed> {
    depth.checked_sub(1).ok_or(Malformed("nested too deep"))
}
