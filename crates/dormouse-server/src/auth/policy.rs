//! What each kind asks of its callers.

use std::collections::BTreeMap;

use dormouse::{Kinds, MethodKind, READ, WRITE};
use serde::Deserialize;

/// When a kind needs a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Policy {
    /// Never.
    Open,
    /// To change an object. Queries and sockets need none.
    Read,
    /// Always.
    Token,
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Ask a query, or listen.
    Read,
    /// Change something.
    Write,
}

/// The policies of all kinds.
#[derive(Debug)]
pub(crate) struct Policies {
    by_kind: BTreeMap<&'static str, Policy>,
    fallback: Policy,
}

/// The settings have a policy for a kind that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("`auth.kinds` names {name:?}, which is no kind; there are: {known}")]
pub(crate) struct UnknownKind {
    name: String,
    known: String,
}

impl Policy {
    /// Whether this access needs a token.
    pub(super) const fn needs_token(self, access: Access) -> bool {
        match (self, access) {
            (Policy::Open, _) | (Policy::Read, Access::Read) => false,
            (Policy::Read, Access::Write) | (Policy::Token, _) => true,
        }
    }
}

impl Access {
    /// What a method of this sort does with objects.
    pub(crate) const fn of(method: MethodKind) -> Access {
        match method {
            MethodKind::Query | MethodKind::Listing => Access::Read,
            MethodKind::Mutation | MethodKind::Creation => Access::Write,
        }
    }

    /// The permission that a token must have for it.
    pub(crate) const fn permission(self) -> &'static str {
        match self {
            Access::Read => READ,
            Access::Write => WRITE,
        }
    }
}

impl Policies {
    /// Those of the settings, and `fallback` for all other kinds.
    ///
    /// # Errors
    ///
    /// The settings name a kind that does not exist.
    pub(crate) fn new(
        kinds: &Kinds,
        mut named: BTreeMap<String, Policy>,
        fallback: Policy,
    ) -> Result<Policies, UnknownKind> {
        let names = || kinds.all_public().map(|kind| kind.name());
        let by_kind =
            names().filter_map(|kind| named.remove(kind).map(|policy| (kind, policy))).collect();
        match named.pop_first() {
            Some((name, _)) => {
                let known = names().collect::<Vec<_>>().join(", ");
                Err(UnknownKind { name, known })
            }
            None => Ok(Policies { by_kind, fallback }),
        }
    }

    pub(super) fn of(&self, kind: &str) -> Policy {
        self.by_kind.get(kind).copied().unwrap_or(self.fallback)
    }
}
