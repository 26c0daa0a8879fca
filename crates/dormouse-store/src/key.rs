//! The name of an object.

use std::fmt;
use std::sync::Arc;

/// Most characters an id may have.
pub const ID_CHARS_MAX: usize = 256;

/// Most characters a kind may have.
pub const KIND_CHARS_MAX: usize = 32;

/// Names one object: its kind, and its id within that kind.
///
/// An id may contain anything but control characters, because it never becomes part of a path.
/// Cloning is two reference counts.
///
/// # Invariants
///
/// `kind` matches `[a-z][a-z0-9-]{0,31}`; `id` has 1 to [`ID_CHARS_MAX`] characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    kind: Arc<str>,
    id: Arc<str>,
}

/// Why a kind and an id do not name an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The kind is not a lower-case word.
    #[error(
        "a kind is 1 to {KIND_CHARS_MAX} characters of a-z, 0-9 and '-', and starts with a letter"
    )]
    Kind,
    /// The id is empty.
    #[error("an id has at least one character")]
    IdEmpty,
    /// The id is too long.
    #[error("an id has at most {ID_CHARS_MAX} characters, this one has more")]
    IdTooLong,
    /// The id has a control character in it.
    #[error("an id has no control characters")]
    IdControl,
}

impl Key {
    /// Makes a key from parts that may come from the network.
    ///
    /// # Errors
    ///
    /// One variant of [`KeyError`] per rule that the parts break.
    pub fn new(kind: impl Into<Arc<str>>, id: impl Into<Arc<str>>) -> Result<Key, KeyError> {
        let (kind, id) = (kind.into(), id.into());
        if !is_kind(&kind) {
            return Err(KeyError::Kind);
        }
        if id.is_empty() {
            return Err(KeyError::IdEmpty);
        }
        // A character has at most four bytes, so this bounds the count below on hostile input.
        if id.len() > ID_CHARS_MAX * 4 || id.chars().count() > ID_CHARS_MAX {
            return Err(KeyError::IdTooLong);
        }
        if id.chars().any(char::is_control) {
            return Err(KeyError::IdControl);
        }
        Ok(Key { kind, id })
    }

    /// The type of the object, such as `note`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The name of the object within its kind.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.id)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// Whether `kind` may name a kind. A kind becomes the name of a folder.
pub(crate) fn is_kind(kind: &str) -> bool {
    kind.len() <= KIND_CHARS_MAX
        && kind.starts_with(|first: char| first.is_ascii_lowercase())
        && kind.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_ids_are_names_like_any_other() {
        for id in ["../../etc/passwd", "a/b", "🦦", " ", "'; DROP TABLE x"] {
            assert_eq!(Key::new("note", id).expect("id is allowed").id(), id);
        }
    }

    #[test]
    fn ids_that_are_empty_long_or_have_control_characters_are_refused() {
        assert_eq!(Key::new("note", ""), Err(KeyError::IdEmpty));
        assert_eq!(Key::new("note", "a\0b"), Err(KeyError::IdControl));
        assert_eq!(Key::new("note", "x".repeat(257)), Err(KeyError::IdTooLong));
        assert_eq!(Key::new("note", "x".repeat(10_000)), Err(KeyError::IdTooLong));
        assert!(Key::new("note", "ü".repeat(256)).is_ok());
    }

    #[test]
    fn kinds_that_would_be_odd_folders_are_refused() {
        for kind in ["", "Note", "-a", "1a", "a/b", "..", "a_b", &"a".repeat(33)] {
            assert_eq!(Key::new(kind, "x"), Err(KeyError::Kind), "{kind}");
        }
        assert!(Key::new("a".repeat(32), "x").is_ok());
    }
}
