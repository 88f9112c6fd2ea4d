//! A worker: one thread, one interpreter, one loop.
//!
//! Guarantees: the loop holds its interpreter's GIL while there is work and releases it to wait; a
//! task that was started is finished, whatever it does, also by a panic of ours; a panic of the
//! loop itself aborts the process with a message, because nobody could tell what is lost.

mod harm;
mod health;
mod mileage;
mod performing;
mod telling;

use crate::again::Again;
use crate::batch::{Drained, Job};
use crate::core::queue::Empty;
use crate::core::sleepers::Looker;
use crate::desk::{Reachable, Running};
use crate::farewell::{self, Step};
use crate::interp::attach::Attached;
use crate::interp::config::ISOLATED;
use crate::interp::knots;
use crate::interp::object::{Object, Raised};
use crate::interp::owned::OwnedInterpreter;
use crate::interp::untraced::Untraced;
use crate::pool::{Pool, Seat, Why};
use crate::transfer::adopt::Surroundings;
use crate::transfer::buffer::Side;
use crate::transfer::call::{Answer, Broken, Call};
use crate::transfer::context::Variables;
use crate::transfer::environment::Text;
use crate::transfer::fallback::{Plan, Refusal};
use crate::transfer::function::Found;
use crate::transfer::graveyard::{self, Promise};
use crate::transfer::shared;
use crate::transfer::value::Transfer;
use crate::worker_api;
use harm::Last;
use health::Health;
pub use health::code_with as examine_with;
use mileage::Mileage;
use rustc_hash::FxHashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;
use telling::{panicked, text_of};

/// Tasks between two moments in which other threads of the interpreter get their turn, when the
/// tasks themselves are all C functions and never give one.
const TURN: u32 = 64;

/// A worker's whole life; and another's, if the first could not start and is to try again.
pub fn run(pool: &Arc<Pool>, seat: &Arc<Seat>) {
    // Until the interpreter is gone, with all that its modules hold.
    let promise = Promise::new();
    seat.wait_for_room(pool.farewell());
    for failures in 0.. {
        let lived = catch_unwind(AssertUnwindSafe(|| live(pool, seat, &promise)));
        match lived {
            Ok(Ok(())) => break,
            // The interpreter is gone by now, so the thread may attach to main and tell.
            Ok(Err(broken)) if !pool.start_failed(seat, &broken, failures) => break,
            Ok(Err(_)) => {}
            Err(_) => {
                eprintln!(
                    "subpool: a worker's loop panicked; tasks may be lost, so the process ends"
                );
                std::process::abort();
            }
        }
    }
    pool.dismiss_standby(seat);
    seat.admission.abandon();
}

fn live(pool: &Arc<Pool>, seat: &Arc<Seat>, promise: &Promise) -> Result<(), Broken> {
    let begun = Instant::now();
    // Until the interpreter is gone.
    let _untraced = Untraced::begin();
    let interpreter = OwnedInterpreter::create(&ISOLATED).map_err(|message| Broken {
        message,
        traceback: String::new(),
    })?;
    let lived = work(&interpreter, pool, seat, promise, begun);
    pool.dismiss_standby(seat);
    // The helper that sends interrupts has gone with the session: a visitor that stays is a thread
    // of the interpreter, too.
    let watch = Arc::new(pool.watch_close(seat, lived.err()));
    let watched = Arc::clone(&watch);
    let tell = move |step| match step {
        Step::Settling(what, firm) => watched.step(Some((what, firm))),
        Step::Dismissing => watched.step(None),
    };
    farewell::bid(
        interpreter.attached(),
        pool.farewell(),
        Arc::new(tell),
        |threads| pool.overstays(seat, &watch, threads),
    );
    knots::untie(interpreter.attached());
    let rest = "what its objects do as they are deleted (`__del__`, weak references' callbacks)";
    watch.step(Some((rest.to_owned(), false)));
    let number = interpreter.id();
    drop(interpreter);
    shared::forget_interpreter(number);
    watch.end().map_or(Ok(()), Err)
}

