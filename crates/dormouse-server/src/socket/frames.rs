//! What sockets say and hear beside events: calls, results, filters, pings, errors.

use std::fmt;

use dormouse::{Error, Timestamp};
use dormouse_node::Answered;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::json::{self, JsonError};

/// A message of a client.
#[derive(Debug)]
pub(crate) enum ClientMessage {
    Ping,
    Filter(FilterMessage),
    Auth(AuthMessage),
    Call(CallMessage),
    /// Of a type that the object's kind may know.
    OfKind {
        /// The type.
        name: String,
        /// The rest.
        fields: Value,
    },
}

/// `{"type":"filter","events":[…]}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FilterMessage {
    pub(crate) events: Vec<String>,
}

/// `{"type":"auth","token"}`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthMessage {
    pub(crate) token: String,
}

impl fmt::Debug for AuthMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthMessage").finish_non_exhaustive()
    }
}

/// `{"type":"call","id","method","params","key"}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallMessage {
    pub(crate) id: CallId,
    pub(crate) method: String,
    #[serde(default)]
    pub(crate) params: Option<Value>,
    #[serde(default)]
    pub(crate) key: Option<String>,
}

/// What a client calls its call: a number or a string, given back as it was.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum CallId {
    Number(serde_json::Number),
    Text(String),
}

/// A message that cannot be carried out.
#[derive(Debug)]
pub(crate) struct BadMessage {
    /// The call it belongs to, if that much can be read.
    pub(crate) id: Option<CallId>,
    pub(crate) err: Error,
}

/// Reads a message.
///
/// # Errors
///
/// What to tell the client. Its socket stays open.
pub(crate) fn parse(text: &str) -> Result<ClientMessage, BadMessage> {
    let value = json::parse(text.as_bytes()).map_err(|err| match err {
        JsonError::Syntax(_) => {
            BadMessage::of(Error::new(dormouse::ErrorCode::ParseError, "Invalid message format"))
        }
        JsonError::TooDeep => BadMessage::of(Error::bad_request(err.to_string())),
    })?;
    let Value::Object(mut fields) = value else {
        return Err(BadMessage::of(Error::bad_request("a message is a JSON object with a `type`")));
    };
    match fields.remove("type") {
        // Whatever else a ping carries is the client's own business.
        Some(Value::String(name)) if name == "ping" => Ok(ClientMessage::Ping),
        Some(Value::String(name)) if name == "filter" => {
            decode(fields).map(ClientMessage::Filter).map_err(BadMessage::of)
        }
        Some(Value::String(name)) if name == "auth" => {
            decode(fields).map(ClientMessage::Auth).map_err(BadMessage::of)
        }
        Some(Value::String(name)) if name == "call" => {
            let id = fields.get("id").and_then(|id| CallId::deserialize(id).ok());
            decode(fields).map(ClientMessage::Call).map_err(|err| BadMessage { id, err })
        }
        Some(Value::String(name)) => {
            Ok(ClientMessage::OfKind { name, fields: Value::Object(fields) })
        }
        _ => Err(BadMessage::of(unknown_type())),
    }
}

/// A message of a type that nobody knows.
pub(crate) fn unknown_type() -> Error {
    Error::bad_request("Unknown message type")
}

fn decode<'de, T: Deserialize<'de>>(fields: Map<String, Value>) -> Result<T, Error> {
    T::deserialize(Value::Object(fields)).map_err(|err| Error::bad_request(err.to_string()))
}

impl BadMessage {
    fn of(err: Error) -> BadMessage {
        BadMessage { id: None, err }
    }
}

impl CallId {
    fn json(&self) -> Value {
        match self {
            CallId::Number(number) => Value::Number(number.clone()),
            CallId::Text(text) => Value::String(text.clone()),
        }
    }
}

/// The answer to a ping.
pub(crate) fn pong(now: Timestamp, offset: u64) -> String {
    json!({ "type": "pong", "timestamp": now, "offset": offset }).to_string()
}

/// The answer to a filter.
pub(crate) fn filtered(events: &[String], offset: u64) -> String {
    json!({ "type": "filtered", "events": events, "offset": offset }).to_string()
}

/// The answer to a newer token that was taken.
pub(crate) fn authorized(expires_at: Timestamp) -> String {
    json!({ "type": "authorized", "expiresAt": expires_at }).to_string()
}

/// The answer to a call: its result, which is JSON already, or why there is none.
pub(crate) fn answer(id: &CallId, answered: &Answered) -> String {
    match &answered.result {
        Ok(data) => {
            let replayed = if answered.is_replay { r#","replayed":true"# } else { "" };
            format!(r#"{{"type":"result","id":{},"data":{data}{replayed}}}"#, id.json())
        }
        Err(err) => error(Some(id), err),
    }
}

/// An error, of a call or of a message that was none.
pub(crate) fn error(id: Option<&CallId>, err: &Error) -> String {
    let mut frame = Map::new();
    frame.insert("type".to_owned(), "error".into());
    if let Some(id) = id {
        frame.insert("id".to_owned(), id.json());
    }
    frame.insert("code".to_owned(), err.code().as_str().into());
    frame.insert("message".to_owned(), err.message().into());
    if !err.data().is_empty() {
        frame.insert("data".to_owned(), Value::Object(err.data().clone()));
    }
    Value::Object(frame).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (Option<CallId>, String) {
        let BadMessage { id, err } = parse(text).unwrap_err();
        (id, err.message().to_owned())
    }

    #[test]
    fn a_ping_is_an_object_of_type_ping_whatever_else_it_has() {
        assert!(matches!(parse(r#"{"n":1,"type":"ping"}"#), Ok(ClientMessage::Ping)));
    }

    #[test]
    fn a_call_keeps_its_id_also_when_it_is_wrong() {
        let id = Some(CallId::Text("a".to_owned()));

        let (wrong_id, message) = refused(r#"{"type":"call","id":"a","method":1}"#);
        assert_eq!(wrong_id, id);
        assert!(message.contains("expected a string"), "{message}");
        let (unknown_id, message) = refused(r#"{"type":"call","id":"a","method":"m","args":[]}"#);
        assert_eq!(unknown_id, id);
        assert!(message.contains("unknown field `args`"), "{message}");
    }

    #[test]
    fn what_is_no_message_is_answered_in_words() {
        for (text, expected) in [
            ("{", "Invalid message format"),
            ("[]", "a message is a JSON object with a `type`"),
            ("{}", "Unknown message type"),
            (r#"{"type":7}"#, "Unknown message type"),
        ] {
            assert_eq!(refused(text), (None, expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn an_answer_gives_the_id_back_as_it_was() {
        let id = CallId::Number(serde_json::Number::from(7));
        let answered =
            |result, is_replay| Answered { result, tail: dormouse::Offset::ZERO, is_replay };
        let result = || Ok("{\"value\":1}".to_owned());

        assert_eq!(
            answer(&id, &answered(result(), false)),
            r#"{"type":"result","id":7,"data":{"value":1}}"#
        );
        assert_eq!(
            answer(&id, &answered(result(), true)),
            r#"{"type":"result","id":7,"data":{"value":1},"replayed":true}"#
        );
        let failed = answer(&id, &answered(Err(Error::not_found("no such note")), false));
        assert_eq!(
            serde_json::from_str::<Value>(&failed).unwrap(),
            json!({"type": "error", "id": 7, "code": "NOT_FOUND", "message": "no such note"})
        );
    }
}
