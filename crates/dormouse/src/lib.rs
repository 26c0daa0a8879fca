//! What the author of a kind uses: [`Object`], [`Cx`], [`Methods`], errors, the event log and the
//! test kit.
//!
//! A *kind* is one Rust type that implements [`Object`]; an *object* is one instance of it, with
//! one SQLite file and one writer. Everything here is synchronous: no runtime, no sockets. The
//! node drives an object through [`Instance`], and so does [`TestObject`], so a test of a kind
//! runs the same code as production.
//!
//! # Invariants
//!
//! * **One handler, one transaction.** A handler that returns `Err` after it wrote, or panics,
//!   leaves no trace in SQLite, and the object's memory is dropped and loaded again.
//! * **Gap-free log.** Offsets rise by exactly 1, in the transaction of the state they describe.
//! * **Reading creates nothing.** An object without a file lives in memory until its first
//!   successful mutation.

mod object;

mod cx;
mod error;
mod kv;
mod methods;
mod relay;
mod session;
mod sql;

mod alarm;
mod delivery;
mod encoded_event;
mod event_log;
mod event_types;
mod idempotency;
mod job;
mod late_table;
mod listing;
mod outbox;
mod page_limit;
mod parcel;
mod random;
mod session_store;
mod session_table;
mod session_view;
mod shards;

mod catch_up;
mod contained;
mod description;
mod instance;
mod kind;
mod kind_settings;
mod kinds;
mod test_object;

pub use dormouse_store::{Clock, Key, KeyError, SystemClock, TestClock, Timestamp};
pub use rusqlite::{Error as SqlError, Row};

pub use crate::alarm::Alarm;
pub use crate::cx::{ATTACHMENT_BYTES_MAX, Cx, SESSION_TAG_CHARS_MAX, SESSION_TAGS_MAX};
pub use crate::delivery::Delivery;
pub use crate::description::{Description, MessageDescription, MethodDescription};
pub use crate::encoded_event::{EncodedEvent, EventClass};
pub use crate::error::{Error, ErrorCode};
pub use crate::event_log::{EventLog, LogLimits, LoggedEvent, Offset};
pub use crate::event_types::{EVENT_TYPES_MAX, EventTypes};
pub use crate::idempotency::IdempotencyKey;
pub use crate::instance::{
    Attach, Attached, Audience, Call, ClientMessage, Effect, Fired, Instance, Outcome, Page,
    Refill, Since,
};
pub use crate::job::{Finished, Job};
pub use crate::kind::{
    Heard, Kind, NAMES_OF_SETTINGS, NewId, Request, Resolved, SUBSCRIPTION, Surroundings,
};
pub use crate::kinds::{KindError, KindSettingsError, Kinds};
pub use crate::kv::{
    KV_KEY_BYTES_MAX, KV_LIST_BYTES_MAX, KV_LIST_ENTRIES_MAX, KV_VALUE_BYTES_MAX, Keys, Kv, KvMut,
    KvPage,
};
pub use crate::listing::{Listed, Listing};
pub use crate::methods::{
    AlarmHandler, DeliveryHandler, Empty, MessageHandler, MethodKind, Methods, RelayHandler,
    Sender, SessionHandler,
};
pub use crate::object::{Event, Object};
pub use crate::outbox::{DeadLetter, MESSAGE_BYTES_MAX, OUTBOX_MESSAGES_MAX};
pub use crate::page_limit::{Cut, PageLimit};
pub use crate::parcel::{Parcel, Receipt, Sequence};
pub use crate::random::Random;
pub use crate::relay::{AnnouncePresence, EncodedRelay, PresenceEvents, Relayed};
pub use crate::session::{Caller, READ, Session, SessionId, User, WRITE};
pub use crate::session_table::{
    Departure, Joined, Left, Online, OnlineUser, SESSION_KEPT, SessionLimits, SessionNotes,
    SessionTable,
};
pub use crate::session_view::SessionView;
pub use crate::sql::{RowsRead, Sql};
pub use crate::test_object::{Answer, TestObject};
