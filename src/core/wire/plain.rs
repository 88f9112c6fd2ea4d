//! Plain Rust values for the native format: what tests and the fuzzer read and write.
//!
//! A `Graph` may have aliases and cycles as Python's values do. `normal` makes two graphs equal
//! that no program could tell apart.

use super::{Builder, DEEPEST, Error, Kind, Scratch, Width, Writer, decode};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    None,
    Boolean(bool),
    Ellipsis,
    Integer(i64),
    Big(Vec<u8>),
    /// Floats by their bits: not-a-number is equal to itself here.
    Float(u64),
    Complex(u64, u64),
    Text(Width, Vec<u8>),
    Bytes(Vec<u8>),
    ByteArray(Vec<u8>),
    Outside(u32),
    /// The places of the items; of a dict, keys and values in turn.
    Container(Kind, Vec<usize>),
}

impl Node {
    const fn has_identity(&self) -> bool {
        !matches!(
            self,
            Self::None
                | Self::Boolean(_)
                | Self::Ellipsis
                | Self::Integer(_)
                | Self::Big(_)
                | Self::Float(_)
        )
    }

    const fn is_hashable(&self) -> bool {
        !matches!(
            self,
            Self::ByteArray(_) | Self::Container(Kind::List | Kind::Dict | Kind::Set, _)
        )
    }

