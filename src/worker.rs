//! A worker: one thread, one interpreter, one loop.
//!
//! Guarantees: the loop holds its interpreter's GIL while there is work and releases it to wait; a
//! task that was started is finished, whatever it does, also by a panic of ours; a panic of the
//! loop itself aborts the process with a message, because nobody could tell what is lost.

use crate::batch::{Drained, Job};
use crate::core::queue::Empty;
use crate::core::sleepers::Looker;
use crate::desk::{Reachable, Running};
use crate::farewell;
use crate::interp::attach::Attached;
use crate::interp::config::ISOLATED;
use crate::interp::object::{Object, Outcome, Raised};
use crate::interp::owned::OwnedInterpreter;
use crate::pool::{Pool, Seat};
use crate::transfer::buffer::Side;
use crate::transfer::call::{Answer, Broken, Call, Form, Label};
use crate::transfer::context::{Carried, Entered, Refused, Variables};
use crate::transfer::function::{Definition, Found, Source, resolve};
use crate::transfer::graveyard::{self, Promise};
use crate::transfer::value::{Payload, Transfer};
use crate::worker_api;
use std::any::Any;
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Tasks between two moments in which other threads of the interpreter get their turn, when the
/// tasks themselves are all C functions and never give one.
const TURN: u32 = 64;

/// The helper (`_bootstrap.py`) for what plain pickle refused.
const ENCODE_RESULT: &CStr = c"encode_result";

