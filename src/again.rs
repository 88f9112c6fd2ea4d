//! A call that one worker has taken and another performs: the first one's interpreter was harmed
//! before the function had begun.
//!
//! Guarantees: the task ends, also if nobody takes the call up; who interrupts it meanwhile finds it
//! at the desk of the worker that had it, until it is at the other's.

use crate::batch::Drained;
use crate::desk::Desk;
use crate::transfer::call::Call;
use std::sync::Arc;

/// Ends a task whose call nobody will perform.
pub type Lost = Box<dyn FnOnce(Drained) + Send + Sync>;

pub struct Again {
    /// Where the task is found.
    from: Arc<Desk>,
    content: Option<(Drained, Call, Lost)>,
}

impl Again {
    #[must_use]
    pub fn new(from: &Arc<Desk>, job: Drained, call: Call, lost: Lost) -> Box<Self> {
        Box::new(Self {
            from: Arc::clone(from),
            content: Some((job, call, lost)),
        })
    }

    /// The task, while its call is here.
    #[must_use]
    pub fn job(&self) -> Option<&Drained> {
        self.content.as_ref().map(|(job, ..)| job)
    }

    /// The task, its call, and the desk where the task is.
    #[must_use]
    pub fn take(mut self) -> Option<(Drained, Call, Arc<Desk>)> {
        let (job, call, _) = self.content.take()?;
        Some((job, call, Arc::clone(&self.from)))
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        if let Some((job, _, lost)) = self.content.take() {
            lost(job);
        }
    }
}
