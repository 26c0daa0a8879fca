//! The transport over real loopback sockets, with an owner that only notes what it is told.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test, wherever it stands")]

mod client;
mod closing;
mod compression;
mod events;
mod floods;
mod handshake;
mod messages;
mod rig;
mod rounds;
mod slow_readers;
