//! Counters as every server of this tool speaks them: two requests, one socket, one event.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};

use crate::field::Field;
use crate::http::{self, HttpConnection};

/// One change of a counter, as its sockets hear of it.
///
/// A broken chain of `previous_value` to `value` is how a socket finds out that it missed an event
/// or got one twice, and `value - previous_value` says whose call it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) previous_value: i64,
    pub(crate) value: i64,
}

/// Reads [`Change`]s out of text frames. One reader serves all sockets of a thread.
#[derive(Debug)]
pub(crate) struct ChangeReader {
    increment: Field,
    value: Field,
    previous_value: Field,
}

/// Path of a counter's socket.
pub(crate) fn socket_path(name: &str) -> String {
    format!("/ws/counter/{name}")
}

/// Builds the mutation. `name` must need no escaping in JSON or in a URL.
pub(crate) fn increment_request(address: SocketAddr, name: &str, amount: i64) -> Vec<u8> {
    let body = format!(r#"{{"name":"{name}","amount":{amount}}}"#);
    http::post_request(address, "/rpc/counter.increment", &body)
}

/// Builds the query. `name` as in [`increment_request`].
pub(crate) fn get_value_request(address: SocketAddr, name: &str) -> Vec<u8> {
    let input = format!("%7B%22name%22%3A%22{name}%22%7D");
    http::get_request(address, &format!("/rpc/counter.getValue?input={input}"))
}

/// Reads a counter's value through the query.
pub(crate) async fn read_value(
    connection: &mut HttpConnection,
    address: SocketAddr,
    name: &str,
) -> Result<i64> {
    let answer = connection.exchange(&get_value_request(address, name)).await?;
    answered_value(answer.success()?)
}

/// The value in the answer to either request, or in an `initial` frame.
///
/// # Errors
///
/// There is none: not a counter's answer.
pub(crate) fn answered_value(body: &[u8]) -> Result<i64> {
    let value = Field::named(br#""value":"#);
    value
        .number_after(body)
        .map(|(value, _)| value)
        .with_context(|| format!("no value in {}", String::from_utf8_lossy(body)))
}

impl ChangeReader {
    pub(crate) fn new() -> ChangeReader {
        ChangeReader {
            increment: Field::named(br#""type":"increment""#),
            value: Field::named(br#""value":"#),
            previous_value: Field::named(br#""previousValue":"#),
        }
    }

    /// Reads the event in a text frame; `None` if it is something else, such as `initial`.
    pub(crate) fn read(&self, text: &[u8]) -> Option<Change> {
        self.increment.end_in(text)?;
        // The first `"value"` is the new one wherever `metadata`, which repeats it, stands.
        let (value, rest) = self.value.number_after(text)?;
        // Searched from the end of the value, so that more digits in it do not move the place.
        let (previous_value, _) = match self.previous_value.number_after(rest) {
            Some(found) => found,
            None => self.previous_value.number_after(text)?,
        };
        Some(Change { previous_value, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_found_wherever_its_fields_stand() {
        let reader = ChangeReader::new();
        let change = |previous_value, value| Some(Change { previous_value, value });

        for (text, expected) in [
            (r#"{"type":"increment","value":10,"previousValue":9,"offset":3}"#, change(9, 10)),
            (r#"{"type":"increment","value":100,"previousValue":98,"offset":4}"#, change(98, 100)),
            (r#"{"offset":5,"type":"increment","value":-3,"previousValue":-4}"#, change(-4, -3)),
            (r#"{"previousValue":1,"value":2,"type":"increment"}"#, change(1, 2)),
            (
                r#"{"type":"increment","metadata":{"value":7},"value":7,"previousValue":6}"#,
                change(6, 7),
            ),
            (r#"{"type":"initial","value":10,"offset":3}"#, None),
            (r#"{"type":"increment","value":99999999999999999999,"previousValue":1}"#, None),
            (r#"{"type":"increment","value":"#, None),
            ("", None),
        ] {
            assert_eq!(reader.read(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn an_answers_value_is_read_and_its_absence_is_an_error() {
        let answered = br#"{"result":{"data":{"type":"increment","value":42,"previousValue":41}}}"#;

        assert_eq!(answered_value(answered).unwrap(), 42);
        assert!(answered_value(br#"{"error":{"message":"no"}}"#).is_err());
    }
}
