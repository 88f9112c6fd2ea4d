//! Plain Rust values in the native format: what the tests and the fuzzer decode to.

use super::wire::{Atom, Build, DEEPEST, Malformed, Shape, Tag, Writer};

/// A value of an `Arena`, by its place there.
pub type Place = usize;

/// Values that may stand in several places and hold themselves.
#[derive(Clone, Debug, Default)]
pub struct Arena {
    pub nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    None,
    Bool(bool),
    Ellipsis,
    Int(i64),
    BigInt(Vec<u8>),
    /// By its bits, so that a NaN equals itself.
    Float(u64),
    Complex(u64, u64),
    Str(u8, Vec<u8>),
    Bytes(Vec<u8>),
    ByteArray(Vec<u8>),
    Container(Kind, Vec<Place>),
    Outside(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tuple,
    List,
    /// Keys and values in turn.
    Dict,
    Set,
    FrozenSet,
    Range,
    Slice,
}

impl Arena {
    fn add(&mut self, node: Node) -> Place {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Writes the value at `place`, with a number for each that could have one. False: it is
    /// nested too deep, or within itself where the format cannot say so.
    #[must_use]
    pub fn encode(&self, place: Place, out: &mut Vec<u8>) -> bool {
        let mut encoder = Encoder {
            arena: self,
            writer: Writer(out),
            numbers: vec![None; self.nodes.len()],
            next: 0,
        };
        encoder.value(place, DEEPEST).is_some()
    }

    /// Whether two values are the same, down to which parts are one.
    #[must_use]
    pub fn same(&self, place: Place, other: &Self, other_place: Place) -> bool {
        let mut pairs = vec![None; self.nodes.len()];
        let mut left = vec![(place, other_place)];
        while let Some((here, there)) = left.pop() {
            if pairs[here] == Some(there) {
                continue;
            }
            if let (Node::Container(kind, items), Node::Container(other_kind, others)) =
                (&self.nodes[here], &other.nodes[there])
            {
                // One here must be one there.
                if pairs[here].is_some() || kind != other_kind || items.len() != others.len() {
                    return false;
                }
                pairs[here] = Some(there);
                left.extend(items.iter().copied().zip(others.iter().copied()));
            } else if self.nodes[here] != other.nodes[there] {
                return false;
            }
        }
        true
    }
}

struct Encoder<'a> {
    arena: &'a Arena,
    writer: Writer<'a>,
    numbers: Vec<Option<usize>>,
    next: usize,
}

impl Encoder<'_> {
    fn value(&mut self, place: Place, depth: usize) -> Option<()> {
        if let Some(number) = self.numbers[place] {
            if number == usize::MAX {
                return None;
            }
            self.writer.tag(Tag::Ref, false);
            self.writer.count(number);
            return Some(());
        }
        match &self.arena.nodes[place] {
            Node::None => self.writer.tag(Tag::None, false),
            Node::Bool(true) => self.writer.tag(Tag::True, false),
            Node::Bool(false) => self.writer.tag(Tag::False, false),
            Node::Ellipsis => self.writer.tag(Tag::Ellipsis, false),
            Node::Int(value) => {
                self.writer.tag(Tag::Int, false);
                self.writer.int(*value);
            }
            Node::BigInt(bytes) => {
                self.writer.tag(Tag::BigInt, false);
                self.sized(bytes, 1);
            }
            Node::Float(bits) => {
                self.writer.tag(Tag::Float, false);
                self.writer.bytes(&bits.to_le_bytes());
            }
            Node::Complex(real, imaginary) => {
                self.number(place, Tag::Complex);
                self.writer.bytes(&real.to_le_bytes());
                self.writer.bytes(&imaginary.to_le_bytes());
            }
            Node::Str(width, bytes) => {
                let tag = [Tag::Str1, Tag::Str2, Tag::Str4][usize::from(*width) / 2];
                self.number(place, tag);
                self.sized(bytes, usize::from(*width));
            }
            Node::Bytes(bytes) => {
                self.number(place, Tag::Bytes);
                self.sized(bytes, 1);
            }
            Node::ByteArray(bytes) => {
                self.number(place, Tag::ByteArray);
                self.sized(bytes, 1);
            }
            Node::Container(kind, items) => {
                return self.container(place, *kind, items, depth.checked_sub(1)?);
            }
            Node::Outside(number) => {
                self.number(place, Tag::Outside);
                self.writer.count(*number);
            }
        }
        Some(())
    }

