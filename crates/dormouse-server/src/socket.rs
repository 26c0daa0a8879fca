//! The sockets of objects: which address is whose, the handshake, and what messages mean.

mod frames;
mod owner;
pub(crate) mod route;
mod upgrade;

pub(crate) use crate::socket::owner::SocketOwner;
pub(crate) use crate::socket::upgrade::UpgradeService;
