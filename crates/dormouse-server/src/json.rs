//! JSON from clients: bounded in depth before it is parsed.

use memchr::memchr2;
use serde_json::Value;

/// Deepest nesting of arrays and objects.
pub(crate) const DEPTH_MAX: usize = 64;

/// Why text from a client is not JSON that can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JsonError {
    /// It is not JSON.
    #[error("not valid JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// It is nested too deep.
    #[error("JSON is nested deeper than {DEPTH_MAX}")]
    TooDeep,
}

/// Parses JSON from a client.
///
/// # Errors
///
/// [`JsonError`]; the message says where the text goes wrong.
pub(crate) fn parse(text: &[u8]) -> Result<Value, JsonError> {
    if is_too_deep(text) {
        return Err(JsonError::TooDeep);
    }
    Ok(serde_json::from_slice(text)?)
}

fn is_too_deep(text: &[u8]) -> bool {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'"' => at = end_of_string(text, at),
            b'[' | b'{' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Where the string ends whose first byte is at `at`. Most bytes of a large message are in strings.
fn end_of_string(text: &[u8], mut at: usize) -> usize {
    while let Some(found) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        match text[at + found] {
            b'"' => return at + found + 1,
            // What follows a backslash ends nothing.
            _ => at += found + 2,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let text = format!(r#"["{}\"{}"]"#, "[".repeat(100), "{".repeat(100));

        assert!(parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert!(matches!(parse(nested(DEPTH_MAX + 1).as_bytes()), Err(JsonError::TooDeep)));
        assert!(parse(text.as_bytes()).is_ok());
        assert!(matches!(parse(b"{"), Err(JsonError::Syntax(_))));
    }
}