    fn container(&mut self, place: Place, kind: Kind, items: &[Place], below: usize) -> Option<()> {
        let (tag, first) = match kind {
            Kind::Tuple => (Tag::Tuple, false),
            Kind::List => (Tag::List, true),
            Kind::Dict => (Tag::Dict, true),
            Kind::Set => (Tag::Set, true),
            Kind::FrozenSet => (Tag::FrozenSet, false),
            Kind::Range => (Tag::Range, false),
            Kind::Slice => (Tag::Slice, false),
        };
        if first {
            self.number(place, tag);
        } else {
            self.writer.tag(tag, true);
            self.numbers[place] = Some(usize::MAX);
        }
        match kind {
            Kind::Range | Kind::Slice => {}
            Kind::Dict => self.writer.count(items.len() / 2),
            _ => self.writer.count(items.len()),
        }
        for &item in items {
            self.value(item, below)?;
        }
        if !first {
            self.numbers[place] = Some(self.next);
            self.next += 1;
        }
        Some(())
    }

    fn number(&mut self, place: Place, tag: Tag) {
        self.writer.tag(tag, true);
        self.numbers[place] = Some(self.next);
        self.next += 1;
    }

    fn sized(&mut self, bytes: &[u8], width: usize) {
        self.writer.count(bytes.len() / width);
        self.writer.bytes(bytes);
    }
}

impl Build for Arena {
    type Value = Place;
    type Error = Malformed;

    fn atom(&mut self, atom: Atom<'_>) -> Result<Place, Malformed> {
        Ok(self.add(match atom {
            Atom::None => Node::None,
            Atom::Bool(value) => Node::Bool(value),
            Atom::Ellipsis => Node::Ellipsis,
            Atom::Int(value) => Node::Int(value),
            Atom::BigInt(bytes) => Node::BigInt(bytes.to_vec()),
            Atom::Float(value) => Node::Float(value.to_bits()),
            Atom::Complex(real, imaginary) => Node::Complex(real.to_bits(), imaginary.to_bits()),
            Atom::Str1(bytes) => Node::Str(1, bytes.to_vec()),
            Atom::Str2(bytes) => Node::Str(2, bytes.to_vec()),
            Atom::Str4(bytes) => Node::Str(4, bytes.to_vec()),
            Atom::Bytes(bytes) => Node::Bytes(bytes.to_vec()),
            Atom::ByteArray(bytes) => Node::ByteArray(bytes.to_vec()),
        }))
    }

    fn container(&mut self, shape: Shape, count: usize) -> Result<Place, Malformed> {
        let kind = match shape {
            Shape::Tuple => Kind::Tuple,
            Shape::List => Kind::List,
            Shape::Dict => Kind::Dict,
            Shape::Set => Kind::Set,
            Shape::FrozenSet => Kind::FrozenSet,
        };
        Ok(self.add(Node::Container(kind, Vec::with_capacity(count))))
    }

    fn item(&mut self, place: &Place, _: Shape, _: usize, item: Place) -> Result<(), Malformed> {
        if let Node::Container(_, items) = &mut self.nodes[*place] {
            items.push(item);
        }
        Ok(())
    }

    fn pair(&mut self, place: &Place, key: Place, value: Place) -> Result<(), Malformed> {
        if let Node::Container(_, items) = &mut self.nodes[*place] {
            items.extend([key, value]);
        }
        Ok(())
    }

    fn range(&mut self, parts: [Place; 3]) -> Result<Place, Malformed> {
        Ok(self.add(Node::Container(Kind::Range, parts.to_vec())))
    }

    fn slice(&mut self, parts: [Place; 3]) -> Result<Place, Malformed> {
        Ok(self.add(Node::Container(Kind::Slice, parts.to_vec())))
    }

    fn outside(&mut self, index: usize) -> Result<Place, Malformed> {
        Ok(self.add(Node::Outside(index)))
    }
}

