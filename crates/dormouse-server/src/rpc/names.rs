//! Which method a path names.

use std::sync::Arc;

use dormouse::{Error, Kind, Kinds, MethodKind, SUBSCRIPTION};
use dormouse_node::Node;

/// Which set of names a path is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// `<kind>.<method>`.
    Rpc,
    /// The notes' flat names.
    Flat,
}

/// The flat names, and the methods of `note` behind them.
const FLAT: [(&str, &str); 7] = [
    ("createNote", "create"),
    ("updateNote", "update"),
    ("revertNote", "revert"),
    ("deleteNote", "delete"),
    ("getNote", "get"),
    ("getNoteHistory", "history"),
    ("listNotes", "list"),
];

/// The kind behind the flat names.
const FLAT_KIND: &str = "note";

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Procedure<'a> {
    /// A method that exists.
    Method { kind: &'a Arc<Kind>, name: &'a str, method: MethodKind },
    /// The events of one object.
    Subscription { kind: &'a Arc<Kind> },
}

/// A flat name, and the method behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlatName {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) method: &'static str,
}

impl Names {
    /// The flat names of methods that these kinds have.
    pub(crate) fn flat(kinds: &Kinds) -> impl Iterator<Item = FlatName> {
        let kind = kinds.get(FLAT_KIND);
        FLAT.into_iter()
            .filter(move |(_, method)| kind.is_some_and(|kind| kind.method(method).is_some()))
            .map(|(name, method)| FlatName { name, kind: FLAT_KIND, method })
    }

    /// Finds what `path` names.
    ///
    /// # Errors
    ///
    /// NOT_FOUND in the words that tRPC's own servers use.
    pub(crate) fn find<'a>(self, node: &'a Node, path: &'a str) -> Result<Procedure<'a>, Error> {
        let (kind, name) = match self {
            Names::Rpc => path.split_once('.'),
            Names::Flat => {
                FLAT.iter().find(|(flat, _)| *flat == path).map(|(_, method)| (FLAT_KIND, *method))
            }
        }
        .ok_or_else(|| no_procedure(path))?;
        let kind = node.kinds().public(kind).ok_or_else(|| no_procedure(path))?;
        if name == SUBSCRIPTION {
            return Ok(Procedure::Subscription { kind });
        }
        let method = kind.method(name).ok_or_else(|| no_procedure(path))?;
        Ok(Procedure::Method { kind, name, method })
    }
}

fn no_procedure(path: &str) -> Error {
    Error::not_found(format!("No procedure found on path \"{path}\""))
}
