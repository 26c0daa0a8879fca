//! The kinds that come with Dormouse. Each module can be read on its own and is an example of how
//! to write one.

pub mod channel;
pub mod counter;
pub mod note;

use dormouse::{KindError, Kinds};

pub use crate::channel::{Channel, ChannelShard};
pub use crate::counter::Counter;
pub use crate::note::Note;

/// All of them, ready for kinds of one's own beside them.
///
/// # Errors
///
/// None: they are valid, as a test shows.
pub fn all() -> Result<Kinds, KindError> {
    Kinds::new()
        .register::<Counter>()?
        .register::<Note>()?
        .register::<Channel>()?
        .register::<ChannelShard>()
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_kinds_are_valid_and_shards_are_not_for_clients() {
        let kinds = super::all().unwrap();

        let public: Vec<&str> = kinds.all_public().map(|kind| kind.name()).collect();
        assert_eq!(public, ["channel", "counter", "note"]);
    }
}
