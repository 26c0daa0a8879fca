//! Why a connection ends: what goes over the wire, and what its owner is told.

use std::fmt;

use crate::frame::ProtocolError;

/// A status code that may stand in a close frame.
///
/// Codes that only describe a connection, such as 1006, cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// 1001: the page or the server goes away.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// 1002: the peer broke RFC 6455.
    pub const PROTOCOL: CloseCode = CloseCode(1002);
    /// 1003: a message of a type that is not supported, such as binary.
    pub const UNSUPPORTED: CloseCode = CloseCode(1003);
    /// 1007: text that is not UTF-8.
    pub const INVALID_DATA: CloseCode = CloseCode(1007);
    /// 1008: not allowed, or not allowed any more.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// 1009: a message over the size limit.
    pub const TOO_LARGE: CloseCode = CloseCode(1009);
    /// 1011: the server failed on this connection.
    pub const FAILURE: CloseCode = CloseCode(1011);
    /// 1012: the server restarts; reconnect and resume.
    pub const RESTART: CloseCode = CloseCode(1012);
    /// 1013: too slow, or the server is overloaded; reconnect later and resume.
    pub const OVERLOADED: CloseCode = CloseCode(1013);

    /// Builds a code, or gives `None` if it must not stand in a close frame: only 1000 to 1003,
    /// 1007 to 1014 (registered) and 3000 to 4999 (libraries and applications) may.
    pub const fn new(code: u16) -> Option<CloseCode> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(CloseCode(code)),
            _ => None,
        }
    }

    /// The number as it goes over the wire.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a socket was closed, as its owner is told once per socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// The client sent a close frame, with this code if it gave one.
    Peer(Option<CloseCode>),
    /// The connection ended without a close frame.
    Lost,
    /// Nothing was received between one ping and the next.
    Unresponsive,
    /// The client broke the protocol or a limit of it.
    Protocol(ProtocolError),
    /// The client did not read fast enough for too long, or left too many answers unread.
    TooSlow,
    /// The client sent more than it may in so little time.
    TooFast(Flood),
    /// The owner asked for it, with this code.
    Owner(CloseCode),
    /// The hub was told to drain.
    Drained,
}

/// Of what a client sent too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// Frames, however small.
    Messages,
    /// Bytes.
    Bytes,
}

impl CloseCause {
    /// A label from a closed set, for metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            CloseCause::Peer(_) => "peer",
            CloseCause::Lost => "lost",
            CloseCause::Unresponsive => "unresponsive",
            CloseCause::Protocol(_) => "protocol",
            CloseCause::TooSlow => "too_slow",
            CloseCause::TooFast(Flood::Messages) => "message_rate",
            CloseCause::TooFast(Flood::Bytes) => "byte_rate",
            CloseCause::Owner(_) => "owner",
            CloseCause::Drained => "drained",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_only_describe_a_connection_cannot_be_built() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, u16::MAX] {
            assert_eq!(CloseCode::new(code), None, "{code}");
        }
        for code in [1000, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999] {
            assert_eq!(CloseCode::new(code).map(CloseCode::get), Some(code));
        }
    }
}
