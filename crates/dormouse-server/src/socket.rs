//! The sockets and event streams of objects: which address is whose, the handshake, and what messages mean.

mod admit;
pub(crate) mod event_stream;
mod expiry;
mod frames;
mod owner;
pub(crate) mod route;
mod upgrade;

pub(crate) use crate::socket::admit::{admit, would_admit};
pub(crate) use crate::socket::owner::{SocketOwner, SocketSession};
pub(crate) use crate::socket::upgrade::UpgradeService;
