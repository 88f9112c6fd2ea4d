//! The window in which a worker's task can be interrupted, and ended by others.
//!
//! Guarantees: a mark for an interrupt is made in the entry of the task that was meant, and taken
//! from there once; with the entry it goes away; whoever forbids starts and then looks at the
//! window finds the task that started before, and none starts after.
//! Not guaranteed: that a mark becomes an interrupt in time. That is the helper's work (`reach.rs`),
//! under the GIL of the interpreter, and `PROTOCOL.md`, "Interrupts", has the argument.

use super::sync::{AtomicBool, Mutex, Ordering};
use std::time::{Duration, Instant};

/// What a worker is at.
#[derive(Debug)]
pub struct Window<J>(Mutex<Option<Running<J>>>);

/// A task that runs.
#[derive(Debug)]
pub struct Running<J> {
    pub job: J,
    /// When its time is up, and how much that was.
    limit: Option<(Instant, Duration)>,
    pub asked: Option<Asked>,
    /// Somebody was told that it does not react.
    warned: bool,
    /// The helper is to raise the exception.
    due: bool,
    /// It has.
    sent: bool,
    /// The task goes on at another window, which takes it from here.
    moving: bool,
}

/// An interrupt that was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// When it was first.
    pub at: Instant,
    /// The time limit that was the reason.
    pub timeout: Option<Duration>,
}

/// How long a task may take to react to an interrupt.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until somebody is told.
    pub warning: Duration,
    /// Until its worker is replaced.
    pub grace: Duration,
}

/// What a look at a window found.
#[derive(Debug)]
pub struct Found<J> {
    /// When to look again.
    pub next: Option<Instant>,
    /// The time is up since this look: the helper is to be rung for.
    pub ring: bool,
    /// This task has not reacted for so long.
    pub slow: Option<(J, Duration)>,
    /// The task has not reacted within the grace.
    pub stuck: Option<Stuck<J>>,
}

/// What is to be done for a task that was taken from another window.
#[derive(Debug, PartialEq, Eq)]
pub struct Resumed {
    /// When its time is up.
    pub deadline: Option<Instant>,
    /// It is marked: the helper is to be rung for.
    pub ring: bool,
}

/// A task that does not react.
#[derive(Debug)]
pub struct Stuck<J> {
    pub job: J,
    pub asked: Asked,
}

/// Whether tasks may start.
#[derive(Debug, Default)]
pub struct Ban(AtomicBool);

impl Ban {
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Nothing starts any more, but what has its lock (`Window::open`) already: look there next.
    pub fn raise(&self) {
        // Relaxed, here and below: it is read under the window's lock, which the raiser takes after
        // this. So either the reader sees this, or the raiser finds the reader's task there.
        self.0.store(true, Ordering::Relaxed);
    }

    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<J> Default for Window<J> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<J: Clone> Window<J> {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What runs here.
    #[must_use]
    pub fn job(&self) -> Option<J> {
        self.seen(J::clone)
    }

    /// The same in the child of a fork, where the lock's holder may be gone.
    #[cfg(not(loom))]
    #[must_use]
    pub fn job_if_free(&self) -> Option<J> {
        let place = self.0.try_lock()?;
        place.as_ref().map(|running| running.job.clone())
    }

    /// What `look` makes of what runs here, under the lock.
    pub fn seen<R>(&self, look: impl FnOnce(&J) -> R) -> Option<R> {
        let place = self.0.lock();
        place.as_ref().map(|running| look(&running.job))
    }

    /// Starts `job`, and opens the window with that: who sees it running finds it here. `job`
    /// comes back if `start` gives nothing.
    pub fn open<C>(
        &self,
        job: J,
        limit: Option<(Instant, Duration)>,
        start: impl FnOnce(&J) -> Option<C>,
    ) -> Result<C, J> {
        let mut place = self.0.lock();
        // Under the lock: who forbids it looks here after that (`Ban`), and who sees it running
        // takes the lock after the entry was made.
        let Some(call) = start(&job) else {
            return Err(job);
        };
        *place = Some(Running {
            job,
            limit,
            asked: None,
            warned: false,
            due: false,
            sent: false,
            moving: false,
        });
        Ok(call)
    }

    /// Leaves the task here for another worker: no mark is taken before that has it. True: the
    /// helper has raised the exception in this worker, and it may lie in wait yet.
    #[must_use]
    pub fn pass_on(&self) -> bool {
        let mut place = self.0.lock();
        place.as_mut().is_some_and(|running| {
            running.moving = true;
            std::mem::take(&mut running.sent)
        })
    }

    /// Takes the task from where another worker has left it, with the marks made since, if it is
    /// `still` to be done.
    #[must_use]
    pub fn resume(&self, from: &Self, still: impl FnOnce(&J) -> bool) -> Option<Resumed> {
        let mut theirs = from.0.lock();
        // In the order in which a task moves, so nobody holds the two the other way round.
        let mut own = self.0.lock();
        let mut running = theirs.take().filter(|running| still(&running.job))?;
        running.moving = false;
        running.due = running.asked.is_some();
        let resumed = Resumed {
            deadline: running.limit.map(|(at, _)| at),
            ring: running.due,
        };
        *own = Some(running);
        Some(resumed)
    }

    /// Whether the helper has raised the exception in the task that is here.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.0.lock().as_ref().is_some_and(Running::is_sent)
    }

    /// Closes the window. `None`: nothing has begun.
    #[must_use]
    pub fn close(&self) -> Option<Running<J>> {
        self.0.lock().take()
    }

