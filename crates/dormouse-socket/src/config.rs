//! The limits of a hub.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::rate::Rate;

/// Limits and times of one hub. Memory per socket is bounded by their sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubConfig {
    /// Longest message a client may send, in bytes over all fragments; past it close 1009. A socket
    /// holds up to this much of an unfinished message.
    pub message_bytes_max: usize,
    /// Bytes of events that wait for a socket before it leaves push mode. A batch that is larger by
    /// itself is taken when nothing else waits.
    pub queue_bytes_max: usize,
    /// Bytes of direct frames that wait for a socket; past it close 1013. A socket with more than
    /// half of it waiting is not read. A frame that is larger by itself is taken when nothing else
    /// waits.
    pub direct_bytes_max: usize,
    /// A socket that is behind is refilled once no more than this many bytes of events wait.
    pub refill_below_bytes: usize,
    /// Messages of one socket that may wait for their answers before it is not read any more.
    pub in_flight_max: u32,
    /// How many frames a client may send, fragments and control frames included; past it close 1013.
    pub message_rate: Rate,
    /// How many bytes a client may send, frame headers included; past it close 1013. Its
    /// burst should hold a message of the largest size.
    pub byte_rate: Rate,
    /// How long a socket may be behind the tail, or leave what waits for it unread; past it close
    /// 1013.
    pub behind_max: Duration,
    /// Time between two pings to a socket. One that was not heard from in between is closed. The
    /// first ping comes one to two heartbeats after the socket was accepted.
    pub heartbeat: Duration,
    /// How long a socket is kept for the client's part of the closing handshake.
    pub close_wait: Duration,
}

/// More than one object answers, so only a client that waits for no answer can get there.
const MESSAGES_PER_SECOND: NonZeroU64 = NonZeroU64::new(50_000).expect("it is not zero");

/// What a link of 1 Gbit/s carries.
const BYTES_PER_SECOND: NonZeroU64 = NonZeroU64::new(128 << 20).expect("it is not zero");

impl Default for HubConfig {
    fn default() -> HubConfig {
        HubConfig {
            message_bytes_max: 1024 * 1024,
            queue_bytes_max: 1024 * 1024,
            direct_bytes_max: 4 * 1024 * 1024,
            refill_below_bytes: 64 * 1024,
            in_flight_max: 64,
            message_rate: Rate::per_second(MESSAGES_PER_SECOND),
            byte_rate: Rate::per_second(BYTES_PER_SECOND),
            behind_max: Duration::from_secs(60),
            heartbeat: Duration::from_secs(30),
            close_wait: Duration::from_secs(5),
        }
    }
}
