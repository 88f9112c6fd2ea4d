//! When one who sleeps until something is due is to wake.
//!
//! Guarantees: what is named by `wake_by` is met by a `turn` that says `Look`, at that time or
//! later; a time that is named during a look is kept, whether the look was past that place or not.
//!
//! The caller holds a lock around each call, and lets go of it to look and to sleep. A wake-up that
//! comes before the sleep has to end it (as `unpark` does).

use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Alarm {
    /// When to look. `None`: when somebody names a time; during a look, the earliest named since
    /// it began.
    next: Option<Instant>,
    closing: bool,
}

/// What the sleeper does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Turn {
    Look,
    /// For so long at most. `None`: until it is woken.
    Sleep(Option<Duration>),
    End,
}

impl Default for Alarm {
    fn default() -> Self {
        Self::new()
    }
}

impl Alarm {
    #[must_use]
    pub const fn new() -> Self {
        Self {
            next: None,
            closing: false,
        }
    }

    /// Has the sleeper look at `at`, or earlier. True: wake it, after what is due can be found.
    #[must_use]
    pub fn wake_by(&mut self, at: Instant) -> bool {
        let earlier = self.next.is_none_or(|next| at < next);
        if earlier {
            self.next = Some(at);
        }
        earlier
    }

    /// Whether there is a time to wake at.
    #[must_use]
    pub const fn is_set(&self) -> bool {
        self.next.is_some()
    }

    /// Wake the sleeper after this.
    pub const fn close(&mut self) {
        self.closing = true;
    }

    pub fn turn(&mut self, now: Instant) -> Turn {
        if self.closing {
            return Turn::End;
        }
        match self.next {
            Some(at) if at <= now => {
                // Forgotten before the look, not after it: what is named from here on is kept.
                self.next = None;
                Turn::Look
            }
            Some(at) => Turn::Sleep(Some(at - now)),
            None => Turn::Sleep(None),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_time_wakes_and_is_met_once() {
        let (mut alarm, now) = (Alarm::new(), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(alarm.turn(now), Turn::Sleep(None));
        assert!(alarm.wake_by(now + 2 * second));
        assert!(!alarm.wake_by(now + 3 * second), "it wakes before that");
        assert!(alarm.wake_by(now + second));
        assert_eq!(alarm.turn(now), Turn::Sleep(Some(second)));
        assert_eq!(alarm.turn(now + second), Turn::Look);
        assert_eq!(alarm.turn(now + second), Turn::Sleep(None));
        alarm.close();
        assert_eq!(alarm.turn(now), Turn::End);
    }
}
