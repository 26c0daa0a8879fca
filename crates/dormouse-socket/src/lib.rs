//! WebSocket transport: handshake, frames, compression, hubs, fan-out, slow readers, heartbeat; and
//! server-sent events, another form of the same sockets.
//!
//! This crate moves bytes and knows no objects, and no JSON but the fixed words with which a stream
//! of tRPC begins and ends. What an object is to the rest of the server is a [`TopicId`] here; what a
//! message means is decided by an [`Owner`].
//!
//! The way of a socket through the crate:
//!
//! 1. [`Handshake::check`] and [`OriginRules::check`] judge the request; [`refuse`] answers it with
//!    an error, [`switch_protocols`] with the 101, and takes the stream out of the HTTP dispatcher.
//!    A request for server-sent events is answered by HTTP itself, and its stream taken out by the
//!    [`Handover`] of its [`Connection`].
//! 2. [`Hub::accept`] gives the stream to the hub of its thread. From here on one task per thread
//!    serves all sockets: there is no task, timer or read buffer per socket.
//! 3. The hub asks its [`Owner`] to attach the socket to its topic. Other threads answer, and
//!    publish, through a [`HubHandle`].
//!
//! # Invariants
//!
//! * **Subscribe at the tail.** A socket receives published events only after the hub has handled
//!   the [`ToHub::Attach`] that reached the tail of the log, so none is lost or doubled. A hole in
//!   the offsets is treated as falling behind and repaired by a refill.
//! * **Whole frames.** A frame of which one byte was written is finished before anything else.
//! * **Direct frames keep.** A direct frame is never dropped while its socket is open. It never
//!   overtakes the event it must follow, nor another direct frame.
//! * **Compression has no memory.** Every message is compressed by itself: sockets hold neither
//!   compressor nor inflater, and what is published is compressed once for all of them.
//! * **Everything is bounded**: by [`HubConfig`] per socket, by [`INBOX_BYTES_MAX`] per hub.

mod batch;
mod close;
mod config;
mod connection;
mod decoder;
mod deflate;
mod event_stream;
mod extensions;
mod form;
mod frame;
mod handshake;
mod hub;
mod id;
mod inbox;
mod latest;
mod mask;
mod origin;
mod outgoing;
mod owner;
mod rate;
mod stats;
mod stream;
mod upgrade;

pub use batch::{Batch, BatchBuilder, To};
pub use close::{CloseCause, CloseCode, Flood};
pub use config::HubConfig;
pub use connection::{Connection, Handover};
pub use decoder::{Decoder, Item, Limits};
pub use deflate::{Deflate, Inflater};
pub use form::Convention;
pub use frame::{ProtocolError, binary_frame, text_frame};
pub use handshake::{Handshake, HandshakeError};
pub use hub::{Accept, Hub};
pub use id::{EventEpoch, EventMask, HubIndex, SocketId, TopicId};
pub use inbox::{HubHandle, HubInbox, INBOX_BYTES_MAX, ToHub, hub_channel};
pub use latest::LATEST_BYTES_MAX;
pub use origin::{OriginError, OriginRuleError, OriginRules};
pub use owner::{Owner, SocketCx};
pub use rate::{Bucket, Rate};
pub use stats::{HubCounters, HubStats};
pub use stream::Stream;
pub use upgrade::{Upgraded, refuse, switch_protocols};
