//! The actors: routers that wake objects, object actors on lanes, the output gate, sessions.
//!
//! Callers outside see only [`Node`] and [`ObjectRef`]. The way of a call:
//! [`Node::call`] puts an envelope into the object's own queue; if the object sleeps, its lane's
//! router actor starts it; the object actor takes one envelope at a time, runs its handler in
//! one transaction, and gives the outcome to the lane's gate; the gate releases it once the
//! journal has made the transaction durable.
//!
//! # Invariants
//!
//! * **One writer.** Only its lane's router starts an object's actor, once per wake; a key is always on
//!   the same lane, and its next actor starts there after the last one has closed the file.
//! * **Commit before release.** Nothing of a transaction, nor of a later handler that could have
//!   seen it, leaves the gate before that transaction is durable.
//! * **Per-object order.** The gate is first in, first out.
//! * **No lost envelope.** Envelopes are in the object's queue, never in a mailbox. Leaving
//!   succeeds only under the queue's lock, when the queue is empty. Dropping a [`Reply`] answers it.
//! * **A parcel is settled.** Whatever becomes of messages that left an object, it is told: by a receipt,
//!   or by dropping the [`Courier`](courier::Courier).
//! * **Sockets outlive objects.** The session table belongs to the entry, not to the actor.

mod config;
mod node;
mod object_ref;

mod entry;
mod envelope;
mod sessions;

mod alarm_clock;
mod courier;
mod durable;
mod gate;
mod jobs;
mod lane;
mod object_actor;
mod presence;
mod router;
mod session_clock;
mod shared;
mod stats;

pub use crate::config::NodeConfig;
pub use crate::envelope::{Answered, Reply};
pub use crate::node::{Knowledge, Node, ObjectStatus};
pub use crate::object_ref::ObjectRef;
pub use crate::sessions::Arrival;
pub use crate::stats::NodeStats;
