//! Reads the native format.

use super::build::{Builder, Error, Malformed};
use super::{DEEPEST, Kind, NUMBERED, SMALL, SMALLEST, TAGS, Tag, Width};

/// What `decode` needs besides; used again, it saves the allocations. Empty between calls.
#[derive(Debug)]
pub struct Scratch<O> {
    frames: Vec<Frame<O>>,
    /// The numbered values; `None` for one that is not complete.
    numbered: Vec<Option<O>>,
}

impl<O> Default for Scratch<O> {
    fn default() -> Self {
        Self {
            frames: Vec::new(),
            numbered: Vec::new(),
        }
    }
}

impl<O> Scratch<O> {
    /// Above this many a scratch is not worth its memory.
    const MOST_KEPT: usize = 1 << 12;

    fn clear(&mut self) {
        self.frames.clear();
        self.numbered.clear();
        self.numbered.shrink_to(Self::MOST_KEPT);
    }
}

/// An open container.
#[derive(Debug)]
struct Frame<O> {
    kind: Kind,
    container: O,
    filled: usize,
    /// More than 0.
    places: usize,
    number: Option<usize>,
    /// A dict's key that waits for its value.
    key: Option<O>,
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    #[inline]
    fn byte(&mut self) -> Result<u8, Malformed> {
        let (&first, rest) = self.0.split_first().ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(first)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (&first, rest) = self.0.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(first)
    }

    #[inline]
    fn count(&mut self) -> Result<usize, Malformed> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(first.into());
        }
        let mut count = usize::from(first & 0x7f);
        let mut shift = 7;
        loop {
            let byte = self.byte()?;
            let bits = usize::from(byte & 0x7f);
            // The bits must come back: none may be shifted out.
            let shifted = bits.checked_shl(shift).unwrap_or(0);
            if shifted.checked_shr(shift) != Some(bits) {
                return Err(Malformed::Count);
            }
            count |= shifted;
            if byte < 0x80 {
                return Ok(count);
            }
            shift += 7;
        }
    }

    fn small_count(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.count()?).map_err(|_| Malformed::Count)
    }

    /// A count and that many pieces of `width` bytes.
    #[inline]
    fn sized(&mut self, width: usize) -> Result<&'b [u8], Malformed> {
        let size = self.count()?.checked_mul(width);
        let (content, rest) = size
            .and_then(|size| self.0.split_at_checked(size))
            .ok_or(Malformed::Count)?;
        self.0 = rest;
        Ok(content)
    }
}

/// Reads one value that takes all of the bytes.
pub fn decode<B: Builder>(
    bytes: &[u8],
    builder: &mut B,
    scratch: &mut Scratch<B::Object>,
) -> Result<B::Object, Error<B::Error>> {
    let decoder = Decoder {
        reader: Reader(bytes),
        builder,
        frames: &mut scratch.frames,
        numbered: &mut scratch.numbered,
        owed: 1,
    };
    let decoded = decoder.run();
    if decoded.is_err() {
        for frame in &scratch.frames {
            builder.abandon(frame.kind, &frame.container, frame.filled);
        }
    }
    scratch.clear();
    decoded
}

struct Decoder<'d, B: Builder> {
    reader: Reader<'d>,
    builder: &'d mut B,
    frames: &'d mut Vec<Frame<B::Object>>,
    numbered: &'d mut Vec<Option<B::Object>>,
    /// How many values are to begin yet: the whole, and what open containers wait for. Each takes
    /// a byte or more, so a count that the bytes left cannot fill is refused before anything is
    /// made for it.
    owed: usize,
}

const INT2: u8 = Tag::Int2 as u8;
const INT4: u8 = Tag::Int4 as u8;
const FLOAT: u8 = Tag::Float as u8;

/// The integer that a byte with `SMALL` is.
fn small(byte: u8) -> i64 {
    i64::from(byte & !SMALL) + SMALLEST
}

/// What a tag begins.
enum Begun<O> {
    Value(O),
    Container(Kind),
}

