//! How a worker performs a call, and what it does if its interpreter cannot load what that needs.

use super::harm::Last;
use super::{Session, Short};
use crate::interp::attach::Attached;
use crate::interp::object::{Object, Outcome, Raised};
use crate::pool::{Pool, Question, Reply, SoFar};
use crate::transfer::call::{Answer, Call, Form, Label};
use crate::transfer::context::{Carried, Entered, Refused};
use crate::transfer::fallback::{Plan, Refusal};
use crate::transfer::function::{Definition, Source, resolve};
use crate::worker_api;
use std::sync::Arc;

impl<'i> Session<'i> {
    /// Performs a call. If this interpreter cannot load what it needs, main says how it goes on.
    pub(super) fn pursue(
        &mut self,
        token: Attached<'i>,
        pool: &Arc<Pool>,
        call: Call,
        plan: Option<&Plan>,
        label: impl Fn() -> Label,
    ) -> Result<Object<'i>, Short<'i>> {
        let failure = match &self.refused {
            None => match self.perform(token, call, plan) {
                Ok(value) => return Ok(value),
                Err(failure) => Err(self.unless_harmed(token, pool, failure)?),
            },
            Some(refusal) => Ok((Arc::clone(refusal), Box::new(call))),
        };
        self.pursue_otherwise(token, pool, failure, plan, label)
    }

    /// What is left of a call that has failed, or, with the refusal, one that cannot be performed.
    #[cold]
    fn pursue_otherwise(
        &mut self,
        token: Attached<'i>,
        pool: &Arc<Pool>,
        mut failure: Result<(Arc<Refusal>, Box<Call>), Failure>,
        plan: Option<&Plan>,
        label: impl Fn() -> Label,
    ) -> Result<Object<'i>, Short<'i>> {
        let mut so_far = SoFar::default();
        if let Ok((refusal, _)) = &failure {
            so_far.tried.clone_from(&refusal.modules);
        }
        loop {
            let (refusal, call) = match failure {
                Ok(refused) => refused,
                Err(Failure {
                    stage,
                    raised,
                    call: back,
                }) => match (self.explain(token, &label(), stage, raised)?, back) {
                    (Answer::Incompatible { refusal, .. }, Some(back)) => (refusal, back),
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
            };
            let question = Question {
                pool: Arc::clone(pool),
                job: self.desk.shared().job(),
                call: *call,
                refusal: Arc::clone(&refusal),
                so_far,
            };
            match token.detached(|| pool.consult(question)) {
                Reply::Again(again, seen) => {
                    so_far = seen;
                    match self.perform(token, *again, plan) {
                        Ok(value) => return Ok(value),
                        Err(failed) => failure = Err(self.unless_harmed(token, pool, failed)?),
                    }
                }
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
                let again =
                    |payload: Box<_>| Call::new(form, *payload, environment).within(context);
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
            (Form::Positional(known), Some(function)) => {
                self.last = Last::Known(known.number);
                let _within = self.enter(token, context)?;
                function.call(&loaded, None)
            }
            (Form::Keywords(known), Some(function)) => {
                let (args, kwargs) = (item(0)?, item(1)?);
                self.last = Last::Known(known.number);
                drop(loaded);
                let _within = self.enter(token, context)?;
                function.call(&args, Some(&kwargs))
            }
            (form, _) => {
                let (function, args, kwargs) = (item(0)?, item(1)?, item(2)?);
                if let Form::Whole(label) = form {
                    self.last = Last::Whole(label);
                }
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

/// What has failed, and the call if it can be tried in another way.
pub(super) struct Failure {
    pub(super) stage: Stage,
    pub(super) raised: Raised,
    pub(super) call: Option<Box<Call>>,
}

pub(super) enum Stage {
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
