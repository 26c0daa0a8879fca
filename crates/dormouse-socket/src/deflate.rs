//! permessage-deflate (RFC 7692), without context takeover in either direction.
//!
//! Every message is compressed by itself, so a socket that negotiated it costs nothing while it is
//! idle, one compressor and one inflater per hub serve all sockets, and the frames of a broadcast
//! are compressed once and shared.

mod deflater;
mod inflater;
mod offer;

pub(crate) use self::deflater::Deflater;
pub use self::inflater::Inflater;
pub use self::offer::Deflate;
pub(crate) use self::offer::negotiate;

/// Name of the extension in the handshake.
pub(crate) const EXTENSION: &str = "permessage-deflate";

/// What ends a flushed message. It is left out on the wire.
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// Memory that a compressor's or inflater's output keeps between two messages.
const SCRATCH_BYTES_KEPT: usize = 64 * 1024;

/// How far back in a message its compressed form may refer.
///
/// Clients may ask for any size. Three are enough to keep to what they ask for, and few enough that
/// what is broadcast is hardly ever compressed more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    /// 512 bytes, for clients that take 9 to 11 bits.
    Tiny,
    /// 4 KiB, for clients that take 12 to 14 bits.
    Small,
    /// 32 KiB, the largest there is.
    Full,
}

impl Window {
    /// Number of sizes.
    pub(crate) const COUNT: usize = 3;

    /// The largest window for a client that takes so many bits. `None`: 8 bits, which no compressor
    /// here can keep to, or a number that means nothing.
    const fn within(bits: u8) -> Option<Window> {
        match bits {
            9..=11 => Some(Window::Tiny),
            12..=14 => Some(Window::Small),
            15 => Some(Window::Full),
            _ => None,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Window::Tiny => 9,
            Window::Small => 12,
            Window::Full => 15,
        }
    }

    /// Its place in a list of all sizes.
    pub(crate) const fn index(self) -> usize {
        match self {
            Window::Tiny => 0,
            Window::Small => 1,
            Window::Full => 2,
        }
    }
}
