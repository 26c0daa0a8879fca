//! What a note holds, checked where it comes in.

use schemars::JsonSchema;
use serde::Deserialize;

/// Most characters of a title. It keeps the note's summary within the catalog's kilobyte.
pub(super) const TITLE_CHARS_MAX: usize = 200;

/// Most bytes of a blob.
pub(super) const BLOB_BYTES_MAX: usize = 1 << 20;

/// A title: at most 200 characters, none of them a control character.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", inline, extend("maxLength" = TITLE_CHARS_MAX))]
pub struct Title(String);

/// A text of at most 1 MiB.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", inline)]
pub struct Blob(String);

impl TryFrom<String> for Title {
    type Error = String;

    fn try_from(title: String) -> Result<Title, String> {
        let chars = title.chars().count();
        if chars > TITLE_CHARS_MAX {
            return Err(format!("{chars} characters; a title has at most {TITLE_CHARS_MAX}"));
        }
        if title.chars().any(char::is_control) {
            return Err("a title has no control characters".to_owned());
        }
        Ok(Title(title))
    }
}

impl TryFrom<String> for Blob {
    type Error = String;

    fn try_from(blob: String) -> Result<Blob, String> {
        if blob.len() > BLOB_BYTES_MAX {
            return Err(format!("{} bytes; a blob has at most {BLOB_BYTES_MAX}", blob.len()));
        }
        Ok(Blob(blob))
    }
}

impl From<Title> for String {
    fn from(title: Title) -> String {
        title.0
    }
}

impl From<Blob> for String {
    fn from(blob: Blob) -> String {
        blob.0
    }
}
