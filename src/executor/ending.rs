//! The end of the program.
//!
//! Guarantees: what was accepted is done before Python finalizes; no interpreter of ours, and no
//! thread that is attached to main, is alive then, since CPython would crash; an exception of a
//! signal's handler (Ctrl-C) cancels what has not started and interrupts what runs, and the program
//! ends within `PATIENCE` after that; another one ends it at once.
//! Not guaranteed: that Python finalizes. What runs on in spite of the interrupt (a call in C, a
//! callback that waits) would be there then, so the process ends without.

use super::{EXITING, join};
use crate::completer;
use crate::core::joinable::Joinable;
use crate::core::latch::Latch;
use crate::core::state::Cancel;
use crate::environ;
use crate::ffi;
use crate::future::wait;
use crate::output;
use crate::pool::Pool;
use crate::warden;
use pyo3::prelude::*;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Between two looks for signals that wake nobody: `_thread.interrupt_main()`, and one that comes
/// in the moment before the sleep.
const NAP: Duration = Duration::from_millis(100);

/// What is waited for has not ended in time.
struct Overdue;

struct Ending<'py> {
    py: Python<'py>,
    /// `subpool._ending`
    helper: &'py Bound<'py, PyAny>,
    pools: Vec<Arc<Pool>>,
    /// What a signal's handler has raised first.
    raised: Option<PyErr>,
    /// From the interrupt on: how long things may take.
    until: Option<Instant>,
}

/// Finishes what is queued everywhere, closes the interpreters, joins the threads. The first call
/// does it.
///
/// Registered with `threading`, so it runs when the main thread has come to its end; and with
/// `atexit` as well, since an exception in somebody else's hook (mostly Ctrl-C while another pool
/// is waited for) makes `threading` forget the rest. Then (`late`) nobody waits for work any more,
/// as after a Ctrl-C here.
#[pyfunction]
pub fn close_all(py: Python<'_>, helper: &Bound<'_, PyAny>, late: bool) -> PyResult<()> {
    // Relaxed: see `refuse_if_exiting`.
    if EXITING.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let mut ending = Ending {
        py,
        helper,
        pools: Pool::living(),
        raised: None,
        until: None,
    };
    for pool in &ending.pools {
        pool.close();
    }
    if late {
        ending.interrupt();
    }
    if ending.finish().is_err() {
        ending.leave(late);
    }
    // Python tells of it, as of any exception in such a hook, and waits for nothing any more.
    ending.raised.map_or(Ok(()), Err)
}

impl Ending<'_> {
    fn finish(&mut self) -> Result<(), Overdue> {
        let py = self.py;
        let pools = self.pools.clone();
        for pool in &pools {
            // For a thread that has pushed a task and not come to this. An environment that could
            // not be read: it will do it itself.
            if pool.wants_worker()
                && let Ok(environment) = environ::now(py)
            {
                let _ = pool.grow(&environment);
            }
        }
        for pool in &pools {
            self.wait_for_pool(pool)?;
            self.wait_by(|ending, seconds| ending.is_finished_elsewhere(pool, seconds))?;
        }
        Pool::seal();
        for pool in &pools {
            self.wait_for_pool(pool)?;
        }
        for thread in warden::stop().into_iter().chain(completer::stop()) {
            self.join_thread(thread)?;
        }
        // What the last workers let go of. From here on only threads of main let go of anything.
        completer::clear_graveyard(py);
        output::catch_up_or_tell(py);
        self.wait_by(|ending, _| Ok(environ::end(ending.py)))
    }

    fn wait_for_pool(&mut self, pool: &Pool) -> Result<(), Overdue> {
        let py = self.py;
        join(py, pool, |latch| self.wait(latch))?;
        for seat in pool.retired() {
            self.wait(&seat.exit)?;
            super::reap(py, &seat);
        }
        Ok(())
    }

    fn join_thread(&mut self, thread: Joinable) -> Result<(), Overdue> {
        self.wait(&thread.ended)?;
        self.py.detach(|| thread.join());
        Ok(())
    }

    fn wait(&mut self, latch: &Latch) -> Result<(), Overdue> {
        self.wait_by(|ending, seconds| wait(ending.py, latch, Some(seconds)))
    }

    fn is_finished_elsewhere(&self, pool: &Pool, seconds: f64) -> PyResult<bool> {
        let finished = self.helper.call_method1("finish", (pool.number, seconds))?;
        finished.is_truthy()
    }

    /// Waits until `look`, which may take so many seconds, says that it is done.
    fn wait_by(
        &mut self,
        mut look: impl FnMut(&Self, f64) -> PyResult<bool>,
    ) -> Result<(), Overdue> {
        loop {
            // The main thread holds nothing any more that it could release otherwise.
            if let Err(raised) = self.helper.call_method0("let_go") {
                self.interrupted(raised);
            }
            let now = Instant::now();
            let left = self
                .until
                .map_or(NAP, |until| until.saturating_duration_since(now));
            match look(self, left.min(NAP).as_secs_f64()) {
                Ok(true) => return Ok(()),
                Ok(false) if self.until.is_some_and(|until| until <= now) => return Err(Overdue),
                Ok(false) => {}
                Err(raised) => self.interrupted(raised),
            }
        }
    }

    fn interrupted(&mut self, raised: PyErr) {
        if self.until.is_none() {
            self.raised = Some(raised);
            self.interrupt();
        } else {
            self.give_up();
        }
    }

    /// Cancels what has not started, interrupts what runs, and gives all that little time.
    fn interrupt(&mut self) {
        let patience = self.helper.getattr("PATIENCE");
        let patience = patience.and_then(|patience| patience.extract()).ok();
        let patience = patience.map_or(Duration::ZERO, super::seconds);
        self.until = Instant::now().checked_add(patience);
        for pool in &self.pools {
            // No thread to be had: then it does not end in time.
            let _ = pool.terminate();
            for task in pool.drain() {
                if let Cancel::Cancelled(ended) = task.cancel() {
                    // By the completer: callbacks shall not hold up this thread.
                    pool.deliver_if_listened(&task, Some(ended));
                }
            }
        }
        let numbers: Vec<u64> = self.pools.iter().map(|pool| pool.number).collect();
        if let Err(raised) = self.helper.call_method1("interrupt", (numbers,)) {
            if self.raised.is_some() {
                self.give_up();
            }
            self.raised = Some(raised);
        }
    }

    /// Ends the process, for one who pressed Ctrl-C twice.
    fn give_up(&mut self) {
        // It does not come back; if it could not be called, what is waited for is overdue.
        drop(self.helper.call_method0("give_up"));
        self.until = Some(Instant::now());
    }

    /// Ends the process as Python would, as far as that is possible with interpreters alive.
    fn leave(&mut self, late: bool) {
        let py = self.py;
        output::catch_up_or_tell(py);
        let raised = self.raised.take().map(|raised| {
            let value = raised.value(py).clone();
            raised.restore(py);
            // SAFETY: attached (`py`), with an exception set; a text without arguments.
            unsafe {
                ffi::PyErr_FormatUnraisable(c"Exception ignored on threading shutdown".as_ptr())
            };
            value
        });
        // Nothing else is possible if that fails.
        drop(self.helper.call_method1("leave", (raised, late)));
    }
}
