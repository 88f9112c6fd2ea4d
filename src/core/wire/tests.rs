//! The format against itself: what is written is read, and what is broken is refused.

use super::plain::{Graph, Node, Refused};
use super::{DEEPEST, Error, Kind, Malformed, NUMBERED, Tag, Width, Writer};

/// Numbers that look random and are the same each time (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.roll() as u8).collect()
    }
}

fn malformed(bytes: &[u8]) -> Malformed {
    match Graph::decode(bytes) {
        Err(Error::Malformed(malformed)) => malformed,
        other => panic!("{bytes:?}: {other:?}"),
    }
}

fn there_and_back(graph: &Graph) {
    let bytes = graph.encode().unwrap();
    assert_eq!(
        Graph::decode(&bytes).unwrap().normal(),
        graph.normal(),
        "{bytes:?}"
    );
}

fn chain(kind: Kind, length: usize) -> Graph {
    let mut nodes: Vec<_> = (0..length)
        .map(|index| Node::Container(kind, vec![index + 1]))
        .collect();
    nodes.push(Node::None);
    Graph { nodes, root: 0 }
}

#[test]
fn integers_of_each_size() {
    let sizes = (0..63).flat_map(|bit| [1 << bit, -(1 << bit), (1 << bit) - 1, -(1 << bit) - 1]);
    for value in sizes.chain([i64::MIN, i64::MAX, -16, -17, 111, 112]) {
        there_and_back(&Graph {
            nodes: vec![Node::Integer(value)],
            root: 0,
        });
    }
}

#[test]
fn random_graphs_there_and_back() {
    let mut dice = Dice(0x5eed);
    let (mut whole, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let size = dice.below(400);
        let graph = Graph::chosen_by(&dice.bytes(size));
        match graph.encode() {
            Ok(_) => {
                there_and_back(&graph);
                whole += 1;
            }
            Err(Refused::Cycle) => refused += 1,
            Err(Refused::TooDeep) => panic!("{graph:?}"),
        }
    }
    // The dice shall neither draw nothing but cycles nor none at all.
    assert!(whole > 10_000 && refused > 500, "{whole} {refused}");
}

#[test]
fn cycles_and_aliases() {
    let list = |items| Node::Container(Kind::List, items);
    let tuple = |items| Node::Container(Kind::Tuple, items);
    let text = Node::Text(Width::One, b"ab".to_vec());
    let through_list = Graph {
        nodes: vec![list(vec![0, 1, 1, 2]), tuple(vec![0, 2, 2]), text],
        root: 0,
    };
    there_and_back(&through_list);
    let through_tuple = Graph {
        root: 1,
        ..through_list
    };
    assert_eq!(through_tuple.encode(), Err(Refused::Cycle));
}

#[test]
fn depth_is_bounded() {
    there_and_back(&chain(Kind::List, DEEPEST));
    // An empty one fits where a full one does not.
    let mut empty_inside = chain(Kind::List, DEEPEST);
    empty_inside.nodes[DEEPEST] = Node::Container(Kind::Tuple, vec![]);
    there_and_back(&empty_inside);
    for kind in [Kind::List, Kind::Tuple, Kind::FrozenSet] {
        assert_eq!(
            chain(kind, DEEPEST + 1).encode(),
            Err(Refused::TooDeep),
            "{kind:?}"
        );
        let mut writer = Writer::default();
        for _ in 0..100_000 {
            writer.open(kind, 1, false);
        }
        writer.none();
        assert_eq!(malformed(&writer.finish()), Malformed::TooDeep);
    }
}

#[test]
fn counts_are_checked_against_what_is_left() {
    for tag in [
        Tag::Tuple,
        Tag::List,
        Tag::Dict,
        Tag::Set,
        Tag::Bytes,
        Tag::Text4,
        Tag::Big,
    ] {
        for count in [
            &[2][..],
            &[0xff, 0xff, 0xff, 0x7f],
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x40],
        ] {
            let bytes = [&[tag as u8], count, &[0]].concat();
            assert_eq!(malformed(&bytes), Malformed::Count, "{bytes:?}");
        }
    }
    // Each level alone could be filled, all together could not.
    let nested = [[Tag::List as u8, 20]; 20].concat();
    assert_eq!(malformed(&nested), Malformed::Count);
    // Ten bytes of seven bits are more than a count has.
    let mut large = vec![Tag::Bytes as u8];
    large.extend([0xff; 9]);
    assert_eq!(malformed(&[&large[..], &[0x7f]].concat()), Malformed::Count);
    large.extend([0xff; 100]);
    assert_eq!(malformed(&large), Malformed::Count);
}

#[test]
fn each_kind_of_damage_has_its_name() {
    assert_eq!(malformed(&[]), Malformed::Truncated);
    assert_eq!(malformed(&[Tag::Float as u8, 0, 0]), Malformed::Truncated);
    assert_eq!(malformed(&[0, 0]), Malformed::Trailing);
    assert_eq!(malformed(&[0x3f]), Malformed::UnknownTag(0x3f));
    for tag in [Tag::None, Tag::Int4, Tag::Float, Tag::Again] {
        let byte = tag as u8 | NUMBERED;
        assert_eq!(malformed(&[byte, 0, 0, 0, 0]), Malformed::UnknownTag(byte));
    }
    assert_eq!(malformed(&[Tag::Again as u8, 0]), Malformed::Reference);
    // A list may contain itself, a tuple may not.
    let itself = |tag: Tag| [tag as u8 | NUMBERED, 1, Tag::Again as u8, 0];
    assert!(Graph::decode(&itself(Tag::List)).is_ok());
    assert_eq!(malformed(&itself(Tag::Tuple)), Malformed::Reference);
    assert!(matches!(
        Graph::decode(&itself(Tag::Set)),
        Err(Error::Builder(_))
    ));
}

/// What the fuzzer does at length, here in short and always the same: damaged buffers end in a
/// value or an error, and a value that comes out can be written and read again.
#[test]
fn damaged_buffers_do_no_harm() {
    let mut dice = Dice(0xdead_beef);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let size = dice.below(300);
        let Ok(mut bytes) = Graph::chosen_by(&dice.bytes(size)).encode() else {
            continue;
        };
        for _ in 0..=dice.below(3) {
            let at = dice.below(bytes.len() + 1);
            match dice.below(5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, dice.roll() as u8),
                2 => bytes.extend_from_within(..at),
                _ if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
                _ => bytes.push(dice.roll() as u8 % 64),
            }
        }
        match Graph::decode(&bytes) {
            Ok(graph) => {
                there_and_back(&graph);
                read += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(read > 1_000 && refused > 1_000, "{read} {refused}");
}
