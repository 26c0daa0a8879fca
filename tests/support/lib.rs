//! The harness of the end-to-end tests: real processes, real sockets, real files.
//!
//! A test starts a [`Server`] on a port of its own and a data folder of its own, talks to it as a
//! stranger would, and reads what came back. Nothing here links against the server: what is tested
//! is the binary and the wire.
//!
//! # How tests wait
//!
//! A test waits by reading a frame or an answer, or with [`Server::eventually`]. Every wait ends
//! after [`WAIT_MAX`], and a server lives no longer than [`LIFE_MAX`], so no test can hang. Waits that
//! run out, and answers that break the contract, are panics: the message says who waited for what,
//! and the server's log is printed below it.

mod chat;
mod data_folder;
mod deadline;
mod event_stream;
mod failing_disk;
mod folder;
mod frames;
mod http;
mod key_server;
mod metrics;
mod presence;
mod process;
mod random;
mod rpc;
mod server;
mod socket;
mod tls;
mod token;
mod watcher;

pub use crate::chat::{Member, SECRET, token_of};
pub use crate::data_folder::DataFolder;
pub use crate::deadline::{LIFE_MAX, WAIT_MAX, within};
pub use crate::event_stream::{EventStream, StreamEvent};
pub use crate::failing_disk::{FailingDisk, Fault, SmallDisk};
pub use crate::folder::Folder;
pub use crate::frames::{ClientFrame, Frame, Opcode, RawSocket};
pub use crate::http::{Connection, Request, Response};
pub use crate::key_server::KeyServer;
pub use crate::metrics::{Metrics, Sample};
pub use crate::presence::Picture;
pub use crate::process::{Finished, Process, dormouse_program};
pub use crate::random::Random;
pub use crate::rpc::{Answer, Client, ERROR_CODES, Envelope, ErrorRow, RpcError, percent_encode};
pub use crate::server::{Server, ServerBuilder};
pub use crate::socket::{Closed, Socket};
pub use crate::tls::Certificate;
pub use crate::token::{Signer, in_seconds};
pub use crate::watcher::{Seen, Watcher};
