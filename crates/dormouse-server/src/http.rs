//! Everything over plain HTTP: the page, operations, RPC, and the reason why a socket is refused.

mod app;
mod arrival;
pub(crate) mod body;
mod errors;
mod guard;
mod operations;
mod page;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use dormouse_node::Node;
use dormouse_socket::OriginRules;

use crate::admission::Admission;
use crate::auth::Auth;
use crate::documents::Documents;
use crate::settings::Durability;

pub(crate) use crate::http::app::configure;
pub(crate) use crate::http::arrival::Arrival;
pub(crate) use crate::http::errors::Problem;
pub(crate) use crate::http::guard::guard;

/// What every request may need.
#[derive(Clone, Debug)]
pub(crate) struct FrontDoor {
    pub(crate) node: Node,
    pub(crate) origins: Arc<OriginRules>,
    pub(crate) durability: Durability,
    pub(crate) documents: Documents,
    pub(crate) echo: bool,
    /// Whether sockets may agree on compression.
    pub(crate) compression: bool,
    pub(crate) admission: Arc<Admission>,
    pub(crate) auth: Arc<Auth>,
    /// Set when the server begins to stop.
    pub(crate) is_draining: Arc<AtomicBool>,
}
