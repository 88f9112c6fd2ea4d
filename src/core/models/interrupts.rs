//! Models of interrupts, of the end of all starts, and of the warden.
//!
//! The interpreter is a lock, its GIL, over the one thing that matters here: which exception waits
//! to be raised in the worker's thread (`PyThreadState_SetAsyncExc`).

use super::{Bed, PREEMPTIONS, check};
use crate::core::alarm::{Alarm, Turn};
use crate::core::latch::Unpark;
use crate::core::queue::Queue;
use crate::core::reach::Reach;
use crate::core::rests::{All, Disturb, Rests};
use crate::core::sleepers::Looker;
use crate::core::slot::Slot;
use crate::core::state::{Cancel, Phase, State};
use crate::core::sync::{Arc, AtomicBool, Brief, Mutex, Ordering, Thread, thread};
use crate::core::window::{Ban, Patience, Window};
use std::time::{Duration, Instant};

struct Interpreter {
    gil: Mutex<bool>,
    /// The worker's thread, which looks at `gil` again when an exception was set: what its loop
    /// does all the time, and a model cannot.
    looks: Mutex<Option<Thread>>,
    window: Window<u32>,
    reach: Reach<()>,
}

impl Interpreter {
    fn new() -> Arc<Self> {
        let new = Self {
            gil: Mutex::new(false),
            looks: Mutex::new(None),
            window: Window::new(),
            reach: Reach::new(),
        };
        new.reach.open(());
        Arc::new(new)
    }

    /// As `Desk::interrupt_if`.
    fn interrupt(self: &Arc<Self>, which: impl Fn(u32) -> bool) -> bool {
        if !self.window.ask(Instant::now(), None, |job| which(*job)) {
            return false;
        }
        self.ring();
        true
    }

    /// As `Desk::ring`, with the helper's visits.
    fn ring(self: &Arc<Self>) {
        let other = Arc::clone(self);
        let help = move |(): &(), bell: &crate::core::reach::Bell| {
            bell.heed(|| {
                let mut raised = other.gil.lock();
                if other.window.take_due() {
                    *raised = true;
                    if let Some(worker) = &*other.looks.lock() {
                        worker.unpark();
                    }
                }
            });
        };
        self.reach.ring(help).unwrap();
    }

    fn begin(&self, job: u32) {
        self.window.open(job, None, |_| Some(())).unwrap();
    }

    /// As `Reachable::end`, with the GIL.
    fn end(&self, raised: &mut bool) {
        if self.window.close().unwrap().is_sent() {
            *raised = false;
        }
    }

    /// As the drop of `Reachable`, detached.
    fn close(&self) {
        if let Some(helper) = self.reach.close() {
            helper.join().unwrap();
        }
    }
}

/// The interrupt of a task against its end and the beginning of the next one.
#[test]
fn an_interrupt_hits_its_task_or_none() {
    check(Some(PREEMPTIONS), || {
        let here = Interpreter::new();
        let other = Arc::clone(&here);
        let interrupter = thread::spawn(move || other.interrupt(|job| job == 1));
        {
            let mut raised = here.gil.lock();
            here.begin(1);
            drop(raised);
            raised = here.gil.lock();
            here.end(&mut raised);
            assert!(!*raised, "left to the next task");
            here.begin(2);
            drop(raised);
            raised = here.gil.lock();
            assert!(!*raised, "meant for the task before");
            here.end(&mut raised);
        }
        interrupter.join().unwrap();
        here.close();
        assert!(!*here.gil.lock(), "raised after the end");
    });
}

/// A task that runs until it is interrupted, and two who interrupt it: the helper is made by the
/// first and woken by the second. Were a ring lost, the task would never end.
#[test]
fn an_interrupt_reaches_a_task_that_runs_on() {
    check(Some(PREEMPTIONS), || {
        let here = Interpreter::new();
        here.begin(1);
        let other = Arc::clone(&here);
        let interrupter = thread::spawn(move || assert!(other.interrupt(|_| true)));
        runs_until_interrupted(&here);
        here.begin(2);
        let other = Arc::clone(&here);
        let second = thread::spawn(move || assert!(other.interrupt(|job| job == 2)));
        runs_until_interrupted(&here);
        interrupter.join().unwrap();
        second.join().unwrap();
        here.close();
    });
}

