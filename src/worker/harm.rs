//! What a worker does when its interpreter does not work any more as it did.
//!
//! Guarantees: a call that could not begin because of what an earlier task has done is performed by
//! another worker; a worker that was found harmed runs no other task; the good path has no part in
//! this but a store.
//! Not guaranteed: that the task that is named is the one that did it: harm is found by the next
//! failure.

use super::health::Health;
use super::performing::Failure;
use super::{Session, Short};
use crate::again::Again;
use crate::batch::Drained;
use crate::interp::attach::Attached;
use crate::interp::object::{Object, Raised};
use crate::pool::{Pool, Why};
use crate::transfer::call::{Answer, Call, Label};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a worker that nobody can replace is not looked at again.
const REST: Duration = Duration::from_secs(5);

/// The function that ran last.
pub enum Last {
    Nothing,
    /// One that `Found` knows.
    Known(u64),
    Whole(Arc<str>),
}

impl<'i> Session<'i> {
    /// Takes note of how the interpreter is, ready for its first task.
    pub(super) fn note_health(&mut self, token: Attached<'i>, core: Result<Object<'i>, Raised>) {
        let health = core.and_then(|core| Health::start(token, core));
        self.last = Last::Nothing; // the initializer's doings are how this pool's workers are
        match health {
            Ok(health) if !health.looks_bad(token) => self.health = Some(health),
            Ok(_) => {}
            Err(raised) => raised.clear(token),
        }
    }