/// The thread's whole life.
pub fn run(pool: &Pool, seat: &Seat, first: Option<Job>) {
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

fn live(pool: &Pool, seat: &Seat, first: Option<Job>, promise: &Promise) -> Result<(), Broken> {
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
    pool: &Pool,
    seat: &Seat,
    mut first: Option<Job>,
    promise: &Promise,
) -> Result<(), Broken> {
    let token = interpreter.attached();
    let installed = worker_api::install(interpreter, seat.number, &seat.name, &seat.path);
    let class = installed.map_err(|raised| Broken {
        message: "a worker's interpreter could not be set up".to_owned(),
        traceback: text_of(token, raised.take(token)),
    })?;
    let mut session = Session {
        transfer: Transfer::start(token, Side::Worker).map_err(|raised| Broken {
            message: "a worker could not make the types that it needs".to_owned(),
            traceback: text_of(token, raised.take(token)),
        })?,
        found: Found::new(),
        desk: Reachable::open(&seat.desk, class),
        variables: Variables::new(),
        turn: 0,
        path: &seat.path,
    };
    if let Some(initializer) = pool.initializer() {
        session.initialize(token, initializer)?;
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
    /// Tasks since the other threads of the interpreter last had their turn.
    turn: u32,
    /// The main interpreter's `sys.path` when the worker was started.
    path: &'i [String],
}

impl<'i> Session<'i> {
    /// Runs a task, lets the interpreter's other threads have their turn now and then, and gives
    /// the task back. `None`: it took too long to react to an interrupt, and another worker has
    /// taken over.
    fn serve(&mut self, token: Attached<'i>, pool: &Pool, job: Drained) -> Option<Drained> {
        self.turn += 1;
        if self.turn == TURN {
            self.turn = 0;
            token.detached(|| ());
        }
        let call = match self.desk.begin(job, || !pool.is_terminated()) {
            Ok(call) => call,
            Err(job) => {
                pool.abandon(&job);
                return Some(job);
            }
        };
        let answer = catch_unwind(AssertUnwindSafe(|| self.answer(token, call)));
        let answer = answer.unwrap_or_else(|panic| Ok(panicked(panic.as_ref())));
        let Running { job, asked, .. } = self.desk.end(token).expect("begun above");
        let answer = answer.unwrap_or_else(|Interrupted(error)| Answer::Interrupted {
            timeout: asked.and_then(|asked| asked.timeout),
            traceback: text_of(token, Some(error)),
            stuck: None,
        });
        let ended = job.finish(answer, || pool.stats.ended());
        pool.deliver_if_listened(&job, ended);
        ended.map(|_| job)
    }

    fn initialize(&mut self, token: Attached<'i>, call: Call) -> Result<(), Broken> {
        let label = call.label();
        let Err(failure) = self.perform(token, call) else {
            return Ok(());
        };
        let traceback = match failure {
            Failure::Call(raised) => text_of(token, raised.take(token)),
            other => match self.explain(token, &label, other) {
                Ok(Answer::Untransferable {
                    message, traceback, ..
                }) => {
                    format!("{traceback}\nNotTransferableError: {message}")
                }
                // `explain` gives no other answer for what was not a call.
                Ok(_) => String::new(),
                Err(Interrupted(error)) => text_of(token, Some(error)),
            },
        };
        Err(Broken {
            message: "a worker's initializer failed".to_owned(),
            traceback,
        })
    }

    /// Runs a call and encodes what came of it. All of it may run the user's code, and be
    /// interrupted.
    fn answer(&mut self, token: Attached<'i>, call: Call) -> Attempt<'i> {
        match self.perform(token, call) {
            Ok(value) => self.transfer.encode(&value).map_or_else(
                |raised| self.slow(ENCODE_RESULT, &self.desk.label(), raised, value.share()),
                |payload| Ok(Answer::Value(payload)),
            ),
            Err(failure) => self.explain(token, &self.desk.label(), failure),
        }
    }

    fn explain(&self, token: Attached<'i>, label: &Label, failure: Failure) -> Attempt<'i> {
        let variable;
        let (helper, raised, what) = match failure {
            Failure::Call(raised) => (c"encode_error", raised, ""),
            Failure::Function(raised) => (c"refuse_call", raised, "function"),
            Failure::Arguments(raised) => (c"refuse_call", raised, "args"),
            Failure::Context(Refused(name, raised)) => {
                variable = name;
                (c"refuse_call", raised, variable.as_str())
            }
        };
        // No memory for a short string: `slow` will find that out again, and say so.
        let what = Object::string(token, what).unwrap_or_else(|failed| {
            failed.clear(token);
            Object::none(token)
        });
        self.slow(helper, label, raised, what)
    }

    fn perform(&mut self, token: Attached<'i>, call: Call) -> Result<Object<'i>, Failure> {
        let Call {
            form,
            payload,
            context,
        } = call;
        let loaded = self.transfer.decode(token, payload);
        let loaded = loaded.map_err(Failure::Arguments)?;
        // The shapes below are what the main side pickled (executor.rs), so a missing item means
        // that somebody tampered with a pickle; the error says as much.
        let item = |index| {
            loaded
                .item(index)
                .ok_or_else(|| Failure::Arguments(Raised::lost(token)))
        };
        match form {
            Form::Positional(known) => {
                let function = self.function(token, &known);
                let function = function.map_err(Failure::Function)?;
                let _within = self.enter(token, context)?;
                function.call(&loaded, None).map_err(Failure::Call)
            }
            Form::Keywords(known) => {
                let (args, kwargs) = (item(0)?, item(1)?);
                drop(loaded);
                let function = self.function(token, &known);
                let function = function.map_err(Failure::Function)?;
                let _within = self.enter(token, context)?;
                function.call(&args, Some(&kwargs)).map_err(Failure::Call)
            }
            Form::Whole(_) => {
                let (function, args, kwargs) = (item(0)?, item(1)?, item(2)?);
                drop(loaded);
                let _within = self.enter(token, context)?;
                function.call(&args, Some(&kwargs)).map_err(Failure::Call)
            }
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
            .map_err(Failure::Context)
    }

    fn function(&mut self, token: Attached<'i>, known: &Definition) -> Outcome<'i> {
        let transfer = &self.transfer;
        self.found.get(known, || match &known.source {
            Source::Name { module, qualname } => resolve(token, module, qualname),
            Source::Code { payload, .. } => transfer.decode(token, payload.clone()),
        })
    }

    /// The rare ways out, in Python: `helper(label, exception, value, sink)` gives a tuple that
    /// says what to send.
    fn slow(&self, helper: &CStr, label: &Label, raised: Raised, value: Object<'i>) -> Attempt<'i> {
        let token = value.token();
        let error = self.unless_interrupted(token, raised)?;
        let error = error.unwrap_or_else(|| Object::none(token));
        let attempt = || -> Result<Option<Answer>, Raised> {
            let label = Object::string(token, &label.to_string())?;
            // Only a result goes to a sink, and one comes here only after pickle was there.
            let sink = match helper == ENCODE_RESULT {
                true => self.transfer.open_sink(token)?,
                false => Object::none(token),
            };
            let arguments = Object::tuple(token, [label, error, value, sink.share()])?;
            let helper = worker_api::helpers(token, self.path)?.attribute(helper)?;
            let reply = helper.call(&arguments, None)?;
            read_reply(&reply, || self.transfer.collect(&sink))
        };
        Ok(match attempt() {
            Ok(Some(answer)) => answer,
            Ok(None) => lost(label, "the error encoder gave a malformed reply".to_owned()),
            Err(raised) => {
                let error = self.unless_interrupted(token, raised)?;
                lost(label, text_of(token, error))
            }
        })
    }

    /// The exception, if it is not the one that `Future.interrupt` has raised here.
    fn unless_interrupted(
        &self,
        token: Attached<'i>,
        raised: Raised,
    ) -> Result<Option<Object<'i>>, Interrupted<'i>> {
        match raised.take(token) {
            Some(error) if self.desk.is_interrupt(&error) => Err(Interrupted(error)),
            error => Ok(error),
        }
    }
}

/// What a task has raised because it was interrupted.
struct Interrupted<'i>(Object<'i>);

type Attempt<'i> = Result<Answer, Interrupted<'i>>;

/// The answer of a task that met an error of ours.
fn panicked(panic: &(dyn Any + Send)) -> Answer {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    Answer::Untransferable {
        message: format!("subpool itself failed while it ran a task: {text}"),
        path: String::new(),
        traceback: String::new(),
    }
}

enum Failure {
    /// The function could not be imported here.
    Function(Raised),
    /// The arguments could not be unpickled here.
    Arguments(Raised),
    /// A context variable, or its value, could not be had here.
    Context(Refused),
    /// The function raised.
    Call(Raised),
}

/// `("value",)` with the pickle in the sink, `("raised", bytes, text)` or `("untransferable",
/// message, path, text)`.
fn read_reply(
    reply: &Object<'_>,
    sink: impl FnOnce() -> Result<Payload, Raised>,
) -> Result<Option<Answer>, Raised> {
    let text = |index| reply.item(index).and_then(|item| item.to_text());
    let bytes = |index| {
        reply
            .item(index)
            .and_then(|item| item.as_bytes().map(<[u8]>::to_vec))
    };
    let raised = || {
        Some(Answer::Raised {
            pickled: bytes(1)?,
            traceback: text(2)?,
        })
    };
    let untransferable = || {
        Some(Answer::Untransferable {
            message: text(1)?,
            path: text(2)?,
            traceback: text(3)?,
        })
    };
    Ok(match text(0).as_deref() {
        Some("value") => Some(Answer::Value(sink()?)),
        Some("raised") => raised(),
        Some("untransferable") => untransferable(),
        _ => None,
    })
}

/// When even telling fails (no memory, no stack left): what is known without Python's help.
fn lost(label: &Label, traceback: String) -> Answer {
    Answer::Untransferable {
        message: format!("the outcome of {label} was lost: encoding it failed too"),
        path: String::new(),
        traceback,
    }
}

/// An exception's traceback as text, by the traceback module or, if that fails, by its repr.
fn text_of<'i>(token: Attached<'i>, error: Option<Object<'i>>) -> String {
    let Some(error) = error else {
        return String::new();
    };
    let formatted = || -> Result<Option<String>, Raised> {
        let format = Object::import(token, c"traceback")?.attribute(c"format_exception")?;
        let lines = format.call1(&error)?;
        let joined = Object::string(token, "")?
            .attribute(c"join")?
            .call1(&lines)?;
        Ok(joined.to_text())
    };
    match formatted() {
        Ok(text) => text.unwrap_or_default(),
        Err(second) => {
            second.clear(token);
            error.repr_text()
        }
    }
}
