//! Settings that bound what clients may take.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use clap::Args;
use dormouse_socket::Rate;

use crate::admission::AdmissionLimits;

use super::{SettingsError, duration};

/// The limits among the flags of `serve`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct LimitArgs {
    /// Most sockets of one address, and of one /64 of IPv6. An address of this machine has no limit.
    /// `X-Forwarded-For` is not believed: behind a proxy on another machine set it to `sockets-max`
    /// [default: half of `sockets-max`, so that no address can take all].
    #[arg(long, env = "DORMOUSE_SOCKETS_PER_ADDRESS_MAX", value_name = "N")]
    pub(crate) sockets_per_address_max: Option<u32>,
    /// Most sockets of one user [default: 1000, more than anybody has tabs].
    #[arg(long, env = "DORMOUSE_SOCKETS_PER_USER_MAX", value_name = "N")]
    pub(crate) sockets_per_user_max: Option<u32>,
    /// Most sockets of one object [default: 32768; each event is written to all of them].
    #[arg(long, env = "DORMOUSE_SOCKETS_PER_OBJECT_MAX", value_name = "N")]
    pub(crate) sockets_per_object_max: Option<u32>,
    /// Most new sockets per second, and at once [default: 20000, about what a core can shake hands
    /// with].
    #[arg(long, env = "DORMOUSE_CONNECTIONS_PER_SECOND_MAX", value_name = "N")]
    pub(crate) connections_per_second_max: Option<u32>,
    /// Most messages per second, and at once, that a socket may send; fragments, pings and pongs
    /// count [default: 131072, a message of 8 MiB in fragments of 64 bytes].
    #[arg(long, env = "DORMOUSE_MESSAGES_PER_SECOND_MAX", value_name = "N")]
    pub(crate) messages_per_second_max: Option<u32>,
    /// Most bytes per second, and at once, that a socket may send; one message of the largest size
    /// may always come at once [default: 134217728, what a link of 1 Gbit/s carries].
    #[arg(long, env = "DORMOUSE_BYTES_PER_SECOND_MAX", value_name = "BYTES")]
    pub(crate) bytes_per_second_max: Option<u64>,
    /// A connection whose first request is not complete by then is closed [default: 5s, for slow
    /// networks].
    #[arg(long, env = "DORMOUSE_HANDSHAKE_TIMEOUT", value_name = "DURATION", value_parser = duration)]
    pub(crate) handshake_timeout: Option<Duration>,
    /// A socket that has not caught up with its object by then, or leaves unread what waits for it, is
    /// closed with 1013 [default: 60s].
    #[arg(long, env = "DORMOUSE_SLOW_READER_TIMEOUT", value_name = "DURATION", value_parser = duration)]
    pub(crate) slow_reader_timeout: Option<Duration>,
}

/// The limits, decided.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// `None`: half of all.
    sockets_per_address_max: Option<NonZeroU32>,
    sockets_per_user_max: NonZeroU32,
    sockets_per_object_max: NonZeroU32,
    connections_per_second_max: NonZeroU64,
    messages_per_second_max: NonZeroU64,
    bytes_per_second_max: NonZeroU64,
    pub(crate) handshake_timeout: Duration,
    pub(crate) slow_reader_timeout: Duration,
}

/// The highest rate of messages and of new sockets. Above it there is no limit in effect.
const RATE_CEILING: u32 = 10_000_000;

/// The lowest rate of bytes: less would not let a handshake's worth pass in a second.
const BYTES_PER_SECOND_MIN: u64 = 1024;

/// The shortest time for a request to arrive: it is measured by a clock with steps of half a second.
const HANDSHAKE_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// The shortest time for a reader to catch up: less would close sockets on a network that stutters.
const SLOW_READER_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// By how much a message that is compressed or comes in fragments may be larger on the wire.
const BYTES_ON_WIRE_PER_BYTE: u64 = 2;

