//! Events as sockets see them.

use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::event_log::Offset;
use crate::object::Event;

/// Most bytes of one event's JSON.
const EVENT_BYTES_MAX: usize = 8 << 20;

/// Most bytes of the key of an event of which only the latest counts: the longest id of a user fits.
const LATEST_KEY_BYTES_MAX: usize = 1024;

/// An event as sockets see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedEvent {
    /// What becomes of it when a reader is behind.
    pub class: EventClass,
    /// The JSON text; an event of the log has its `offset` in it.
    pub json: String,
}

/// What becomes of an event when a reader is behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventClass {
    /// It is read from the log later.
    Log {
        /// Its place there.
        offset: Offset,
        /// Its type's place in the kind's [`EventTypes`](crate::EventTypes); `None` for a type that
        /// an older version of the kind wrote. No filter hides that.
        type_index: Option<u8>,
    },
    /// It waits until a later one of the same key takes its place.
    Latest {
        /// What it is the latest of.
        key: Arc<str>,
    },
    /// It is dropped.
    Lossy,
}

impl EncodedEvent {
    pub(crate) fn logged(offset: Offset, type_index: Option<u8>, body: &str) -> EncodedEvent {
        let json = splice(body, &format!(r#""offset":{}"#, offset.get()));
        EncodedEvent { class: EventClass::Log { offset, type_index }, json }
    }

    /// An event that a reader which is behind misses.
    ///
    /// # Errors
    ///
    /// The event is too large.
    pub(crate) fn lossy(event: &impl Event) -> Result<EncodedEvent, Error> {
        Ok(EncodedEvent { class: EventClass::Lossy, json: encode(event)? })
    }

    /// An event of which only the newest of its type and `key` counts.
    ///
    /// # Errors
    ///
    /// The event or the key is too large.
    pub(crate) fn latest(key: &str, event: &impl Event) -> Result<EncodedEvent, Error> {
        if key.len() > LATEST_KEY_BYTES_MAX {
            return Err(Error::internal(format!(
                "a key of {} bytes is over the limit of {LATEST_KEY_BYTES_MAX}",
                key.len()
            )));
        }
        let json = encode(event)?;
        let key = format!("{} {key}", type_of(&json)?).into();
        Ok(EncodedEvent { class: EventClass::Latest { key }, json })
    }
}

/// The JSON of an event.
///
/// # Errors
///
/// It is too large.
pub(crate) fn encode(event: &impl Event) -> Result<String, Error> {
    let json = serde_json::to_string(event).map_err(Error::internal)?;
    if json.len() > EVENT_BYTES_MAX {
        return Err(Error::new(
            ErrorCode::PayloadTooLarge,
            format!("an event of {} bytes is over the limit of {EVENT_BYTES_MAX}", json.len()),
        ));
    }
    Ok(json)
}

/// The `type` of an event's JSON.
///
/// # Errors
///
/// It has none in front, as serde writes it for an internally tagged enum.
pub(crate) fn type_of(json: &str) -> Result<&str, Error> {
    leading_type(json)
        .ok_or_else(|| Error::internal("an event must serialise as an object tagged by `type`"))
}

fn leading_type(body: &str) -> Option<&str> {
    let name = body.strip_prefix(r#"{"type":""#)?.split('"').next()?;
    // A type with an escape in it would be cut short; kinds do not have such names.
    (!name.contains('\\')).then_some(name)
}

/// Adds fields at the end of a JSON object that has at least one field.
pub(crate) fn splice(object: &str, fields: &str) -> String {
    let open = object.strip_suffix('}').unwrap_or(object);
    let mut spliced = String::with_capacity(object.len() + fields.len() + 1);
    spliced.push_str(open);
    spliced.push(',');
    spliced.push_str(fields);
    spliced.push('}');
    spliced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_read_from_the_front_of_an_event() {
        assert_eq!(leading_type(r#"{"type":"reset","value":0}"#), Some("reset"));
        assert_eq!(leading_type(r#"{"value":0,"type":"reset"}"#), None);
        assert_eq!(leading_type(r#"{"type":"a\"b"}"#), None);
        assert_eq!(leading_type("[]"), None);
    }
}
