//! Who may open a socket: the limits on how many there are, and on how fast they come.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dormouse::User;
use dormouse_socket::{Bucket, Rate, TopicId};
use tokio::time::Instant;

use crate::http::Problem;

/// The most sockets of each sort, and the rate of new ones.
#[derive(Clone, Debug)]
pub(crate) struct AdmissionLimits {
    pub(crate) sockets_max: usize,
    pub(crate) per_address_max: NonZeroU32,
    pub(crate) per_user_max: NonZeroU32,
    pub(crate) per_object_max: NonZeroU32,
    pub(crate) connection_rate: Rate,
}

/// Counts the sockets of the node by whom they belong to.
///
/// Counting and deciding are one step, so that handshakes which come together cannot pass a limit
/// together.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: AdmissionLimits,
    begun: Instant,
    counts: Mutex<Counts>,
    refused: [AtomicU64; Refusal::ALL.len()],
}

/// By what a socket is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applicant<'a> {
    /// `None`: not counted by address, because it comes from this machine.
    pub(crate) address: Option<AddressBlock>,
    /// `None`: a server without tokens knows no users.
    pub(crate) user: Option<&'a User>,
    /// `None`: a socket of no object.
    pub(crate) object: Option<ObjectSeat>,
}

/// An object, and how many sockets it may have by what is set about its kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObjectSeat {
    pub(crate) topic: TopicId,
    pub(crate) sockets_max: NonZeroU32,
}

/// What is counted as one client: an IPv4 address, or the /64 that an IPv6 network gives to one of
/// its customers and in which a client may choose its address at will.
///
/// IPv4 addresses stand in a block of IPv6 that is reserved and never routed, so that both fit into
/// one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AddressBlock(NonZeroU64);

/// Why a socket was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The server stops.
    Draining,
    /// Too many come in too little time.
    ConnectionRate,
    /// The node has all it may have.
    Sockets,
    /// The address has.
    Address,
    /// The user has.
    User,
    /// The object has.
    Object,
    /// The request did not become complete in time.
    HandshakeTime,
}

#[derive(Debug, Default)]
struct Counts {
    opening: Bucket,
    sockets: usize,
    addresses: HashMap<AddressBlock, u32>,
    users: HashMap<String, u32>,
    objects: HashMap<TopicId, u32>,
}

impl Admission {
    pub(crate) fn new(limits: AdmissionLimits) -> Admission {
        Admission {
            limits,
            begun: Instant::now(),
            counts: Mutex::default(),
            refused: Default::default(),
        }
    }

    /// Takes a place for a new socket, to be given back by [`leave`](Self::leave). `sockets_open` are
    /// all that have a descriptor, those in their closing handshake included.
    ///
    /// # Errors
    ///
    /// The first limit that is reached. It was counted.
    pub(crate) fn admit(&self, applicant: Applicant<'_>, sockets_open: u64) -> Result<(), Refusal> {
        let mut counts = self.lock();
        let judged = self.judge(&counts, applicant, sockets_open);
        // Whoever is turned away has been a connection all the same.
        counts.opening.take(1, self.limits.connection_rate, self.now_ns());
        if let Err(refusal) = judged {
            drop(counts);
            return Err(self.count(refusal));
        }
        let Applicant { address, user, object } = applicant;
        counts.sockets += 1;
        if let Some(address) = address {
            *counts.addresses.entry(address).or_default() += 1;
        }
        if let Some(user) = user {
            *counts.users.entry(user.id.clone()).or_default() += 1;
        }
        if let Some(object) = object {
            *counts.objects.entry(object.topic).or_default() += 1;
        }
        Ok(())
    }

    /// Gives the place of a socket back that was [admitted](Self::admit) as the same applicant.
    pub(crate) fn leave(&self, applicant: Applicant<'_>) {
        let mut counts = self.lock();
        counts.sockets = counts.sockets.saturating_sub(1);
        lower(&mut counts.addresses, applicant.address.as_ref());
        lower(&mut counts.users, applicant.user.map(|user| &user.id));
        lower(&mut counts.objects, applicant.object.map(|object| object.topic).as_ref());
    }

