//! Numbers for addresses, in the order in which they come: what a pickler calls its memo.
//!
//! The first few are searched one by one, so that a small value costs no hash. The table is kept
//! between uses, and a slot counts only if it was written in this use.

/// How many are searched one by one.
const FIRST: usize = 8;
/// Larger tables are not kept: 16 bytes a slot.
const MOST_KEPT: usize = 1 << 13;
const LEAST: usize = 64;

#[derive(Clone, Copy, Default)]
struct Slot {
    address: usize,
    number: u32,
    /// The use that wrote it; 0 never did.
    turn: u32,
}

#[derive(Default)]
pub struct Addresses {
    first: [usize; FIRST],
    count: usize,
    /// Whether the first few have moved into the table.
    moved: bool,
    /// Empty, or as many as a power of two, at most half of them in use.
    slots: Vec<Slot>,
    turn: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    New,
    Known(u32),
    /// There are no numbers left.
    Full,
}

impl Addresses {
    /// Gives the address the next number, unless it has one.
    #[inline]
    pub fn enter(&mut self, address: usize) -> Entered {
        if !self.moved {
            let known = &self.first[..self.count];
            if let Some(number) = known.iter().position(|&other| other == address) {
                return Entered::Known(number as u32);
            }
            if let Some(place) = self.first.get_mut(self.count) {
                *place = address;
                self.count += 1;
                return Entered::New;
            }
        }
        self.enter_in_table(address)
    }

    #[inline(never)]
    fn enter_in_table(&mut self, address: usize) -> Entered {
        if !self.moved {
            self.begin_turn();
        }
        if self.count * 2 >= self.slots.len() {
            self.grow();
        }
        let Ok(number) = u32::try_from(self.count) else {
            return Entered::Full;
        };
        let index = self.find(address);
        let slot = &mut self.slots[index];
        if slot.turn == self.turn {
            return Entered::Known(slot.number);
        }
        *slot = Slot {
            address,
            number,
            turn: self.turn,
        };
        self.count += 1;
        Entered::New
    }

    /// The first few move into the table, which is empty.
    fn begin_turn(&mut self) {
        self.moved = true;
        if let Some(turn) = self.turn.checked_add(1) {
            self.turn = turn;
        } else {
            // A slot of four billion uses ago would count again.
            self.slots.fill(Slot::default());
            self.turn = 1;
        }
        if self.slots.is_empty() {
            self.slots.resize(LEAST, Slot::default());
        }
        for number in 0..FIRST {
            self.insert(Slot {
                address: self.first[number],
                number: number as u32,
                turn: self.turn,
            });
        }
    }

    fn grow(&mut self) {
        let size = self.slots.len() * 2;
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); size]);
        for slot in old {
            if slot.turn == self.turn {
                self.insert(slot);
            }
        }
    }

    fn insert(&mut self, slot: Slot) {
        let index = self.find(slot.address);
        self.slots[index] = slot;
    }

    /// Where the address is, or the free slot where it belongs. There is one: half are free.
    #[inline]
    fn find(&self, address: usize) -> usize {
        let mask = self.slots.len() - 1;
        // The lowest bits of addresses are all the same; a product's high bits depend on all of
        // its factor's (Knuth's multiplicative hashing, with the golden ratio).
        let mixed = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut index = (mixed >> 32) as usize & mask;
        loop {
            let slot = &self.slots[index];
            if slot.turn != self.turn || slot.address == address {
                return index;
            }
            index = (index + 1) & mask;
        }
    }

    pub fn clear(&mut self) {
        self.count = 0;
        self.moved = false;
        if self.slots.len() > MOST_KEPT {
            self.slots = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_order_and_stay() {
        let mut addresses = Addresses::default();
        for _ in 0..3 {
            // Strides as allocators give them, over the border of the first few and of growing.
            for stride in [16, 48, 1 << 14, 1 << 34] {
                for index in 0..5000 {
                    assert_eq!(addresses.enter(0x7f00_0000 + index * stride), Entered::New);
                    let back = 0x7f00_0000 + index / 2 * stride;
                    assert_eq!(addresses.enter(back), Entered::Known((index / 2) as u32));
                }
                addresses.clear();
            }
        }
    }

    #[test]
    fn nothing_is_left_of_the_last_use() {
        let mut addresses = Addresses::default();
        for count in [5, 20, 9, 8, 20] {
            for address in 1..=count {
                assert_eq!(addresses.enter(address * 64), Entered::New);
            }
            addresses.clear();
        }
    }

    #[test]
    fn turns_may_run_out() {
        let mut addresses = Addresses {
            turn: u32::MAX - 1,
            ..Addresses::default()
        };
        for _ in 0..3 {
            for address in 1..=20 {
                assert_eq!(addresses.enter(address * 64), Entered::New);
            }
            addresses.clear();
        }
    }
}