/// From the interpreter's beginning until there is nothing left to do.
fn work(
    interpreter: &OwnedInterpreter,
    pool: &Arc<Pool>,
    seat: &Arc<Seat>,
    promise: &Promise,
    begun: Instant,
) -> Result<(), Broken> {
    let token = interpreter.attached();
    let path = &*seat.environment.environment.path;
    let unusable = |raised: Raised| Broken {
        message: "a worker's interpreter could not be set up".to_owned(),
        traceback: text_of(token, raised.take(token)),
    };
    let installed = worker_api::install(interpreter, seat.number, &seat.name, path);
    let class = installed.map_err(unusable)?;
    let core = Health::core(token);
    let surroundings = Surroundings::start(token, &seat.environment).map_err(unusable)?;
    let mut session = Session {
        transfer: Transfer::start(token, Side::Worker).map_err(|raised| Broken {
            message: "a worker could not make the types that it needs".to_owned(),
            traceback: text_of(token, raised.take(token)),
        })?,
        found: Found::new(),
        desk: Reachable::open(&seat.desk, class),
        variables: Variables::new(),
        surroundings,
        turn: 0,
        looked_at: FxHashSet::default(),
        refused: None,
        path,
        mileage: Mileage::default(),
        leaving: None,
        health: None,
        last: Last::Nothing,
        again: None,
        seat,
        well_until: None,
    };
    let leaves_for_fork = |first: &mut Option<Job>| {
        pool.queue.is_paused() && token.detached(|| pool.leave_for_fork(seat, first))
    };
    if leaves_for_fork(&mut None) {
        return Ok(());
    }
    if let Some(initializer) = pool.initializer() {
        session.initialize(token, pool, initializer)?;
    }
    session.note_health(token, core);
    let making = begun.elapsed();
    pool.worker_started();
    seat.ready();
    let Some(mut first) = token.detached(|| seat.admission.wait()) else {
        return Ok(());
    };
    session.mileage = Mileage::new(pool.most_tasks(), making);

    let mut looker = Looker::new();
    loop {
        if leaves_for_fork(&mut first) {
            return Ok(());
        }
        let job = match first.take().map_or_else(|| pool.queue.try_pop(), Ok) {
            Ok(job) => job,
            Err(Empty::ForGood) => return Ok(()),
            Err(Empty::ForNow) => {
                let before_sleep = || {
                    graveyard::call_if_waiting();
                    pool.falls_asleep(seat);
                };
                let next = || {
                    let next = pool.queue.pop_with(&mut looker, before_sleep);
                    pool.wakes_up(seat);
                    next
                };
                match token.detached(next) {
                    Some(job) => job,
                    None => continue, // the end, or a fork
                }
            }
        };
        if matches!(job, Job::Leave) && token.detached(|| pool.leave(seat)) {
            return Ok(());
        }
        let mut resumed = None;
        let mut next = match job {
            Job::Again(again) => session.resume(*again, &mut resumed),
            job => Drained::first(job),
        };
        while let Some(job) = next {
            let done = session.serve(token, pool, seat, job, resumed.take());
            promise.look();
            let Some(done) = done else {
                return Ok(());
            };
            if let Some(why) = session.why_leave(token, pool) {
                let first = session.again.take().map(Job::Again);
                let first = first.or_else(|| done.rest());
                let harmed = matches!(why, Why::Harmed { .. });
                token.detached(|| pool.recycle(seat, why, first));
                if harmed && let Some(health) = &session.health {
                    health.mend(token); // so that it can be closed as any other
                }
                return Ok(());
            }
            if pool.queue.is_paused() {
                first = done.rest();
                break;
            }
            next = done.next();
        }
    }
}

/// What a worker keeps between tasks.
struct Session<'i> {
    transfer: Transfer<'i>,
    found: Found<'i>,
    desk: Reachable<'i>,
    variables: Variables<'i>,
    surroundings: Surroundings<'i>,
    /// Tasks since the other threads of the interpreter last had their turn.
    turn: u32,
    /// Modules that were looked at before a function that will import them was run.
    looked_at: FxHashSet<String>,
    /// What the initializer needs, and cannot be loaded here.
    refused: Option<Arc<Refusal>>,
    /// The main interpreter's `sys.path` when the worker was started.
    path: &'i [Text],
    mileage: Mileage,
    /// Set while a task runs or ends: it is this worker's last, and another takes its place.
    leaving: Option<Why>,
    /// What the interpreter began with. `None`: nobody looks whether it is harmed.
    health: Option<Health<'i>>,
    last: Last,
    /// A call for the worker that takes this one's place.
    again: Option<Box<Again>>,
    seat: &'i Arc<Seat>,
    /// It was found harmed, but no other could be started: it is looked at again after that.
    well_until: Option<Instant>,
}