    /// Whether [`admit`](Self::admit) would succeed now. Counts nothing.
    ///
    /// # Errors
    ///
    /// The first limit that is reached.
    pub(crate) fn check(&self, applicant: Applicant<'_>, sockets_open: u64) -> Result<(), Refusal> {
        self.judge(&self.lock(), applicant, sockets_open)
    }

    /// Counts a refusal that was decided elsewhere, and gives it back.
    pub(crate) fn count(&self, refusal: Refusal) -> Refusal {
        self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
        refusal
    }

    /// How many were refused, by the name of the reason.
    pub(crate) fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Refusal::ALL.iter().map(|&refusal| {
            (refusal.as_str(), self.refused[refusal as usize].load(Ordering::Relaxed))
        })
    }

    fn judge(
        &self,
        counts: &Counts,
        applicant: Applicant<'_>,
        sockets_open: u64,
    ) -> Result<(), Refusal> {
        let AdmissionLimits { sockets_max, per_address_max, per_user_max, per_object_max, .. } =
            self.limits;
        if !counts.opening.has(1, self.limits.connection_rate, self.now_ns()) {
            return Err(Refusal::ConnectionRate);
        }
        let open = usize::try_from(sockets_open).unwrap_or(usize::MAX);
        if counts.sockets.max(open) >= sockets_max {
            return Err(Refusal::Sockets);
        }
        if is_full(&counts.addresses, applicant.address.as_ref(), per_address_max) {
            return Err(Refusal::Address);
        }
        if is_full(&counts.users, applicant.user.map(|user| &user.id), per_user_max) {
            return Err(Refusal::User);
        }
        if let Some(ObjectSeat { topic, sockets_max }) = applicant.object
            && is_full(&counts.objects, Some(&topic), sockets_max.min(per_object_max))
        {
            return Err(Refusal::Object);
        }
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // No code that can panic half way runs under the lock.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AddressBlock {
    /// The block of a client's address. `None` for this machine: what runs here needs no limit, and a
    /// proxy that does speaks for many.
    pub(crate) fn of(address: IpAddr) -> Option<AddressBlock> {
        let block = match address.to_canonical() {
            address if address.is_loopback() => return None,
            IpAddr::V4(v4) => u64::from(v4.to_bits()),
            IpAddr::V6(v6) => u64::try_from(v6.to_bits() >> 64).unwrap_or(u64::MAX),
        };
        // Zero is the block of addresses that no peer can have.
        NonZeroU64::new(block).map(AddressBlock)
    }
}

impl Refusal {
    const ALL: [Refusal; 7] = [
        Refusal::Draining,
        Refusal::ConnectionRate,
        Refusal::Sockets,
        Refusal::Address,
        Refusal::User,
        Refusal::Object,
        Refusal::HandshakeTime,
    ];

    /// A label from a closed set, for metrics.
    const fn as_str(self) -> &'static str {
        match self {
            Refusal::Draining => "draining",
            Refusal::ConnectionRate => "connection_rate",
            Refusal::Sockets => "sockets",
            Refusal::Address => "address",
            Refusal::User => "user",
            Refusal::Object => "object",
            Refusal::HandshakeTime => "handshake_time",
        }
    }

    /// What the client is told.
    pub(crate) const fn message(self) -> &'static str {
        match self {
            Refusal::Draining => "the server is stopping; come back soon",
            Refusal::ConnectionRate => "too many sockets are being opened at this moment",
            Refusal::Sockets => "the server has all the sockets that it may have",
            Refusal::Address => "this address has all the sockets that it may have",
            Refusal::User => "this user has all the sockets that one may have",
            Refusal::Object => "this object has all the sockets that it may have",
            Refusal::HandshakeTime => "the request took too long to arrive",
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        Problem::unavailable(refusal.message())
    }
}

fn is_full<K: Hash + Eq>(counts: &HashMap<K, u32>, key: Option<&K>, max: NonZeroU32) -> bool {
    key.and_then(|key| counts.get(key)).is_some_and(|&count| count >= max.get())
}

fn lower<K: Hash + Eq>(counts: &mut HashMap<K, u32>, key: Option<&K>) {
    let Some(key) = key else { return };
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
