//! What the server tells of its kinds to those who write clients: TypeScript, OpenAPI, AsyncAPI.
//!
//! All of it is made from the JSON Schema of the kinds' own types, which `serde` reads and writes them by.

mod types;
mod typescript;
mod vocabulary;

pub(crate) use crate::documents::types::run;