impl LimitArgs {
    /// These, or where they say nothing the others.
    pub(crate) fn or(self, other: LimitArgs) -> LimitArgs {
        LimitArgs {
            sockets_per_address_max: self.sockets_per_address_max.or(other.sockets_per_address_max),
            sockets_per_user_max: self.sockets_per_user_max.or(other.sockets_per_user_max),
            sockets_per_object_max: self.sockets_per_object_max.or(other.sockets_per_object_max),
            connections_per_second_max: self
                .connections_per_second_max
                .or(other.connections_per_second_max),
            messages_per_second_max: self.messages_per_second_max.or(other.messages_per_second_max),
            bytes_per_second_max: self.bytes_per_second_max.or(other.bytes_per_second_max),
            handshake_timeout: self.handshake_timeout.or(other.handshake_timeout),
            slow_reader_timeout: self.slow_reader_timeout.or(other.slow_reader_timeout),
        }
    }

    /// The limits that these ask for.
    ///
    /// # Errors
    ///
    /// The first that cannot be used.
    pub(crate) fn resolve(&self) -> Result<Limits, SettingsError> {
        let limits = Limits {
            sockets_per_address_max: self
                .sockets_per_address_max
                .map(|max| at_least_one("sockets_per_address_max", max))
                .transpose()?,
            sockets_per_user_max: at_least_one(
                "sockets_per_user_max",
                self.sockets_per_user_max.unwrap_or(1_000),
            )?,
            sockets_per_object_max: at_least_one(
                "sockets_per_object_max",
                self.sockets_per_object_max.unwrap_or(32_768),
            )?,
            connections_per_second_max: rate(
                "connections_per_second_max",
                self.connections_per_second_max.unwrap_or(20_000),
            )?,
            messages_per_second_max: rate(
                "messages_per_second_max",
                self.messages_per_second_max.unwrap_or(131_072),
            )?,
            bytes_per_second_max: NonZeroU64::new(self.bytes_per_second_max.unwrap_or(128 << 20))
                .filter(|bytes| bytes.get() >= BYTES_PER_SECOND_MIN)
                .ok_or(SettingsError::Range {
                    name: "bytes_per_second_max",
                    bound: "at least 1024",
                })?,
            handshake_timeout: self.handshake_timeout.unwrap_or(Duration::from_secs(5)),
            slow_reader_timeout: self.slow_reader_timeout.unwrap_or(Duration::from_secs(60)),
        };
        if limits.handshake_timeout < HANDSHAKE_TIMEOUT_MIN {
            return Err(SettingsError::Range { name: "handshake_timeout", bound: "at least 1s" });
        }
        if limits.slow_reader_timeout < SLOW_READER_TIMEOUT_MIN {
            return Err(SettingsError::Range { name: "slow_reader_timeout", bound: "at least 1s" });
        }
        Ok(limits)
    }
}

impl Limits {
    /// Who may open a socket, if there may be so many in all.
    pub(crate) fn admission(&self, sockets_max: usize) -> AdmissionLimits {
        let half = u32::try_from(sockets_max.div_ceil(2)).unwrap_or(u32::MAX);
        let half = NonZeroU32::new(half).unwrap_or(NonZeroU32::MIN);
        AdmissionLimits {
            sockets_max,
            per_address_max: self.sockets_per_address_max.unwrap_or(half),
            per_user_max: self.sockets_per_user_max,
            per_object_max: self.sockets_per_object_max,
            connection_rate: Rate::per_second(self.connections_per_second_max),
        }
    }

    /// How many messages a socket may send.
    pub(crate) fn message_rate(&self) -> Rate {
        Rate::per_second(self.messages_per_second_max)
    }

    /// How many bytes a socket may send whose messages have at most so many.
    pub(crate) fn byte_rate(&self, message_bytes_max: usize) -> Rate {
        let message_bytes = u64::try_from(message_bytes_max).unwrap_or(u64::MAX);
        Rate::per_second(self.bytes_per_second_max)
            .with_burst_of(message_bytes.saturating_mul(BYTES_ON_WIRE_PER_BYTE))
    }
}

fn at_least_one(name: &'static str, value: u32) -> Result<NonZeroU32, SettingsError> {
    NonZeroU32::new(value).ok_or(SettingsError::Range { name, bound: "at least 1" })
}

fn rate(name: &'static str, value: u32) -> Result<NonZeroU64, SettingsError> {
    at_least_one(name, value)
        .ok()
        .filter(|value| value.get() <= RATE_CEILING)
        .map(NonZeroU64::from)
        .ok_or(SettingsError::Range { name, bound: "1 to 10000000" })
}
