//! The kinds that come with Dormouse. Each module can be read on its own and is an example of how
//! to write one.

pub mod channel;
pub mod counter;
pub mod note;

pub use crate::channel::{Channel, ChannelShard};
pub use crate::counter::Counter;
pub use crate::note::Note;
