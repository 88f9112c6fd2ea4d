//! subpool: a pool of CPython subinterpreters, each with its own GIL on its own thread.
//!
//! `core` knows no Python; everything else needs the feature `python`.

pub mod core;

#[cfg(feature = "python")]
mod again;
#[cfg(feature = "python")]
mod batch;
#[cfg(feature = "python")]
mod bridge;
#[cfg(feature = "python")]
mod capture;
#[cfg(feature = "python")]
mod completer;
#[cfg(feature = "python")]
mod desk;
#[cfg(feature = "python")]
mod dispatch;
#[cfg(feature = "python")]
mod encode;
#[cfg(feature = "python")]
mod environ;
#[cfg(feature = "python")]
mod errand;
#[cfg(feature = "python")]
mod error;
#[cfg(feature = "python")]
mod executor;
#[cfg(feature = "python")]
mod farewell;
#[cfg(feature = "python")]
mod ffi;
#[cfg(feature = "python")]
mod future;
#[cfg(feature = "python")]
mod interp;
#[cfg(feature = "python")]
mod map;
#[cfg(feature = "python")]
mod on_import;
#[cfg(feature = "python")]
mod once;
#[cfg(feature = "python")]
mod output;
#[cfg(feature = "python")]
mod pool;
#[cfg(feature = "python")]
mod sharing;
#[cfg(feature = "python")]
mod streams;
#[cfg(feature = "python")]
mod task;
#[cfg(feature = "python")]
mod transfer;
#[cfg(feature = "python")]
mod warden;
#[cfg(feature = "python")]
mod worker;
#[cfg(feature = "python")]
mod worker_api;

#[cfg(feature = "python")]
#[pyo3::pymodule]
mod _subpool {
    #[pymodule_export]
    use crate::bridge::{Bridge, await_in_loop, copy_in};
    #[pymodule_export]
    use crate::dispatch::ExecutorCore;
    #[pymodule_export]
    use crate::encode::{_native_decode, _native_encode, set_by_value};
    #[pymodule_export]
    use crate::errand::{Errand, FallbackPlan, raise_in_thread};
    #[pymodule_export]
    use crate::executor::{
        _lent_buffers, PoolCore, WorkerThread, after_fork_in_child, after_fork_in_parent,
        before_fork, close_all,
    };
    #[pymodule_export]
    use crate::future::FutureCore;
    #[pymodule_export]
    use crate::map::MapResults;
    #[pymodule_export]
    use crate::sharing::make_room;
}
