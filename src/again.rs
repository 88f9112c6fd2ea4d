//! A call that one worker has taken and another performs: the first one's interpreter was harmed
//! before the function had begun.
//!
//! Guarantees: the task ends, also if nobody takes the call up; who interrupts it meanwhile finds it
//! at the desk of the worker that had it, until it is at the other's.

use crate::batch::Drained;
use crate::desk::Desk;
use crate::pool::Pool;
use crate::transfer::call::{Answer, Call};
use std::sync::{Arc, Weak};

pub struct Again {
    /// Where the task is found.
    from: Arc<Desk>,
    pool: Weak<Pool>,
    content: Option<(Drained, Call)>,
}

impl Again {
    #[must_use]
    pub fn new(pool: &Arc<Pool>, from: &Arc<Desk>, job: Drained, call: Call) -> Box<Self> {
        Box::new(Self {
            from: Arc::clone(from),
            pool: Arc::downgrade(pool),
            content: Some((job, call)),
        })
    }

    /// The task, its call, and the desk where the task is.
    #[must_use]
    pub fn take(mut self) -> Option<(Drained, Call, Arc<Desk>)> {
        let (job, call) = self.content.take()?;
        Some((job, call, Arc::clone(&self.from)))
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        let Some((job, _)) = self.content.take() else {
            return;
        };
        // A worker that takes nothing up has left, and others have its pool: it is there.
        let Some(pool) = self.pool.upgrade() else {
            return;
        };
        let answer = match pool.broken() {
            Some(broken) => Answer::Broken(Arc::clone(broken)),
            None => Answer::Untransferable {
                message: format!(
                    "{} was not run: an earlier task had harmed the interpreter that had taken \
                     it, and no other took it up",
                    job.label
                ),
                path: String::new(),
                traceback: String::new(),
            },
        };
        let ended = job.finish(answer, || pool.stats.ended());
        pool.deliver_if_listened(&job, ended);
    }
}
