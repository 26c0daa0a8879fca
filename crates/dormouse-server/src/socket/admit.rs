//! Whether a socket may be opened now.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use crate::admission::{AddressBlock, Refusal};
use crate::http::{FrontDoor, Problem};
use crate::socket::owner::SocketSession;

/// Why a socket cannot be opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    refusal: Refusal,
    /// What the kind itself says, as plain text.
    words: Option<&'static str>,
}

impl Refused {
    fn of(session: &SocketSession, refusal: Refusal) -> Refused {
        let words = if refusal == Refusal::Object { session.full() } else { None };
        Refused { refusal, words }
    }

    /// What the client is told.
    pub(crate) fn message(self) -> &'static str {
        self.words.unwrap_or(self.refusal.message())
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        let problem = Problem::from(refused.refusal);
        match refused.words {
            Some(words) => problem.in_words(words),
            None => problem,
        }
    }
}

/// Takes a seat for a new socket. What a proxy says of where it comes from is not believed.
///
/// # Errors
///
/// Why there is none. It was counted.
pub(crate) fn admit(
    door: &FrontDoor,
    session: &mut SocketSession,
    peer: Option<SocketAddr>,
) -> Result<(), Refused> {
    if door.is_draining.load(Ordering::Acquire) {
        return Err(Refused::of(session, door.admission.count(Refusal::Draining)));
    }
    let admitted = session.admit(&door.admission, block(peer), sockets_open(door));
    admitted.map_err(|refusal| Refused::of(session, refusal))
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
) -> Result<(), Refused> {
    if door.is_draining.load(Ordering::Acquire) {
        return Err(Refused::of(session, Refusal::Draining));
    }
    let admitted = door.admission.check(session.applicant(block(peer)), sockets_open(door));
    admitted.map_err(|refusal| Refused::of(session, refusal))
}

fn block(peer: Option<SocketAddr>) -> Option<AddressBlock> {
    peer.and_then(|peer| AddressBlock::of(peer.ip()))
}

fn sockets_open(door: &FrontDoor) -> u64 {
    door.node.hubs().iter().map(|hub| hub.stats().read().sockets_open).sum()
}
