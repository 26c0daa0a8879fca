//! What is known about stored objects, as JSON.

use dormouse::{Kinds, Timestamp};
use dormouse_node::Node;
use dormouse_store::{CatalogEntry, Key, Store};
use serde::Serialize;
use serde_json::Value;

use crate::objects::control::Request;

/// One object, as `dormouse objects` prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    kind: String,
    id: String,
    created_at: Timestamp,
    last_active_at: Timestamp,
    size_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    /// Only a running server knows the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    resident: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockets: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queued: Option<usize>,
}

/// Answers a request; the error is a sentence. Blocks on the catalog.
pub(super) fn answer(
    store: &Store,
    kinds: &Kinds,
    node: Option<&Node>,
    request: &Request,
) -> Result<Vec<Value>, String> {
    match request {
        Request::List { kind, after, limit } => {
            let names: Vec<&str> = match kind {
                Some(kind) => vec![kind.as_str()],
                None => kinds.names().collect(),
            };
            let mut objects = Vec::new();
            for name in names {
                let rows = store
                    .catalog()
                    .list(name, after.as_deref(), *limit, false)
                    .map_err(|err| err.to_string())?;
                for row in rows {
                    objects.push(describe(node, name, &row.id, row.entry, None)?);
                }
            }
            Ok(objects)
        }
        Request::Show { kind, id } => {
            let key = Key::new(kind.as_str(), id.as_str()).map_err(|err| err.to_string())?;
            let entry = store
                .catalog()
                .get(&key)
                .map_err(|err| err.to_string())?
                .ok_or_else(|| format!("there is no object {key}"))?;
            let epoch = store.epoch(&key, 0).to_string();
            Ok(vec![describe(node, kind, id, entry, Some(epoch))?])
        }
    }
}

fn describe(
    node: Option<&Node>,
    kind: &str,
    id: &str,
    entry: CatalogEntry,
    epoch: Option<String>,
) -> Result<Value, String> {
    let key = Key::new(kind, id).map_err(|err| err.to_string())?;
    let status = node.map(|node| node.status(&key));
    let description = Description {
        kind: kind.to_owned(),
        id: id.to_owned(),
        created_at: entry.created_at,
        last_active_at: entry.last_active_at,
        size_bytes: entry.size_bytes,
        summary: entry.summary.and_then(|summary| serde_json::from_str(&summary).ok()),
        epoch,
        resident: status.map(|status| status.is_resident),
        sockets: status.map(|status| status.sessions),
        queued: status.map(|status| status.queued),
    };
    serde_json::to_value(description).map_err(|err| err.to_string())
}