/// Decodes, and checks that what came out is written and read again as the same value.
///
/// # Panics
/// If it is not. This is the property that the tests and the fuzzer check.
pub fn check(bytes: &[u8]) -> Result<(), Malformed> {
    let mut arena = Arena::default();
    let root = super::wire::decode(bytes, &mut arena)?;
    let mut again = Vec::new();
    assert!(
        arena.encode(root, &mut again),
        "what was read can be written"
    );
    let mut second = Arena::default();
    let read = super::wire::decode(&again, &mut second).expect("what was written can be read");
    assert!(
        arena.same(root, &second, read),
        "written and read again, it is another"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// xorshift: the same numbers in every run.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % end as u64) as usize
        }
    }

    /// Random values, which stand in several places and hold each other.
    fn arena(random: &mut Random) -> Arena {
        let count = 1 + random.below(30);
        let kinds = [
            Kind::Tuple,
            Kind::List,
            Kind::Dict,
            Kind::Set,
            Kind::FrozenSet,
            Kind::Range,
            Kind::Slice,
        ];
        let mut arena = Arena::default();
        for _ in 0..count {
            let bytes: Vec<u8> = (0..random.below(5) * 4)
                .map(|_| random.below(16) as u8)
                .collect();
            let node = match random.below(18) {
                0 => Node::None,
                1 => Node::Bool(random.below(2) == 0),
                2 => Node::Ellipsis,
                3 => Node::Int((random.0.cast_signed()) >> random.below(64)),
                4 => Node::BigInt(bytes),
                5 => Node::Float(random.0),
                6 => Node::Complex(random.0, !random.0),
                7 => Node::Str(1, bytes),
                8 => Node::Str(2, bytes),
                // Small code points: quadruples of a byte and three zeros.
                9 => Node::Str(4, bytes.iter().flat_map(|&b| [b, 0, 0, 0]).collect()),
                10 => Node::Bytes(bytes),
                11 => Node::ByteArray(bytes),
                12 => Node::Outside(random.below(300)),
                _ => {
                    let kind = kinds[random.below(kinds.len())];
                    let length = match kind {
                        Kind::Range | Kind::Slice => 3,
                        Kind::Dict => 2 * random.below(4),
                        _ => random.below(6),
                    };
                    Node::Container(kind, (0..length).map(|_| random.below(count)).collect())
                }
            };
            arena.add(node);
        }
        arena
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let mut random = Random(0x5EED);
        let mut written = 0;
        for _ in 0..20_000 {
            let arena = arena(&mut random);
            let mut bytes = Vec::new();
            if !arena.encode(0, &mut bytes) {
                continue; // a tuple within itself
            }
            written += 1;
            let mut second = Arena::default();
            let root = super::super::wire::decode(&bytes, &mut second).expect("readable");
            assert!(arena.same(0, &second, root), "{arena:?}\n{second:?}");
        }
        assert!(written > 10_000);
    }

    #[test]
    fn whatever_is_not_written_by_a_writer_is_refused_or_a_value() {
        let mut random = Random(0xBAD);
        let (mut refused, mut read) = (0, 0);
        for _ in 0..40_000 {
            let mut bytes = Vec::new();
            if !arena(&mut random).encode(0, &mut bytes) {
                continue;
            }
            for _ in 0..=random.below(4) {
                let place = random.below(bytes.len());
                match random.below(4) {
                    0 => bytes[place] = random.below(256) as u8,
                    1 => bytes[place] ^= 1 << random.below(8),
                    2 => bytes.truncate(place + 1),
                    _ => bytes.insert(place, random.below(256) as u8),
                }
            }
            match check(&bytes) {
                Ok(()) => read += 1,
                Err(_) => refused += 1,
            }
        }
        assert!(
            refused > 1000 && read > 1000,
            "{refused} refused, {read} read"
        );
    }

    #[test]
    fn each_way_to_be_malformed_has_its_words() {
        let of = |bytes: &[u8]| check(bytes).unwrap_err().0;
        let list = Tag::List as u8;
        assert_eq!(of(&[]), "the end comes too early");
        assert_eq!(of(&[Tag::Outside as u8 + 1]), "an unknown tag");
        assert_eq!(of(&[Tag::None as u8, 0]), "bytes after the end");
        assert_eq!(of(&[Tag::Ref as u8, 0]), "a reference to nothing");
        assert_eq!(
            of(&[Tag::Tuple as u8 | 0x80, 1, Tag::Ref as u8, 0]),
            "a reference to nothing"
        );
        assert_eq!(
            of(&[list, 0xFF, 0xFF, 0xFF, 0x7F, 0]),
            "a count beyond the end"
        );
        assert_eq!(of(&[Tag::Dict as u8, 1, 0]), "a count beyond the end");
        assert_eq!(of(&[Tag::Bytes as u8, 9, 0]), "a length beyond the end");
        let longest = [0xFF; 9].into_iter().chain([1]);
        let largest: Vec<u8> = [Tag::Str4 as u8].into_iter().chain(longest).collect();
        assert_eq!(of(&largest), "a length beyond the end");
        assert_eq!(
            of(&[&[Tag::Int as u8][..], &[0xFF; 10]].concat()),
            "a number too large"
        );
        assert_eq!(
            of(&[Tag::Str4 as u8, 1, 0, 0, 0x11, 0]),
            "a code point out of range"
        );
        assert_eq!(of(&[list, 1].repeat(DEEPEST + 1)), "nested too deep");
        let mut deep = [list, 1].repeat(DEEPEST);
        deep.push(Tag::None as u8);
        assert_eq!(check(&deep), Ok(()));
    }
}