    /// Marks what runs here, if it is `which`: then the helper is to be rung for. False: it is not.
    #[must_use]
    pub fn ask(
        &self,
        at: Instant,
        timeout: Option<Duration>,
        which: impl FnOnce(&J) -> bool,
    ) -> bool {
        let mut place = self.0.lock();
        let Some(running) = place.as_mut().filter(|running| which(&running.job)) else {
            return false;
        };
        running.ask(at, timeout);
        true
    }

    /// Takes the mark, by the helper, with the GIL: true if it is to raise the exception now.
    #[must_use]
    pub fn take_due(&self) -> bool {
        let mut place = self.0.lock();
        let Some(running) = place
            .as_mut()
            .filter(|running| running.due && !running.moving)
        else {
            return false;
        };
        running.due = false;
        running.sent = true;
        true
    }

    /// Marks what has run too long, and tells what has not reacted to its mark.
    #[must_use]
    pub fn look(&self, now: Instant, patience: Patience) -> Found<J> {
        let mut found = Found {
            next: None,
            ring: false,
            slow: None,
            stuck: None,
        };
        let mut place = self.0.lock();
        let Some(running) = &mut *place else {
            return found;
        };
        if let (None, Some((at, limit))) = (running.asked, running.limit)
            && at <= now
        {
            running.ask(now, Some(limit));
            found.ring = true;
        }
        found.next = running.limit.map(|(at, _)| at);
        if let Some(asked) = running.asked {
            let waited = now.saturating_duration_since(asked.at);
            if waited >= patience.warning && !running.warned {
                running.warned = true;
                found.slow = Some((running.job.clone(), waited));
            }
            found.next = asked.at.checked_add(if running.warned {
                patience.grace
            } else {
                patience.warning.min(patience.grace)
            });
            if waited >= patience.grace {
                let job = running.job.clone();
                found.stuck = Some(Stuck { job, asked });
            }
        }
        found
    }
}

impl<J> Running<J> {
    fn ask(&mut self, at: Instant, timeout: Option<Duration>) {
        self.asked.get_or_insert(Asked { at, timeout });
        self.due = true;
    }

    /// Whether the helper has raised the exception, which may lie in wait yet.
    #[must_use]
    pub const fn is_sent(&self) -> bool {
        self.sent
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        warning: Duration::from_secs(1),
        grace: Duration::from_secs(3),
    };

    fn open(limit: Option<Duration>) -> (Window<u32>, Instant) {
        let (window, now) = (Window::new(), Instant::now());
        let limit = limit.map(|limit| (now + limit, limit));
        assert_eq!(window.open(1, limit, |_| Some(())), Ok(()));
        (window, now)
    }

    #[test]
    fn a_mark_is_taken_once_and_goes_with_its_task() {
        let (window, now) = open(None);
        assert!(!window.ask(now, None, |job| *job == 2));
        assert!(!window.take_due());
        assert!(window.ask(now, None, |job| *job == 1));
        assert!(!window.is_sent());
        assert!(window.take_due() && !window.take_due());
        assert!(window.is_sent());
        assert!(window.ask(now, None, |job| *job == 1));
        assert!(window.close().unwrap().is_sent());
        assert!(!window.take_due());
        assert_eq!(window.open(2, None, |_| Some(())), Ok(()));
        assert!(!window.take_due(), "a mark of the task before");
        assert!(!window.is_sent());
    }

    #[test]
    fn a_task_that_moves_is_found_and_takes_its_marks_along() {
        let second = Duration::from_secs(1);
        let (first, now) = open(Some(second));
        let (other, third) = (Window::new(), Window::new());
        assert!(first.ask(now, None, |_| true) && first.take_due());
        assert!(
            first.pass_on(),
            "the exception lies in wait in the first worker"
        );
        assert!(
            first.ask(now, None, |job| *job == 1),
            "it is found until it is there"
        );
        assert!(
            !first.take_due(),
            "it would hit what the first worker does next"
        );
        let resumed = other.resume(&first, |_| true).unwrap();
        assert_eq!((resumed.deadline, resumed.ring), (Some(now + second), true));
        assert!(other.take_due() && first.close().is_none());
        assert!(!other.pass_on() || third.resume(&other, |_| false).is_none());
        assert!(other.close().is_none(), "it has ended");
    }

    #[test]
    fn what_may_not_start_is_not_there() {
        let window = Window::new();
        assert_eq!(window.open(1, None, |_| None::<()>), Err(1));
        assert!(window.job().is_none() && window.close().is_none());
    }

    #[test]
    fn a_time_limit_is_asked_for_once_then_told_of_then_given_up() {
        let second = Duration::from_secs(1);
        let (window, start) = open(Some(second));
        let found = window.look(start, PATIENCE);
        assert!(!found.ring && found.next == Some(start + second));
        let found = window.look(start + second, PATIENCE);
        assert!(found.ring && found.slow.is_none() && found.stuck.is_none());
        assert_eq!(found.next, Some(start + 2 * second));
        let found = window.look(start + 2 * second, PATIENCE);
        assert!(!found.ring && found.stuck.is_none());
        assert_eq!(found.slow, Some((1, second)));
        assert_eq!(found.next, Some(start + 4 * second));
        let found = window.look(start + 4 * second, PATIENCE);
        assert!(found.slow.is_none());
        assert_eq!(found.stuck.unwrap().asked.timeout, Some(second));
    }
}
