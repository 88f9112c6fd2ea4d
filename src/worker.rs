//! A worker: one thread, one interpreter, one loop.
//!
//! Guarantees: the loop holds its interpreter's GIL while there is work and releases it to wait; a
//! task that was started is finished, whatever it does, also by a panic of ours; a panic of the
//! loop itself aborts the process with a message, because nobody could tell what is lost.

mod telling;

use crate::batch::{Drained, Job};
use crate::core::queue::Empty;
use crate::core::sleepers::Looker;
use crate::desk::{Reachable, Running};
use crate::farewell;
use crate::interp::attach::Attached;
use crate::interp::config::ISOLATED;
use crate::interp::object::{Object, Outcome, Raised};
use crate::interp::owned::OwnedInterpreter;
use crate::pool::{Pool, Question, Reply, Seat, SoFar};
use crate::transfer::adopt::Surroundings;
use crate::transfer::buffer::Side;
use crate::transfer::call::{Answer, Broken, Call, Form, Label};
use crate::transfer::context::{Carried, Entered, Refused, Variables};
use crate::transfer::environment::Text;
use crate::transfer::fallback::{Plan, Refusal};
use crate::transfer::function::{Definition, Found, Source, resolve};
use crate::transfer::graveyard::{self, Promise};
use crate::transfer::value::Transfer;
use crate::worker_api;
use rustc_hash::FxHashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use telling::{panicked, text_of};

/// Tasks between two moments in which other threads of the interpreter get their turn, when the
/// tasks themselves are all C functions and never give one.
const TURN: u32 = 64;

/// The thread's whole life.
pub fn run(pool: &Arc<Pool>, seat: &Seat, first: Option<Job>) {
    // Until the interpreter is gone, with all that its modules hold.
    let promise = Promise::new();
    let lived = catch_unwind(AssertUnwindSafe(|| live(pool, seat, first, &promise)));
    match lived {
        Ok(Ok(())) => {}
        // The interpreter is gone by now, so the thread may attach to main and tell.
        Ok(Err(broken)) => pool.break_down(broken),
        Err(_) => {
            eprintln!("subpool: a worker's loop panicked; tasks may be lost, so the process ends");
            std::process::abort();
        }
    }
}

fn live(
    pool: &Arc<Pool>,
    seat: &Seat,
    first: Option<Job>,
    promise: &Promise,
) -> Result<(), Broken> {
    let interpreter = OwnedInterpreter::create(&ISOLATED).map_err(|message| Broken {
        message,
        traceback: String::new(),
    })?;
    let mut lived = work(&interpreter, pool, seat, first, promise);
    // The helper that sends interrupts has gone with the session: a visitor that stays is a thread
    // of the interpreter, too.
    farewell::bid(interpreter.attached(), pool.farewell(), |threads| {
        if let Err(broken) = &lived
            && pool.break_down_elsewhere(broken)
        {
            lived = Ok(());
        }
        pool.overstays(seat, threads);
    });
    lived
}

/// From the interpreter's beginning until there is nothing left to do.
fn work(
    interpreter: &OwnedInterpreter,
    pool: &Arc<Pool>,
    seat: &Seat,
    mut first: Option<Job>,
    promise: &Promise,
) -> Result<(), Broken> {
    let token = interpreter.attached();
    let path = &*seat.environment.environment.path;
    let unusable = |raised: Raised| Broken {
        message: "a worker's interpreter could not be set up".to_owned(),
        traceback: text_of(token, raised.take(token)),
    };
    let installed = worker_api::install(interpreter, seat.number, &seat.name, path);
    let class = installed.map_err(unusable)?;
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
    };
    if let Some(initializer) = pool.initializer() {
        session.initialize(token, pool, initializer)?;
    }
    seat.ready();

    let mut looker = Looker::new();
    loop {
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
                    None => return Ok(()),
                }
            }
        };
        if matches!(job, Job::Leave) && token.detached(|| pool.leave(seat)) {
            return Ok(());
        }
        let mut next = Drained::first(job);
        while let Some(job) = next {
            let done = session.serve(token, pool, job);
            promise.look();
            let Some(done) = done else {
                return Ok(());
            };
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
}

