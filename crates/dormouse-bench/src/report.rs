//! What this tool says: results on standard output, progress on standard error.

use std::fmt;
use std::io::{self, Write as _};

use anyhow::Result;
use serde::Serialize;

/// A result that goes to standard output as one JSON object.
#[derive(Debug, Serialize)]
struct Line<'a, T> {
    scenario: &'a str,
    /// The peer's name, or the address of a server that somebody else started.
    server: &'a str,
    #[serde(flatten)]
    outcome: &'a T,
}

/// Prints the outcome of one scenario: a line for people, or with `json` one object for programs and
/// the line on standard error.
pub(crate) fn outcome<T: Serialize + fmt::Display>(
    scenario: &str,
    server: &str,
    outcome: &T,
    json: bool,
) -> Result<()> {
    let text = format!("{scenario}, {server}: {outcome}");
    if json {
        progress(&text);
        return result(&serde_json::to_string(&Line { scenario, server, outcome })?);
    }
    result(&text)
}

/// Prints text to standard output.
///
/// # Errors
///
/// Standard output is closed.
pub(crate) fn result(text: &str) -> Result<()> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// Prints a line to standard error. Nobody may be there to read it, which is no reason to stop.
pub(crate) fn progress(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