impl<B: Builder> Decoder<'_, B> {
    fn run(mut self) -> Result<B::Object, Error<B::Error>> {
        loop {
            let byte = self.reader.byte()?;
            self.owed -= 1;
            let value = if byte & SMALL != 0 {
                Some(self.builder.integer(small(byte)).map_err(Error::Builder)?)
            } else {
                self.read(byte)?
            };
            if let Some(value) = value
                && let Some(whole) = self.deliver(value)?
            {
                return if self.reader.0.is_empty() {
                    Ok(whole)
                } else {
                    Err(Malformed::Trailing.into())
                };
            }
            self.fill()?;
        }
    }

    /// Reads what numbers come next into a list or tuple on top, all but its last item: the same
    /// as `run` does, in a short loop.
    #[inline]
    fn fill(&mut self) -> Result<(), Error<B::Error>> {
        let Some(frame) = self.frames.last_mut() else {
            return Ok(());
        };
        if !matches!(frame.kind, Kind::List | Kind::Tuple) {
            return Ok(());
        }
        let mut rest = self.reader.0;
        while frame.filled + 1 < frame.places {
            let number = if let Some((&byte, after)) = rest.split_first()
                && byte & SMALL != 0
            {
                rest = after;
                self.builder.integer(small(byte))
            } else if let Some((&[INT2, a, b], after)) = rest.split_first_chunk() {
                rest = after;
                self.builder.integer(i16::from_ne_bytes([a, b]).into())
            } else if let Some((&[INT4, a, b, c, d], after)) = rest.split_first_chunk() {
                rest = after;
                let value = i32::from_ne_bytes([a, b, c, d]);
                self.builder.integer(value.into())
            } else if let Some((&[FLOAT, a, b, c, d, e, f, g, h], after)) = rest.split_first_chunk()
            {
                rest = after;
                let value = f64::from_ne_bytes([a, b, c, d, e, f, g, h]);
                self.builder.float(value)
            } else {
                break;
            };
            let number = number.map_err(Error::Builder)?;
            let put = self
                .builder
                .put(frame.kind, &frame.container, frame.filled, number);
            put.map_err(Error::Builder)?;
            frame.filled += 1;
            self.owed -= 1;
        }
        self.reader.0 = rest;
        Ok(())
    }

    /// What follows a tag's byte. `None`: a container has been opened.
    #[inline]
    fn read(&mut self, byte: u8) -> Result<Option<B::Object>, Error<B::Error>> {
        let has_number = byte & NUMBERED != 0;
        let tag = TAGS
            .get(usize::from(byte & !NUMBERED))
            .filter(|tag| !has_number || tag.has_identity())
            .ok_or(Malformed::UnknownTag(byte))?;
        match self.begin(*tag)? {
            Begun::Value(value) => {
                if has_number {
                    self.numbered.push(Some(self.builder.share(&value)));
                }
                Ok(Some(value))
            }
            Begun::Container(kind) => self.open(kind, has_number),
        }
    }

    #[inline]
    fn begin(&mut self, tag: Tag) -> Result<Begun<B::Object>, Error<B::Error>> {
        let Self {
            reader, builder, ..
        } = self;
        let value = match tag {
            Tag::None => Ok(builder.none()),
            Tag::False => Ok(builder.boolean(false)),
            Tag::True => Ok(builder.boolean(true)),
            Tag::Ellipsis => Ok(builder.ellipsis()),
            Tag::Int1 => builder.integer(i8::from_ne_bytes(reader.array()?).into()),
            Tag::Int2 => builder.integer(i16::from_ne_bytes(reader.array()?).into()),
            Tag::Int4 => builder.integer(i32::from_ne_bytes(reader.array()?).into()),
            Tag::Int8 => builder.integer(i64::from_ne_bytes(reader.array()?)),
            Tag::Big => builder.big(reader.sized(1)?),
            Tag::Float => builder.float(f64::from_ne_bytes(reader.array()?)),
            Tag::Complex => {
                let real = f64::from_ne_bytes(reader.array()?);
                builder.complex(real, f64::from_ne_bytes(reader.array()?))
            }
            Tag::Text1 => builder.text(Width::One, reader.sized(1)?),
            Tag::Text2 => builder.text(Width::Two, reader.sized(2)?),
            Tag::Text4 => builder.text(Width::Four, reader.sized(4)?),
            Tag::Bytes => builder.bytes(reader.sized(1)?),
            Tag::ByteArray => builder.bytearray(reader.sized(1)?),
            Tag::Outside => builder.outside(reader.small_count()?),
            Tag::Again => {
                let known = self.numbered.get(reader.count()?);
                let known = known.and_then(Option::as_ref).ok_or(Malformed::Reference)?;
                Ok(builder.share(known))
            }
            Tag::Tuple => return Ok(Begun::Container(Kind::Tuple)),
            Tag::List => return Ok(Begun::Container(Kind::List)),
            Tag::Dict => return Ok(Begun::Container(Kind::Dict)),
            Tag::Set => return Ok(Begun::Container(Kind::Set)),
            Tag::FrozenSet => return Ok(Begun::Container(Kind::FrozenSet)),
            Tag::Range => return Ok(Begun::Container(Kind::Range)),
            Tag::Slice => return Ok(Begun::Container(Kind::Slice)),
        };
        value.map(Begun::Value).map_err(Error::Builder)
    }

    /// Opens a container; gives it back if it is empty.
    #[inline]
    fn open(&mut self, kind: Kind, has_number: bool) -> Result<Option<B::Object>, Error<B::Error>> {
        let count = match kind {
            Kind::Range | Kind::Slice => 3,
            _ => self.reader.count()?,
        };
        let values = count.checked_mul(if kind == Kind::Dict { 2 } else { 1 });
        let values = values
            .filter(|values| {
                let all = values.checked_add(self.owed);
                all.is_some_and(|all| all <= self.reader.0.len())
            })
            .ok_or(Malformed::Count)?;
        if values > 0 && self.frames.len() >= DEEPEST {
            return Err(Malformed::TooDeep.into());
        }
        let container = self.builder.open(kind, count).map_err(Error::Builder)?;
        let number = has_number.then_some(self.numbered.len());
        if has_number {
            let early = kind.is_early().then(|| self.builder.share(&container));
            self.numbered.push(early);
        }
        let frame = Frame {
            kind,
            container,
            filled: 0,
            places: values,
            number,
            key: None,
        };
        if values == 0 {
            return self.close(frame).map(Some);
        }
        self.owed += values;
        self.frames.push(frame);
        Ok(None)
    }

    fn close(&mut self, full: Frame<B::Object>) -> Result<B::Object, Error<B::Error>> {
        let closed = self.builder.close(full.kind, full.container);
        let closed = closed.map_err(Error::Builder)?;
        let place = full.number.and_then(|number| self.numbered.get_mut(number));
        if let Some(late @ None) = place {
            *late = Some(self.builder.share(&closed));
        }
        Ok(closed)
    }

    /// Puts a value where it belongs, and so on with each container that it completes. Gives the
    /// value that belongs nowhere: the whole.
    #[inline]
    fn deliver(&mut self, mut value: B::Object) -> Result<Option<B::Object>, Error<B::Error>> {
        while let Some(frame) = self.frames.last_mut() {
            frame.take(self.builder, value).map_err(Error::Builder)?;
            if frame.filled < frame.places {
                return Ok(None);
            }
            value = match self.frames.pop() {
                Some(full) => self.close(full)?,
                None => return Ok(None),
            };
        }
        Ok(Some(value))
    }
}

impl<O> Frame<O> {
    #[inline]
    fn take<B: Builder<Object = O>>(&mut self, builder: &mut B, item: O) -> Result<(), B::Error> {
        if self.kind == Kind::Dict {
            match self.key.take() {
                None => self.key = Some(item),
                Some(key) => builder.pair(&self.container, key, item)?,
            }
        } else {
            builder.put(self.kind, &self.container, self.filled, item)?;
        }
        self.filled += 1;
        Ok(())
    }
}
