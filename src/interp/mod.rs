//! Interpreters and what a thread may do with them: creation and end, attaching, objects.
//!
//! Raw FFI only. PyO3's safe API is process-wide and knows nothing of interpreters, so it may not
//! be used while a subinterpreter is attached.

pub mod attach;
pub mod boxed;
pub mod config;
pub mod knots;
pub mod lock;
pub mod nap;
pub mod native;
pub mod object;
pub mod orphans;
pub mod owned;
pub mod swallowed;
pub mod tracer;
pub mod untraced;
pub mod visit;
