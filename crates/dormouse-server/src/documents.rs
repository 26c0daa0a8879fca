//! What the server tells of its kinds to those who write clients: TypeScript, OpenAPI, AsyncAPI.
//!
//! All of it is made from the JSON Schema of the kinds' own types, which `serde` reads and writes them by.

mod asyncapi;
mod openapi;
mod types;
mod typescript;
mod vocabulary;

use bytes::Bytes;
use dormouse::Kinds;

pub(crate) use crate::documents::types::run;

/// The documents that the server gives, as text of JSON.
#[derive(Clone, Debug)]
pub(crate) struct Documents {
    pub(crate) openapi: Bytes,
    pub(crate) asyncapi: Bytes,
}

impl Documents {
    /// Describes these kinds.
    pub(crate) fn of(kinds: &Kinds) -> Documents {
        Documents {
            openapi: openapi::document(kinds).to_string().into(),
            asyncapi: asyncapi::document(kinds).to_string().into(),
        }
    }
}
