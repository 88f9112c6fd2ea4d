//! What the completer does for a fork.
//!
//! Guarantees: one that has nothing to do ends its threads, and the next errand starts others; the
//! child has none, and learns what its parent's had yet to deliver.

use super::{COMPLETER, Completer, Errand, FORKS, reclaim};
use crate::batch::Drained;
use crate::core::joinable::Joinable;
use crate::once::intern;
use crate::task::Task;
use crate::transfer::call::Answer;
use crate::transfer::graveyard::Kept;
use crossbeam_channel::Receiver;
use pyo3::prelude::*;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a fork waits for these threads, which end at once unless the main GIL is busy.
const REST: Duration = Duration::from_millis(100);

/// Ends the threads for a fork if they have nothing to do: who needs them next starts others.
pub fn rest(py: Python<'_>) {
    let completer = {
        // Nobody sends while it is held.
        let mut place = COMPLETER.lock();
        // SeqCst: see `call_watcher`. One that has just taken an errand may count as waiting yet;
        // nothing is behind that errand, so the thread can end after it.
        let is_idle = |own: &mut Completer| {
            own.shared.waiting.load(Ordering::SeqCst) > 0
                && own.shared.receiver.is_empty()
                && own
                    .shared
                    .reliefs
                    .lock()
                    .iter()
                    .all(|relief| relief.ended.state.phase().is_done())
        };
        place.take_if(is_idle)
    };
    if let Some(completer) = completer {
        drop(completer.sender);
        // Release: pairs with the acquire in `watch`.
        completer.shared.closing.store(true, Ordering::Release);
        completer.watcher.unpark();
        py.detach(|| {
            let until = Instant::now() + REST;
            let threads = completer.threads.into_iter();
            threads
                .filter(|thread| thread.ended.is_done_by(until))
                .for_each(Joinable::join);
        });
    }
}

/// The child of a fork forgets the completer, whose threads it does not have. Gives the tasks that
/// were not delivered.
///
/// # Safety
/// Called in the child, before it has a second thread.
pub unsafe fn forget_after_fork() -> Vec<Arc<Task>> {
    // Relaxed: see `run`.
    FORKS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: this thread is the only one, so a locked lock is held by a thread that is gone. What
    // it was doing to the content is unknown, so that is overwritten unseen and not dropped.
    unsafe {
        let undelivered = if COMPLETER.is_locked() {
            COMPLETER.force_unlock();
            None
        } else {
            COMPLETER
                .lock()
                .as_ref()
                .map(|own| own.shared.receiver.clone())
        };
        std::ptr::write(COMPLETER.data_ptr(), None);
        let errands = undelivered.iter().flat_map(Receiver::try_iter);
        errands
            .filter_map(|errand| match errand {
                Errand::Deliver(task) => Some(task),
                // The parent's business.
                other => {
                    std::mem::forget(other);
                    None
                }
            })
            .collect()
    }
}

/// Ends a task that the parent sees to, in the child: it is cancelled if it waits, and ends with what
/// `lost` makes of its function's name if it runs. Callbacks are not called.
pub fn forsake(py: Python<'_>, job: &Drained, lost: &Bound<'_, PyAny>) {
    job.forsake(|| {
        let error = lost.call1((job.label.to_string(),));
        let error = error.unwrap_or_else(|failed| failed.into_value(py).into_bound(py).into_any());
        Answer::Here {
            // SAFETY: `into_ptr` gives an owned reference to an object of main, which is not null.
            object: unsafe { Kept::object(NonNull::new_unchecked(error.into_ptr())) },
            raised: true,
        }
    });
    if let Some(task) = job.listenable() {
        publish(py, task);
    }
}

/// Lets the end of a task be seen, in the child, by those who look at its future from now on.
pub fn publish(py: Python<'_>, task: &Task) {
    let Some(listener) = task.take_listener() else {
        return;
    };
    let future = reclaim(py, listener);
    if let Err(error) = future.call_method0(intern!(py, "_publish_after_fork")) {
        error.write_unraisable(py, Some(&future));
    }
}
