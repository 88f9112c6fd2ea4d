//! What travels between interpreters, and in which form: bytes, and memory that all may see.

pub mod adopt;
pub mod buffer;
pub mod call;
pub mod codec;
pub mod context;
pub mod environment;
mod exporter;
pub mod fallback;
pub mod function;
pub mod graveyard;
mod memory;
pub mod outbox;
pub mod pickle;
pub mod shared;
mod sink;
pub mod value;
mod voice;
