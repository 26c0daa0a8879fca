//! The settings file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::settings::auth::AuthTable;
use crate::settings::{Durability, LimitArgs, LogFormat, SettingsError, duration};

/// What stands in a settings file. Names are those of the flags with underscores; `auth` is a table,
/// and so is what is set about a kind.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct File {
    pub(super) listen: Option<SocketAddr>,
    pub(super) tls_certificate: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) data: Option<PathBuf>,
    pub(super) durability: Option<Durability>,
    #[serde(default)]
    pub(super) auth: AuthTable,
    pub(super) allow_origin: Option<Vec<String>>,
    pub(super) idle_timeout: Option<DurationText>,
    pub(super) objects_resident_max: Option<usize>,
    pub(super) sockets_max: Option<usize>,
    pub(super) workers: Option<usize>,
    pub(super) lanes: Option<usize>,
    pub(super) message_bytes_max: Option<usize>,
    pub(super) heartbeat_interval: Option<DurationText>,
    pub(super) drain_window: Option<DurationText>,
    sockets_per_address_max: Option<u32>,
    sockets_per_user_max: Option<u32>,
    sockets_per_object_max: Option<u32>,
    connections_per_second_max: Option<u32>,
    messages_per_second_max: Option<u32>,
    bytes_per_second_max: Option<u64>,
    handshake_timeout: Option<DurationText>,
    slow_reader_timeout: Option<DurationText>,
    pub(super) echo: Option<bool>,
    pub(super) compression: Option<bool>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) log: Option<String>,
    pub(super) presence_grace: Option<DurationText>,
    pub(super) presence_users_max: Option<usize>,
    /// By the names of kinds.
    #[serde(flatten)]
    pub(super) kinds: BTreeMap<String, Value>,
}

/// A duration as people write it: `10s`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct DurationText(pub(super) Duration);

impl TryFrom<String> for DurationText {
    type Error = String;

    fn try_from(text: String) -> Result<DurationText, String> {
        duration(&text).map(DurationText)
    }
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or the line that cannot be used.
    pub(super) fn read(path: &Path) -> Result<File, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        let wrong = |what| SettingsError::File { path: path.to_owned(), what };
        let file: File = toml::from_str(&text).map_err(|err| {
            let at = err.span().map(|span| place(&text, span.start)).unwrap_or_default();
            wrong(format!("{at}{}", err.message().replace('\n', " ")))
        })?;
        match file.kinds.iter().find(|(_, value)| !value.is_object()) {
            Some((name, _)) => {
                let at = line_of(&text, name);
                Err(wrong(format!("{at}unknown field `{name}`; `dormouse serve --help` lists all")))
            }
            None => Ok(file),
        }
    }

    /// Those of the limits.
    pub(super) fn limits(&self) -> LimitArgs {
        LimitArgs {
            sockets_per_address_max: self.sockets_per_address_max,
            sockets_per_user_max: self.sockets_per_user_max,
            sockets_per_object_max: self.sockets_per_object_max,
            connections_per_second_max: self.connections_per_second_max,
            messages_per_second_max: self.messages_per_second_max,
            bytes_per_second_max: self.bytes_per_second_max,
            handshake_timeout: self.handshake_timeout.map(|text| text.0),
            slow_reader_timeout: self.slow_reader_timeout.map(|text| text.0),
        }
    }
}

/// Which line of a settings file begins with this name.
fn line_of(text: &str, name: &str) -> String {
    let line = text.lines().position(|line| line.trim_start().starts_with(name));
    line.map(|index| format!("line {}: ", index + 1)).unwrap_or_default()
}

/// Which line of a settings file an error is in, and which setting stands there.
fn place(text: &str, at: usize) -> String {
    let before = &text[..at];
    let number = before.matches('\n').count() + 1;
    let line = &text[before.rfind('\n').map_or(0, |end| end + 1)..];
    match line.lines().next().and_then(|line| line.split_once('=')) {
        Some((name, _)) => format!("line {number}, `{}`: ", name.trim()),
        None => format!("line {number}: "),
    }
}
