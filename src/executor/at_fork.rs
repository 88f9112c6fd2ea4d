//! The hooks of a fork: before it, after it in the parent, and in the child.
//!
//! Guarantees: see `pool/fork.rs`. Each hook tells what goes wrong in it and leaves the fork alone.

use super::PoolCore;
use crate::completer;
use crate::encode;
use crate::environ;
use crate::interp::attach::Attached;
use crate::interp::orphans;
use crate::once::intern;
use crate::pool::fork;
use crate::transfer::graveyard::{self, Promise};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// Closes the interpreters, within `helper._PATIENCE` seconds, and has `helper.warn` tell what still
/// runs then: the names of pools with those of the functions, and whether the child can live with
/// that.
///
/// Native, since a signal's handler may raise wherever Python code runs: then the child would crash.
#[pyfunction]
pub fn before_fork(helper: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = helper.py();
    // Another thread may be at its first call, and filling cells that the child would wait for.
    if environ::may_look(py) {
        let rehearsed = helper.getattr(intern!(py, "warn")).and_then(|function| {
            environ::now(py)?;
            encode::call(&function, &PyTuple::empty(py), None)
        });
        if let Err(error) = rehearsed {
            error.write_unraisable(py, None);
        }
    }
    let patience = helper.getattr(intern!(py, "_PATIENCE"))?.extract()?;
    let restless = py.detach(|| fork::prepare(super::seconds(patience)));
    completer::rest(py);
    if restless.is_empty() {
        return Ok(());
    }
    let survives = orphans::arm();
    let told = restless.into_iter();
    let told: Vec<_> = told
        .map(|restless| (restless.pool, restless.functions))
        .collect();
    helper.call_method1(intern!(py, "warn"), (told, survives))?;
    Ok(())
}

/// Lets the pools go on.
#[pyfunction]
pub fn after_fork_in_parent(py: Python<'_>) {
    orphans::disarm();
    let environment = || {
        environ::now(py)
            .inspect_err(|error| error.clone_ref(py).write_unraisable(py, None))
            .ok()
    };
    for (pool, broken) in fork::resume(environment) {
        py.detach(|| pool.break_down(broken));
    }
}

/// Makes each of `pools` a pool of the child, and ends what the parent's have to do: what waits is
/// cancelled, what runs ends with what `lost` makes of its function's name. The futures' callbacks
/// are not called.
#[pyfunction]
pub fn after_fork_in_child(
    py: Python<'_>,
    pools: Vec<PyRef<'_, PoolCore>>,
    lost: &Bound<'_, PyAny>,
) {
    // What is dropped below starts no thread.
    let promise = Promise::new();
    environ::forget_after_fork();
    // SAFETY: `os.register_at_fork` (_fork.py) calls this in the child, which has one thread.
    let (parents, undelivered) = unsafe {
        let undelivered = completer::forget_after_fork();
        let parents = fork::forget_after_fork();
        crate::interp::owned::forget_after_fork();
        crate::warden::forget_after_fork();
        graveyard::forget_after_fork();
        crate::transfer::environment::forget_after_fork();
        crate::transfer::outbox::forget_after_fork();
        crate::output::forget_after_fork();
        (parents, undelivered)
    };
    for core in pools {
        core.succeed();
    }
    for pool in parents {
        pool.forsake(|job| completer::forsake(py, job, lost));
    }
    for task in undelivered {
        completer::publish(py, &task);
    }
    // SAFETY: attached to main (`py`), for as long as the call takes.
    unsafe { graveyard::clear(Attached::assume()) };
    drop(promise);
}
