//! Channels as Dormouse serves them: a user and a token for each socket, and messages with a number.

use std::path::Path;

use anyhow::{Context as _, Result};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use crate::field::Field;
use crate::peers::Programs;

/// What tokens are signed with. It guards nothing: servers of this tool are on loopback, and empty.
pub(crate) const SECRET: &str = "of the load tool, for servers without anything to guard";

/// 2100, in seconds since 1970: later than any run of this tool.
const EXPIRES_AT: u64 = 4_102_444_800;

/// Fills messages up, so that events have about 300 bytes, as those of counters do.
const FILLING: &str = "to everybody who is in this channel right now";

/// Reads the numbers of messages out of text frames. One reader serves all sockets of a thread.
#[derive(Debug)]
pub(crate) struct NumberReader {
    message: Field,
    content: Field,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    permissions: [&'static str; 2],
    exp: u64,
}

/// The same programs, with Dormouse started for channels with many users.
pub(crate) fn serving_channels(programs: &Programs) -> Programs {
    let mut programs = programs.clone();
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("channel.toml");
    programs.dormouse_args.extend(["--config".to_owned(), settings.display().to_string()]);
    programs.dormouse_secret = Some(SECRET);
    programs
}

/// Path of a channel's socket, with a token of `user`. Neither may need escaping in a URL.
///
/// # Errors
///
/// The token could not be signed.
pub(crate) fn socket_path(channel: &str, user: &str) -> Result<String> {
    let claims = Claims { sub: user, permissions: ["read", "write"], exp: EXPIRES_AT };
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
        .context("sign a token")?;
    Ok(format!("/ws/channel/{channel}?token={token}"))
}

/// What a client sends to write the message with this number.
pub(crate) fn message(number: u64) -> String {
    format!(r#"{{"type":"message","content":"{number} {FILLING}"}}"#)
}

impl NumberReader {
    pub(crate) fn new() -> NumberReader {
        NumberReader {
            message: Field::named(br#""type":"message""#),
            content: Field::named(br#""content":""#),
        }
    }

    /// The number of the message in a text frame; `None` if it is something else, such as an `ack`.
    pub(crate) fn read(&self, text: &[u8]) -> Option<u64> {
        self.message.end_in(text)?;
        let (number, _) = self.content.number_after(text)?;
        u64::try_from(number).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_its_number_on_the_way_and_other_frames_have_none() {
        let reader = NumberReader::new();
        let sent = message(42);
        let delivered = format!(
            r#"{{"type":"message","message":{{"id":"0","content":"42 {FILLING}"}},"offset":9}}"#
        );
        let shown =
            format!(r#"{{"type":"initial_state","messages":[{{"content":"42 {FILLING}"}}]}}"#);

        assert_eq!(reader.read(sent.as_bytes()), Some(42));
        assert_eq!(reader.read(delivered.as_bytes()), Some(42));
        for other in [&shown[..], r#"{"type":"ack","messageId":"0"}"#, r#"{"type":"message"}"#, ""]
        {
            assert_eq!(reader.read(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_path_carries_a_token_that_needs_no_escaping() {
        let path = socket_path("room", "user-1").unwrap();

        let (before, token) = path.split_once("?token=").expect("there is a token");
        assert_eq!(before, "/ws/channel/room");
        assert_eq!(token.split('.').count(), 3);
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
    }
}
