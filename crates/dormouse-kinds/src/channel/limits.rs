//! What clients may write into a channel, checked where it comes in.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A text of 1 to `BYTES_MAX` bytes of UTF-8.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text<const BYTES_MAX: usize>(String);

/// What a message says.
pub type Content = Text<32_768>;

/// The id of a message.
pub type MessageId = Text<64>;

/// What a thread is called: the id of the message that began it, or a name that the clients agree on.
pub type ThreadId = Text<128>;

/// What a client calls its message.
pub type ClientId = Text<128>;

/// How present somebody is, such as `away`.
pub type Status = Text<64>;

impl<const BYTES_MAX: usize> Text<BYTES_MAX> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const BYTES_MAX: usize> TryFrom<String> for Text<BYTES_MAX> {
    type Error = String;

    fn try_from(text: String) -> Result<Text<BYTES_MAX>, String> {
        match text.len() {
            0 => Err("must not be empty".to_owned()),
            bytes if bytes > BYTES_MAX => {
                Err(format!("{bytes} bytes; there may be at most {BYTES_MAX}"))
            }
            _ => Ok(Text(text)),
        }
    }
}

impl<const BYTES_MAX: usize> From<Text<BYTES_MAX>> for String {
    fn from(text: Text<BYTES_MAX>) -> String {
        text.0
    }
}

impl<const BYTES_MAX: usize> JsonSchema for Text<BYTES_MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("TextOf{BYTES_MAX}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // In characters, of which a byte is never less.
        json_schema!({ "type": "string", "minLength": 1, "maxLength": BYTES_MAX })
    }
}