impl<'i> Session<'i> {
    /// Runs a task, lets the interpreter's other threads have their turn now and then, and gives
    /// the task back. `None`: it took too long to react to an interrupt, and another worker has
    /// taken over.
    fn serve(&mut self, token: Attached<'i>, pool: &Arc<Pool>, job: Drained) -> Option<Drained> {
        self.turn += 1;
        if self.turn == TURN {
            self.turn = 0;
            token.detached(|| ());
        }
        let plan = job.fallback().map(|own| Arc::clone(&own.plan));
        let call = match self.desk.begin(job, || !pool.is_terminated()) {
            Ok(call) => call,
            Err(job) => {
                pool.abandon(&job);
                return Some(job);
            }
        };
        let answer = || self.answer(token, pool, call, plan.as_deref());
        let answer = catch_unwind(AssertUnwindSafe(answer));
        let answer = answer.unwrap_or_else(|panic| Err(Short::Answer(panicked(panic.as_ref()))));
        self.surroundings.finish_lines();
        let Running { job, asked, .. } = self.desk.end(token).expect("begun above");
        let answer = match answer {
            Ok(answer) | Err(Short::Answer(answer)) => answer,
            Err(Short::Interrupted(error)) => Answer::Interrupted {
                timeout: asked.and_then(|asked| asked.timeout),
                traceback: text_of(token, Some(error)),
                stuck: None,
            },
            Err(Short::Elsewhere) => {
                if asked.is_some() {
                    pool.interrupt_elsewhere(&job);
                }
                return Some(job);
            }
        };
        let ended = job.finish(answer, || pool.stats.ended());
        pool.deliver_if_listened(&job, ended);
        ended.map(|_| job)
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
        call: Call,
        plan: Option<&Plan>,
    ) -> Result<Answer, Short<'i>> {
        if let Err(raised) = self.surroundings.enter(call.environment) {
            // A task runs without what could not be set here, but not on after an interrupt.
            self.unless_interrupted(token, raised)?;
        }
        let desk = self.desk.shared();
        let value = self.pursue(token, pool, call, plan, || desk.label())?;
        self.transfer.encode(&value).map_or_else(
            |raised| self.encode_slowly(&desk.label(), raised, &value),
            |payload| Ok(Answer::Value(payload)),
        )
    }

    /// Performs a call. If this interpreter cannot load what it needs, main says how it goes on.
    fn pursue(
        &mut self,
        token: Attached<'i>,
        pool: &Arc<Pool>,
        mut call: Call,
        plan: Option<&Plan>,
        label: impl Fn() -> Label,
    ) -> Result<Object<'i>, Short<'i>> {
        let mut so_far = SoFar::default();
        loop {
            let (refusal, back) = match &self.refused {
                Some(refusal) => {
                    so_far.tried.clone_from(&refusal.modules);
                    (Arc::clone(refusal), call)
                }
                None => match self.perform(token, call, plan) {
                    Ok(value) => return Ok(value),
                    Err(Failure {
                        stage,
                        raised,
                        call: back,
                    }) => match (self.explain(token, &label(), stage, raised)?, back) {
                        (Answer::Incompatible { refusal, .. }, Some(back)) => (refusal, *back),
                        (Answer::Incompatible { refusal, begun }, None) => {
                            if let Some(plan) = plan {
                                plan.refuse();
                            }
                            // Without a fallback it makes no difference that it had begun.
                            let begun = begun && plan.is_some();
                            return Err(Short::Answer(Answer::Incompatible { refusal, begun }));
                        }
                        (answer, _) => return Err(Short::Answer(answer)),
                    },
                },
            };
            let question = Question {
                pool: Arc::clone(pool),
                job: self.desk.shared().job(),
                call: back,
                refusal: Arc::clone(&refusal),
                so_far: std::mem::take(&mut so_far),
            };
            match token.detached(|| pool.consult(question)) {
                Reply::Again(again, seen) => (call, so_far) = (*again, seen),
                Reply::Elsewhere => return Err(Short::Elsewhere),
                Reply::End => {
                    let begun = false;
                    return Err(Short::Answer(Answer::Incompatible { refusal, begun }));
                }
            }
        }
    }

    fn perform(
        &mut self,
        token: Attached<'i>,
        call: Call,
        plan: Option<&Plan>,
    ) -> Result<Object<'i>, Failure> {
        // Before the arguments, which may be much, are decoded: the call can still go elsewhere.
        let function = match self.find(token, &call, plan) {
            Ok(function) => function,
            Err(raised) => return Err(Failure::before(Stage::Function, raised, call)),
        };
        let Call {
            form,
            payload,
            context,
            environment,
        } = call;
        let loaded = match self.transfer.decode_or_return(token, payload) {
            Ok(loaded) => loaded,
            Err((raised, payload)) => {
                let again = |payload| Call::new(form, payload, environment).within(context);
                let back = payload.map(again);
                return Err(Failure {
                    stage: Stage::Arguments,
                    raised,
                    call: back.map(Box::new),
                });
            }
        };
        // The shapes below are what the main side pickled (executor.rs), so a missing item means
        // that somebody tampered with a pickle; the error says as much.
        let item = |index| {
            loaded
                .item(index)
                .ok_or_else(|| Failure::at(Stage::Arguments, Raised::lost(token)))
        };
        let called = match (form, function) {
            (Form::Positional(_), Some(function)) => {
                let _within = self.enter(token, context)?;
                function.call(&loaded, None)
            }
            (Form::Keywords(_), Some(function)) => {
                let (args, kwargs) = (item(0)?, item(1)?);
                drop(loaded);
                let _within = self.enter(token, context)?;
                function.call(&args, Some(&kwargs))
            }
            _ => {
                let (function, args, kwargs) = (item(0)?, item(1)?, item(2)?);
                drop(loaded);
                let _within = self.enter(token, context)?;
                function.call(&args, Some(&kwargs))
            }
        };
        called.map_err(|raised| Failure::at(Stage::Call, raised))
    }

    /// The function, if it does not come with the arguments; with a `plan`, after a look at what it
    /// will import.
    fn find(
        &mut self,
        token: Attached<'i>,
        call: &Call,
        plan: Option<&Plan>,
    ) -> Result<Option<Object<'i>>, Raised> {
        if let Some(plan) = plan {
            for name in &plan.imports {
                if !self.looked_at.contains(name) {
                    worker_api::look_ahead(token, self.path, name)?;
                    self.looked_at.insert(name.clone());
                }
            }
        }
        match &call.form {
            Form::Positional(known) | Form::Keywords(known) => {
                self.function(token, known).map(Some)
            }
            Form::Whole(_) => Ok(None),
        }
    }

    /// The context that a call asks for, entered until the guard is dropped.
    fn enter(
        &mut self,
        token: Attached<'i>,
        context: Option<Arc<Carried>>,
    ) -> Result<Option<Entered<'i>>, Failure> {
        let Some(carried) = context else {
            return Ok(None);
        };
        let helper = || worker_api::context_helper(token, self.path);
        self.variables
            .enter(token, &self.transfer, &carried, helper)
            .map(Some)
            .map_err(|Refused(name, raised)| Failure::at(Stage::Context(name), raised))
    }

    fn function(&mut self, token: Attached<'i>, known: &Definition) -> Outcome<'i> {
        let transfer = &self.transfer;
        self.found.get(known, || match &known.source {
            Source::Name { module, qualname } => resolve(token, module, qualname),
            Source::Code { payload, .. } => transfer.decode(token, payload.clone()),
        })
    }
}

/// Why there is no value.
enum Short<'i> {
    Answer(Answer),
    /// What the task has raised because it was interrupted.
    Interrupted(Object<'i>),
    /// Another will end the task.
    Elsewhere,
}

/// What has failed, and the call if it can be tried in another way.
struct Failure {
    stage: Stage,
    raised: Raised,
    call: Option<Box<Call>>,
}

enum Stage {
    /// The function could not be imported here.
    Function,
    /// The arguments could not be unpickled here.
    Arguments,
    /// A context variable, or its value, could not be had here.
    Context(String),
    /// The function raised.
    Call,
}

impl Failure {
    fn before(stage: Stage, raised: Raised, call: Call) -> Self {
        Self {
            stage,
            raised,
            call: Some(Box::new(call)),
        }
    }

    const fn at(stage: Stage, raised: Raised) -> Self {
        Self {
            stage,
            raised,
            call: None,
        }
    }
}