    fn items(&self) -> &[usize] {
        match self {
            Self::Container(_, items) => items,
            _ => &[],
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    pub nodes: Vec<Node>,
    pub root: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    TooDeep,
    /// A cycle through a tuple, a frozenset, a range or a slice.
    Cycle,
}

impl Graph {
    /// The graph in the order in which its nodes are reached, a node without identity once for
    /// each way to it.
    #[must_use]
    pub fn normal(&self) -> Self {
        let mut nodes: Vec<Node> = vec![];
        let mut places = vec![None; self.nodes.len()];
        // Each entry: a node, and where its place is to be written.
        let mut waiting: Vec<(usize, Option<(usize, usize)>)> = vec![(self.root, None)];
        while let Some((old, at)) = waiting.pop() {
            let node = &self.nodes[old];
            let place = match places[old] {
                Some(place) => place,
                None => {
                    let place = nodes.len();
                    nodes.push(node.clone());
                    if node.has_identity() {
                        places[old] = Some(place);
                    }
                    let items = node.items().iter().enumerate().rev();
                    waiting.extend(items.map(|(index, &item)| (item, Some((place, index)))));
                    place
                }
            };
            if let Some((container, index)) = at
                && let Some(Node::Container(_, items)) = nodes.get_mut(container)
            {
                items[index] = place;
            }
        }
        Self { nodes, root: 0 }
    }

    pub fn encode(&self) -> Result<Vec<u8>, Refused> {
        let mut ways = vec![0_usize; self.nodes.len()];
        ways[self.root] += 1;
        for &item in self.nodes.iter().flat_map(Node::items) {
            ways[item] += 1;
        }
        let mut numbers = vec![None; self.nodes.len()];
        let mut next = 0;
        let mut writer = Writer::default();
        // Open containers, and how many of their items are written.
        let mut open: Vec<(usize, usize)> = vec![];
        let mut place = self.root;
        loop {
            let node = &self.nodes[place];
            if let Some(number) = numbers[place] {
                let late = !matches!(node, Node::Container(kind, _) if kind.is_early());
                if late && open.iter().any(|&(container, _)| container == place) {
                    return Err(Refused::Cycle);
                }
                writer.again(number);
            } else {
                let numbered = ways[place] > 1 && node.has_identity();
                if numbered {
                    numbers[place] = Some(next);
                    next += 1;
                }
                write(&mut writer, node, numbered);
                if !node.items().is_empty() {
                    if open.len() == DEEPEST {
                        return Err(Refused::TooDeep);
                    }
                    open.push((place, 0));
                }
            }
            place = loop {
                let Some((container, written)) = open.last_mut() else {
                    return Ok(writer.finish());
                };
                if let Some(&item) = self.nodes[*container].items().get(*written) {
                    *written += 1;
                    break item;
                }
                open.pop();
            };
        }
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Error<Unhashable>> {
        let mut nodes = Nodes(vec![]);
        let root = decode(bytes, &mut nodes, &mut Scratch::default())?;
        Ok(Self {
            nodes: nodes.0,
            root,
        })
    }

    /// A graph that depends on nothing but the bytes, which are read as a list of choices.
    #[must_use]
    pub fn chosen_by(choices: &[u8]) -> Self {
        let mut choices = choices.iter().copied();
        let mut nodes = vec![];
        while let Some(node) = choose(&mut choices, nodes.len()) {
            nodes.push(node);
        }
        nodes.push(Node::None);
        // Items that lie ahead make cycles; those that lie nowhere, the last node.
        let last = nodes.len() - 1;
        let hashable: Vec<_> = nodes.iter().map(Node::is_hashable).collect();
        for node in &mut nodes {
            if let Node::Container(kind, items) = node {
                for (index, item) in items.iter_mut().enumerate() {
                    let needs_hash = match kind {
                        Kind::Set | Kind::FrozenSet => true,
                        Kind::Dict => index % 2 == 0,
                        _ => false,
                    };
                    if *item > last || (needs_hash && !hashable[*item]) {
                        *item = last;
                    }
                }
            }
        }
        Self { nodes, root: 0 }
    }
}

/// The next node, the one at `place`.
fn choose(choices: &mut impl Iterator<Item = u8>, place: usize) -> Option<Node> {
    let what = choices.next()?;
    let size = usize::from(choices.next()?);
    let mut several = |count: usize| choices.by_ref().take(count).collect::<Vec<_>>();
    let eight = |bytes: Vec<u8>| {
        let mut array = [0; 8];
        array[..bytes.len()].copy_from_slice(&bytes);
        array
    };
    let kinds = [
        Kind::Tuple,
        Kind::List,
        Kind::Dict,
        Kind::Set,
        Kind::FrozenSet,
        Kind::Range,
        Kind::Slice,
    ];
    Some(match what % 20 {
        0 => Node::None,
        1 => Node::Boolean(size % 2 == 0),
        2 => Node::Ellipsis,
        3 => Node::Integer(i64::from_ne_bytes(eight(several(size % 9)))),
        4 => Node::Big(several(size)),
        5 => Node::Float(u64::from_ne_bytes(eight(several(8)))),
        6 => {
            let real = u64::from_ne_bytes(eight(several(8)));
            Node::Complex(real, u64::from_ne_bytes(eight(several(8))))
        }
        7 => Node::Text(Width::One, several(size)),
        8 | 9 => {
            let width = if what % 20 == 8 {
                Width::Two
            } else {
                Width::Four
            };
            let mut units = several(size * width as usize);
            units.truncate(units.len() / width as usize * width as usize);
            Node::Text(width, units)
        }
        10 => Node::Bytes(several(size)),
        11 => Node::ByteArray(several(size)),
        12 => Node::Outside(size as u32),
        kind => {
            let kind = kinds[usize::from(kind - 13)];
            let count = match kind {
                Kind::Range | Kind::Slice => 3,
                Kind::Dict => size % 8 * 2,
                _ => size % 16,
            };
            let mut items = several(count);
            items.resize(count, u8::MAX);
            // Mostly what comes next, now and then something before.
            let items = items.into_iter().map(|choice| match choice {
                0..200 => place + 1 + usize::from(choice) / 8,
                _ => place.saturating_sub(usize::from(choice - 200)),
            });
            Node::Container(kind, items.collect())
        }
    })
}

fn write(writer: &mut Writer, node: &Node, numbered: bool) {
    match node {
        Node::None => writer.none(),
        Node::Boolean(value) => writer.boolean(*value),
        Node::Ellipsis => writer.ellipsis(),
        Node::Integer(value) => writer.integer(*value),
        Node::Big(value) => writer.big(value),
        Node::Float(bits) => writer.float(f64::from_bits(*bits)),
        Node::Complex(real, imaginary) => {
            writer.complex(f64::from_bits(*real), f64::from_bits(*imaginary), numbered);
        }
        Node::Text(width, units) => writer.text(*width, units, numbered),
        Node::Bytes(content) => writer.bytes(content, numbered),
        Node::ByteArray(content) => writer.bytearray(content, numbered),
        Node::Outside(index) => writer.outside(*index, numbered),
        Node::Container(kind, items) => {
            let halves = if *kind == Kind::Dict { 2 } else { 1 };
            writer.open(*kind, items.len() / halves, numbered);
        }
    }
}

/// The one thing that a dict or a set refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unhashable;

struct Nodes(Vec<Node>);

impl Nodes {
    fn push(&mut self, node: Node) -> usize {
        self.0.push(node);
        self.0.len() - 1
    }

    fn add(&mut self, container: usize, item: usize) {
        if let Some(Node::Container(_, items)) = self.0.get_mut(container) {
            items.push(item);
        }
    }
}

impl Builder for Nodes {
    type Object = usize;
    type Error = Unhashable;

    fn share(&mut self, object: &usize) -> usize {
        *object
    }

    fn none(&mut self) -> usize {
        self.push(Node::None)
    }

    fn boolean(&mut self, value: bool) -> usize {
        self.push(Node::Boolean(value))
    }

    fn ellipsis(&mut self) -> usize {
        self.push(Node::Ellipsis)
    }

    fn integer(&mut self, value: i64) -> Result<usize, Unhashable> {
        Ok(self.push(Node::Integer(value)))
    }

    fn big(&mut self, value: &[u8]) -> Result<usize, Unhashable> {
        Ok(self.push(Node::Big(value.to_vec())))
    }

    fn float(&mut self, value: f64) -> Result<usize, Unhashable> {
        Ok(self.push(Node::Float(value.to_bits())))
    }

    fn complex(&mut self, real: f64, imaginary: f64) -> Result<usize, Unhashable> {
        Ok(self.push(Node::Complex(real.to_bits(), imaginary.to_bits())))
    }

    fn text(&mut self, width: Width, units: &[u8]) -> Result<usize, Unhashable> {
        Ok(self.push(Node::Text(width, units.to_vec())))
    }

    fn bytes(&mut self, content: &[u8]) -> Result<usize, Unhashable> {
        Ok(self.push(Node::Bytes(content.to_vec())))
    }

    fn bytearray(&mut self, content: &[u8]) -> Result<usize, Unhashable> {
        Ok(self.push(Node::ByteArray(content.to_vec())))
    }

    fn outside(&mut self, index: u32) -> Result<usize, Unhashable> {
        Ok(self.push(Node::Outside(index)))
    }

    fn open(&mut self, kind: Kind, count: usize) -> Result<usize, Unhashable> {
        Ok(self.push(Node::Container(kind, Vec::with_capacity(count))))
    }

    fn put(
        &mut self,
        kind: Kind,
        container: &usize,
        index: usize,
        item: usize,
    ) -> Result<(), Unhashable> {
        assert_eq!(self.0[*container].items().len(), index, "out of order");
        if matches!(kind, Kind::Set | Kind::FrozenSet) && !self.0[item].is_hashable() {
            return Err(Unhashable);
        }
        self.add(*container, item);
        Ok(())
    }

    fn pair(&mut self, dict: &usize, key: usize, value: usize) -> Result<(), Unhashable> {
        if !self.0[key].is_hashable() {
            return Err(Unhashable);
        }
        self.add(*dict, key);
        self.add(*dict, value);
        Ok(())
    }

    fn close(&mut self, _kind: Kind, container: usize) -> Result<usize, Unhashable> {
        Ok(container)
    }

    fn abandon(&mut self, _kind: Kind, container: &usize, filled: usize) {
        let items = self.0[*container].items().len();
        assert!(items == filled || items == filled - filled % 2);
    }
}