    /// What has failed, unless it is a call that a worker in good health could have begun.
    #[cold]
    pub(super) fn unless_harmed(
        &mut self,
        token: Attached<'i>,
        pool: &Arc<Pool>,
        failure: Failure,
    ) -> Result<Failure, Short<'i>> {
        let Failure {
            stage,
            raised,
            call: Some(call),
        } = failure
        else {
            return Ok(failure);
        };
        let (raised, call) = self.move_if_harmed(token, pool, raised, call)?;
        Ok(Failure {
            stage,
            raised,
            call: Some(call),
        })
    }

    /// The same, for what failed before that.
    pub(super) fn move_if_harmed(
        &mut self,
        token: Attached<'i>,
        pool: &Arc<Pool>,
        raised: Raised,
        call: Box<Call>,
    ) -> Result<(Raised, Box<Call>), Short<'i>> {
        if self.health.is_none() {
            return Ok((raised, call));
        }
        let error = self.unless_interrupted(token, raised)?;
        if self.is_harmed(token)? {
            if matches!(self.last, Last::Nothing) {
                // No task has been here. Another worker would be the same.
                self.health = None;
            } else if self.has_heir(token, pool) {
                return Err(Short::Moved(call));
            }
        }
        Ok((Raised::from_taken(token, error), call))
    }

    /// Whether another worker can take this one's place. If not, it may be the process that is
    /// harmed (no descriptors left, no memory), and a pool is better off with this one.
    fn has_heir(&mut self, token: Attached<'i>, pool: &Arc<Pool>) -> bool {
        let seat = self.seat;
        let has_heir = token.detached(|| pool.has_heir(seat, pool.farewell()));
        if !has_heir {
            if let Some(health) = &self.health {
                drop(health.take_harm());
            }
            self.well_until = Some(Instant::now() + REST);
        }
        has_heir
    }

    /// Why this worker leaves after the task that has ended, if it does.
    #[inline]
    pub(super) fn why_leave(&mut self, token: Attached<'i>, pool: &Arc<Pool>) -> Option<Why> {
        let why = self.leaving.take()?;
        let stays = matches!(why, Why::Harmed { .. })
            && self.again.is_none()
            && !self.mileage.is_over()
            && !self.has_heir(token, pool);
        (!stays).then_some(why)
    }

    /// Whether the interpreter is harmed. May be interrupted.
    pub(super) fn is_harmed(&self, token: Attached<'i>) -> Result<bool, Short<'i>> {
        let Some(health) = &self.health else {
            return Ok(false);
        };
        if self.well_until.is_some_and(|until| Instant::now() < until) {
            return Ok(false);
        }
        let examined = health.examine(token, self.desk.class());
        examined.or_else(|raised| {
            // Another's exception of the same type is none of ours to raise here.
            self.unless_interrupted(token, raised).map(|_| false)
        })
    }

    /// Puts the interpreter into a state in which a failure can be told, if it is harmed. No
    /// exception is pending.
    pub(super) fn mended(&self, token: Attached<'i>) -> Result<bool, Short<'i>> {
        let harmed = self.is_harmed(token)?;
        if harmed && let Some(health) = &self.health {
            health.mend(token);
        }
        Ok(harmed)
    }

    /// Looks whether a task that has failed, or one before it, has done harm.
    #[cold]
    pub(super) fn look_after_failure(
        &mut self,
        token: Attached<'i>,
        answer: Result<Answer, Short<'i>>,
    ) -> Result<Answer, Short<'i>> {
        let ended = matches!(
            answer,
            Ok(_) | Err(Short::Answer(_) | Short::Interrupted(_))
        );
        if ended && self.health.as_ref().is_some_and(|it| it.looks_bad(token)) {
            // An interrupt that comes now comes too late.
            let _ = self.is_harmed(token);
        }
        if ended {
            self.leave_if_harmed();
        }
        answer
    }

    /// What plain pickle refused with `raised`, which may be the interpreter's fault.
    #[cold]
    pub(super) fn encode_otherwise(
        &mut self,
        label: &Label,
        raised: Raised,
        value: &Object<'i>,
    ) -> Result<Answer, Short<'i>> {
        let token = value.token();
        let error = self.unless_interrupted(token, raised)?;
        let raised = if self.mended(token)? {
            match self.transfer.encode(value) {
                Ok(payload) => {
                    self.leave_if_harmed();
                    return Ok(Answer::Value(payload));
                }
                Err(again) => again,
            }
        } else {
            Raised::from_taken(token, error)
        };
        self.encode_slowly(label, raised, value)
    }

    /// This task is the worker's last, if harm was found.
    fn leave_if_harmed(&mut self) {
        if let Some(how) = self.health.as_ref().and_then(Health::take_harm) {
            let task = Label::Text(format!("{} (or a task before it)", self.last_name()).into());
            self.leaving = Some(Why::Harmed { task, how });
        }
    }

    /// Leaves the task at the desk and its call to the worker that takes this one's place.
    pub(super) fn move_on(&mut self, token: Attached<'i>, pool: &Arc<Pool>, call: Call) -> Drained {
        let desk = self.desk.shared();
        let job = desk.job().expect("at the desk until it has ended");
        self.desk.pass_on(token);
        self.leave_if_harmed();
        let pool = Arc::downgrade(pool);
        let lost = move |job: Drained| {
            // A worker that takes nothing up has left, and others have its pool: it is there.
            if let Some(pool) = pool.upgrade() {
                pool.lose(&job);
            }
        };
        self.again = Some(Again::new(desk, job.clone(), call, Box::new(lost)));
        job
    }

    /// Takes up a task that another worker has left, and gives what to serve next: that one, its
    /// call in `resumed`, or, if it has ended meanwhile, what comes after it.
    pub(super) fn resume(&mut self, again: Again) -> Option<Drained> {
        let (job, call, from) = again.take()?;
        if self.desk.resume(&from) {
            self.resumed = Some(Box::new(call));
            return Some(job);
        }
        job.next()
    }

    fn last_name(&self) -> String {
        match &self.last {
            Last::Known(number) => self.found.name(*number).unwrap_or("a function").to_owned(),
            Last::Whole(label) => label.to_string(),
            Last::Nothing => self.desk.shared().label().to_string(),
        }
    }
}