impl<'i> Session<'i> {
    /// Runs a task, lets the interpreter's other threads have their turn now and then, and gives
    /// the task back. `None`: it took too long to react to an interrupt, and another worker has
    /// taken over. `resumed` is the call of a task that is at the desk already.
    fn serve(
        &mut self,
        token: Attached<'i>,
        pool: &Arc<Pool>,
        seat: &Arc<Seat>,
        job: Drained,
        resumed: Option<Call>,
    ) -> Option<Drained> {
        self.turn += 1;
        if self.turn == TURN {
            self.turn = 0;
            token.detached(|| ());
        }
        let plan = job.fallback().map(|own| Arc::clone(&own.plan));
        let begun = match resumed {
            None => self.desk.begin(job, || !pool.is_terminated()),
            Some(call) => Ok(call),
        };
        let call = match begun {
            Ok(call) => call,
            Err(job) => {
                pool.abandon(&job);
                return Some(job);
            }
        };
        if self.mileage.begin() {
            self.look_at_mileage(token, pool, seat);
        }
        let answer = || match self.answer(token, pool, call, plan.as_deref()) {
            Ok(Answer::Value(payload)) => Ok(Answer::Value(payload)),
            failed => self.look_after_failure(token, failed),
        };
        let answer = catch_unwind(AssertUnwindSafe(answer));
        let answer = answer.unwrap_or_else(|panic| Err(Short::Answer(panicked(panic.as_ref()))));
        self.surroundings.finish_lines();
        if let Err(Short::Moved(call)) = answer {
            return Some(self.move_on(token, pool, *call));
        }
        let Running { job, asked, .. } = self.desk.end(token).expect("begun above");
        let answer = match answer {
            Ok(answer) | Err(Short::Answer(answer)) => answer,
            Err(Short::Interrupted(error)) => Answer::Interrupted {
                timeout: asked.and_then(|asked| asked.timeout),
                traceback: text_of(token, Some(error)),
                stuck: None,
            },
            Err(Short::Elsewhere) => {
                if let Some(asked) = asked {
                    pool.interrupt_elsewhere(&job, asked.timeout);
                }
                return Some(job);
            }
            Err(Short::Moved(_)) => unreachable!("seen to above"),
        };
        let ended = job.finish(answer, || pool.stats.ended());
        pool.deliver_if_listened(&job, ended);
        ended.map(|_| job)
    }

    #[cold]
    fn look_at_mileage(&mut self, token: Attached<'i>, pool: &Arc<Pool>, seat: &Arc<Seat>) {
        let due = self.mileage.look(Instant::now());
        if let Some(left) = due.prepare {
            token.detached(|| pool.prepare(seat, left));
        }
        if due.last {
            self.leaving = Some(Why::Worn);
        }
    }

    fn initialize(
        &mut self,
        token: Attached<'i>,
        pool: &Arc<Pool>,
        call: Call,
    ) -> Result<(), Broken> {
        let label = call.label();
        let traceback = match self.pursue(token, pool, call, None, || label.clone()) {
            Ok(_) => return Ok(()),
            Err(Short::Answer(Answer::Incompatible { refusal, .. })) => {
                if pool.fallback().is_some() {
                    // No task can run here, but elsewhere they can.
                    self.refused = Some(refusal);
                    return Ok(());
                }
                refusal.traceback.clone()
            }
            Err(Short::Answer(Answer::Untransferable {
                message, traceback, ..
            })) => match message.as_str() {
                "" => traceback, // its own exception (`tell_error`)
                _ => format!("{traceback}\nNotTransferableError: {message}"),
            },
            Err(Short::Interrupted(error)) => text_of(token, Some(error)),
            // An initializer goes nowhere else, and what is no value has one of these answers.
            Err(_) => String::new(),
        };
        Err(Broken {
            message: "a worker's initializer failed".to_owned(),
            traceback,
        })
    }

    /// Runs a call and encodes what came of it. All of it may run the user's code, and be
    /// interrupted.
    fn answer(
        &mut self,
        token: Attached<'i>,
        pool: &Arc<Pool>,
        mut call: Call,
        plan: Option<&Plan>,
    ) -> Result<Answer, Short<'i>> {
        if let Err(raised) = self.surroundings.enter(call.environment) {
            // A task runs without what could not be set here, but not on after an interrupt, and
            // not where nothing can be set any more.
            let (raised, back) = self.move_if_harmed(token, pool, raised, Box::new(call))?;
            self.unless_interrupted(token, raised)?;
            call = *back;
        }
        let desk = self.desk.shared();
        let value = self.pursue(token, pool, call, plan, || desk.label())?;
        match self.transfer.encode(&value) {
            Ok(payload) => Ok(Answer::Value(payload)),
            Err(raised) => self.encode_otherwise(&desk.label(), raised, &value),
        }
    }
}

/// Why there is no value.
enum Short<'i> {
    Answer(Answer),
    /// What the task has raised because it was interrupted.
    Interrupted(Object<'i>),
    /// Another will end the task.
    Elsewhere,
    /// Another worker performs the call: it could not begin in this one, which is harmed.
    Moved(Box<Call>),
}
