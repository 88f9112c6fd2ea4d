//! What travels between interpreters, and in which form: bytes, and memory that all may see.

pub mod buffer;
pub mod call;
pub mod codec;
pub mod context;
mod exporter;
pub mod fallback;
pub mod function;
pub mod graveyard;
mod memory;
pub mod pickle;
mod sink;
pub mod value;
