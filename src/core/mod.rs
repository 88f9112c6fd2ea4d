//! The pool's machinery without a word of Python: task states, waiting, the queue, growth.
//!
//! Nothing here knows pyo3, so `cargo test --no-default-features` runs it with no Python at all.
//! `PROTOCOL.md` beside this file tells the state and wake-up protocols in prose.

pub mod addresses;
pub mod alarm;
pub mod brief;
pub mod entrance;
pub mod idle;
pub mod joinable;
pub mod latch;
pub mod mailbox;
pub mod names;
pub mod queue;
pub mod reach;
pub mod rests;
pub mod shared;
pub mod sleepers;
pub mod slot;
pub mod state;
pub mod stats;
pub mod sync;
pub mod window;
pub mod wire;

#[cfg(all(test, loom))]
mod models;