fn runs_until_interrupted(here: &Interpreter) {
    *here.looks.lock() = Some(thread::current());
    loop {
        let mut raised = here.gil.lock();
        if std::mem::take(&mut *raised) {
            here.end(&mut raised);
            break;
        }
        drop(raised);
        thread::park();
    }
    *here.looks.lock() = None;
}

/// A ring against the end of the interpreter: no helper is left behind, and none comes later.
#[test]
fn no_helper_outlives_its_interpreter() {
    check(Some(PREEMPTIONS), || {
        let here = Interpreter::new();
        let gone = Arc::new(AtomicBool::new(false));
        let (other, seen) = (Arc::clone(&here), Arc::clone(&gone));
        let ringer = thread::spawn(move || {
            let own = Arc::clone(&seen);
            let help = move |(): &(), bell: &crate::core::reach::Bell| {
                bell.heed(|| assert!(!own.load(Ordering::Acquire), "a visit to nobody"));
                assert!(!own.load(Ordering::Acquire), "alive after the interpreter");
            };
            other.reach.ring(help).unwrap();
        });
        here.close();
        gone.store(true, Ordering::Release);
        ringer.join().unwrap();
        assert!(here.reach.close().is_none(), "a helper after the close");
    });
}

/// `Pool::terminate` against a worker that takes an endless task: it is cancelled, or it is found
/// at the desk and interrupted. Were it missed, the worker would never end.
#[test]
fn nothing_starts_after_terminate() {
    check(Some(PREEMPTIONS), || {
        let shared = Arc::new((
            Queue::<Arc<(Slot<u32, u32>, State)>>::with_lookers(1),
            Ban::new(),
            Interpreter::new(),
        ));
        let task = Arc::new((Slot::new(1), State::new()));
        shared.0.push(Arc::clone(&task)).unwrap();
        let other = Arc::clone(&shared);
        let worker = thread::spawn(move || {
            let (queue, ban, here) = &*other;
            let mut looker = Looker::new();
            while let Some(task) = queue.pop(&mut looker) {
                let (slot, state) = &*task;
                // As `Reachable::begin`.
                let start = |_: &u32| (!ban.is_raised()).then(|| slot.start(state)).flatten();
                if here.window.open(1, None, start).is_err() {
                    let _ = slot.cancel(state); // as `Pool::abandon`
                    continue;
                }
                runs_until_interrupted(here);
                assert!(slot.settle(state, 1));
                let _ = state.finish();
            }
        });
        let (queue, ban, here) = &*shared;
        queue.close();
        ban.raise();
        let _ = here.interrupt(|_| true);
        while let Ok(drained) = queue.try_pop() {
            let cancelled = drained.0.cancel(&drained.1);
            assert!(matches!(cancelled, Cancel::Cancelled(_)));
        }
        worker.join().unwrap();
        assert!(task.1.phase().is_done());
        here.close();
    });
}

const NO_PATIENCE: Patience = Patience {
    warning: Duration::ZERO,
    grace: Duration::ZERO,
};

/// The worker's end of a task against the warden's, who gives it up: one of them ends it, the other
/// learns that, and the place has a worker.
#[test]
fn a_task_that_is_given_up_ends_once() {
    check(None, || {
        let task = Arc::new((Slot::new(1), State::new(), Window::<u32>::new()));
        let (slot, state, window) = &*task;
        window.open(1, None, |_| slot.start(state)).unwrap();
        assert!(window.ask(Instant::now(), None, |_| true));
        let other = Arc::clone(&task);
        let warden = thread::spawn(move || {
            let (slot, state, window) = &*other;
            let stuck = window.look(Instant::now(), NO_PATIENCE).stuck.is_some();
            let gave_up = stuck && slot.settle(state, 2);
            if gave_up {
                let _ = state.finish();
            }
            gave_up
        });
        let other = Arc::clone(&task);
        let reader = thread::spawn(move || {
            // Who fetches the answer makes room for another, and must not make a second end.
            let (slot, state, _) = &*other;
            (state.phase() == Phase::Finished).then(|| slot.take_answer().unwrap())
        });
        let _ = window.close();
        let ended = slot.settle(state, 1);
        if ended {
            let _ = state.finish();
        }
        let gave_up = warden.join().unwrap();
        assert_ne!(ended, gave_up, "ended twice, or never");
        assert_eq!(state.phase(), Phase::Finished);
        let answer = reader.join().unwrap().or_else(|| slot.take_answer());
        assert_eq!(answer, Some(if ended { 1 } else { 2 }));
    });
}

