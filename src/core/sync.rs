//! The one place that names the atomics and locks the core is built from.
//!
//! A model checker can take their place here without a change elsewhere.

pub use parking_lot::{Mutex, RwLock};
pub use std::sync::Arc;
pub use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
