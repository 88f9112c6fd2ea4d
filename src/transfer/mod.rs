//! What travels between interpreters, and in which form: bytes and nothing but bytes.

pub mod call;
pub mod codec;
pub mod function;
pub mod pickle;
pub mod value;
