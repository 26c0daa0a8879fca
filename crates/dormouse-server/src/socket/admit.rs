//! Whether a socket may be opened now.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use crate::admission::{AddressBlock, Refusal};
use crate::http::FrontDoor;
use crate::socket::owner::SocketSession;

/// Takes a seat for a new socket. What a proxy says of where it comes from is not believed.
///
/// # Errors
///
/// Why there is none. It was counted.
pub(crate) fn admit(
    door: &FrontDoor,
    session: &mut SocketSession,
    peer: Option<SocketAddr>,
) -> Result<(), Refusal> {
    if door.is_draining.load(Ordering::Acquire) {
        return Err(door.admission.count(Refusal::Draining));
    }
    session.admit(&door.admission, block(peer), sockets_open(door))
}

/// Whether [`admit`] would succeed now. Counts nothing.
///
/// # Errors
///
/// Why it would not.
pub(crate) fn would_admit(
    door: &FrontDoor,
    session: &SocketSession,
    peer: Option<SocketAddr>,
) -> Result<(), Refusal> {
    if door.is_draining.load(Ordering::Acquire) {
        return Err(Refusal::Draining);
    }
    door.admission.check(session.applicant(block(peer)), sockets_open(door))
}

fn block(peer: Option<SocketAddr>) -> Option<AddressBlock> {
    peer.and_then(|peer| AddressBlock::of(peer.ip()))
}

fn sockets_open(door: &FrontDoor) -> u64 {
    door.node.hubs().iter().map(|hub| hub.stats().read().sockets_open).sum()
}
