//! How long to look before going to sleep.
//!
//! Waking a sleeping thread costs some 35 µs on Linux, so a short look is worth it when the next
//! event is near, and a waste when it is not. `Spin` looks for at most `LIMIT` and so never burns
//! more than about what the sleep would have cost.

use std::time::{Duration, Instant};

/// The longest look. About the price of one sleep and wake-up.
pub const LIMIT: Duration = Duration::from_micros(30);

/// Turns between two looks at the clock, itself some 25 ns.
const TURNS_PER_LOOK: u32 = 16;

/// Calls `ready` until it gives something or the look has lasted `LIMIT`.
pub fn look<T>(mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    loop {
        for _ in 0..TURNS_PER_LOOK {
            if let Some(found) = ready() {
                return Some(found);
            }
            std::hint::spin_loop();
        }
        if begin.elapsed() >= LIMIT {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_ends_with_what_it_found() {
        let mut turns = 0;
        let found = look(|| {
            turns += 1;
            (turns == 3).then_some(turns)
        });
        assert_eq!(found, Some(3));
    }

    #[test]
    fn a_look_at_nothing_ends() {
        assert_eq!(look(|| None::<()>), None);
    }
}
