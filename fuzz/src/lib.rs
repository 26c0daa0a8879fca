//! What the fuzzers feed. Each function takes any bytes and panics if the server would do something
//! with them that it must not.

mod frames;
mod handshake;

pub use frames::frames;
pub use handshake::handshake;