/// Two who make something due, each after the other knows nothing of it, against the warden that
/// looks and sleeps. It ends when it has found both: were a wake-up lost, never.
#[test]
fn what_is_due_is_looked_at() {
    check(Some(PREEMPTIONS), || {
        let now = Instant::now();
        let shared = Arc::new((
            Mutex::new(Alarm::new()),
            [AtomicBool::new(false), AtomicBool::new(false)],
        ));
        let other = Arc::clone(&shared);
        let warden = thread::spawn(move || {
            let (alarm, due) = &*other;
            let mut found = [false; 2];
            while found != [true; 2] {
                // As `watch` in warden.rs.
                let turn = alarm.lock().turn(now);
                match turn {
                    Turn::Look => {
                        for (found, due) in found.iter_mut().zip(due) {
                            *found |= due.load(Ordering::Relaxed);
                        }
                    }
                    Turn::Sleep(_) => thread::park(),
                    Turn::End => unreachable!("nobody closes it"),
                }
            }
        });
        let bed = warden.thread().clone();
        let makes_due =
            move |which: usize, shared: &(Mutex<Alarm>, [AtomicBool; 2]), bed: &Thread| {
                let (alarm, due) = shared;
                due[which].store(true, Ordering::Relaxed);
                let mut alarm = alarm.lock();
                if alarm.wake_by(now) {
                    bed.unpark();
                }
            };
        let (other, own) = (Arc::clone(&shared), bed.clone());
        let second = thread::spawn(move || makes_due(1, &other, &own));
        makes_due(0, &shared, &bed);
        second.join().unwrap();
        warden.join().unwrap();
    });
}

#[test]
fn the_warden_learns_of_its_end() {
    check(None, || {
        let alarm = Arc::new(Mutex::new(Alarm::new()));
        let other = Arc::clone(&alarm);
        let warden = thread::spawn(move || {
            loop {
                let turn = other.lock().turn(Instant::now());
                match turn {
                    Turn::End => return,
                    Turn::Sleep(_) => thread::park(),
                    Turn::Look => unreachable!("nothing is due"),
                }
            }
        });
        alarm.lock().close();
        warden.thread().unpark();
        warden.join().unwrap();
    });
}

impl Disturb for Bed {
    fn disturb(&self) {
        self.unpark();
    }
}

/// What Python does where a function begins, or a loop goes back: it reads what there is to do,
/// gives the GIL up if somebody wants it, and does what it has read.
fn look(gil: &Mutex<bool>) -> Result<(), ()> {
    let raised = *gil.lock();
    drop(gil.lock());
    if raised { Err(()) } else { Ok(()) }
}

/// What was set between the reading and the call was raised when the wait was over by itself.
#[test]
fn what_is_set_for_who_goes_to_sleep_gets_it_out() {
    const THREAD: u64 = 1;
    check(None, || {
        let rests = Rests::of(Brief::new(All::none()));
        let shared = Arc::new((rests, Mutex::new(false)));
        let other = Arc::clone(&shared);
        let helper = thread::spawn(move || {
            let (rests, gil) = &*other;
            let mut raised = gil.lock();
            *raised = true;
            rests.disturb(THREAD);
        });
        let (rests, gil) = &*shared;
        let bed = Bed::new();
        // The code before the call, then the wait (ticket.rs).
        if look(gil).is_ok()
            && let Ok(_rest) = rests.enter_and_look(THREAD, bed.clone(), || look(gil))
        {
            bed.sleep();
        }
        helper.join().unwrap();
    });
}
