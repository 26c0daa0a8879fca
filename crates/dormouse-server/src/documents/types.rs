//! `dormouse types`: the kinds of this program as TypeScript.

use std::fs;
use std::io::Write as _;

use anyhow::Context as _;
use dormouse::Kinds;

use crate::cli::TypesArgs;
use crate::documents::typescript;

/// Writes the types to a file, or to standard output.
///
/// # Errors
///
/// The file cannot be written.
pub(crate) fn run(args: &TypesArgs, kinds: &Kinds) -> Result<(), anyhow::Error> {
    let text = typescript::file(kinds);
    match &args.out {
        Some(path) => {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
        }
        None => Ok(std::io::stdout().lock().write_all(text.as_bytes())?),
    }
}
