//! Settings: from flags, environment and a TOML file, in that order.

mod auth;
mod file;
mod limits;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::Value;

use crate::auth::SECRET_BYTES_MIN;
use crate::tls::TlsFiles;

use self::auth::AUTH_SECRET_VARIABLE;
use self::file::{DurationText, File};

pub(crate) use self::auth::{AuthMode, AuthSettings};
pub(crate) use self::limits::{LimitArgs, Limits};

/// The flags of `serve`. Each can also be set in the environment and in the settings file, under
/// the same name.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ServeArgs {
    /// A settings file in TOML, with the names of these flags: `idle_timeout = "10s"`.
    #[arg(long, env = "DORMOUSE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The address to serve on; port 0 picks a free one [default: 127.0.0.1:8094].
    #[arg(long, env = "DORMOUSE_LISTEN", value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Serve HTTPS and wss with this certificate: a file in PEM, with the whole chain. It is read again
    /// when it changes, and on SIGHUP [default: no TLS].
    #[arg(long, env = "DORMOUSE_TLS_CERTIFICATE", value_name = "FILE")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// The private key of the certificate: a file in PEM, without a password.
    #[arg(long, env = "DORMOUSE_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The data folder; made if it does not exist [default: ./data].
    #[arg(long, env = "DORMOUSE_DATA", value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// What an answer promises: `fsync` survives loss of power, `os` a crash of the process
    /// [default: fsync].
    #[arg(long, env = "DORMOUSE_DURABILITY")]
    pub(crate) durability: Option<Durability>,
    /// `open`: kinds that the settings file says nothing about need no token, also on an address that
    /// is not loopback. Keys are in DORMOUSE_AUTH_SECRET (HS256, at least 32 bytes) and in the settings
    /// file [default: no token without a key, a token with one].
    #[arg(long, env = "DORMOUSE_AUTH")]
    pub(crate) auth: Option<AuthMode>,
    /// An origin whose pages may connect, such as `https://app.example`; may be given several
    /// times [default: pages of this machine, when serving on loopback].
    #[arg(long, env = "DORMOUSE_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) allow_origin: Option<Vec<String>>,
    /// An object that nobody used for so long leaves memory [default: 10s].
    #[arg(long, env = "DORMOUSE_IDLE_TIMEOUT", value_name = "DURATION", value_parser = duration)]
    pub(crate) idle_timeout: Option<Duration>,
    /// Most objects in memory at once [default: what the file limit allows].
    #[arg(long, env = "DORMOUSE_OBJECTS_RESIDENT_MAX", value_name = "N")]
    pub(crate) objects_resident_max: Option<usize>,
    /// Most sockets at once [default: what the file limit allows].
    #[arg(long, env = "DORMOUSE_SOCKETS_MAX", value_name = "N")]
    pub(crate) sockets_max: Option<usize>,
    /// Threads that serve HTTP and sockets [default: one per core].
    #[arg(long, env = "DORMOUSE_WORKERS", value_name = "N")]
    pub(crate) workers: Option<usize>,
    /// Threads that run objects [default: one per core].
    #[arg(long, env = "DORMOUSE_LANES", value_name = "N")]
    pub(crate) lanes: Option<usize>,
    /// Largest message a socket may send, in bytes [default: 1048576].
    #[arg(long, env = "DORMOUSE_MESSAGE_BYTES_MAX", value_name = "BYTES")]
    pub(crate) message_bytes_max: Option<usize>,
    /// How often sockets are pinged; one that missed a ping is closed [default: 30s].
    #[arg(long, env = "DORMOUSE_HEARTBEAT_INTERVAL", value_name = "DURATION", value_parser = duration)]
    pub(crate) heartbeat_interval: Option<Duration>,
    /// On shutdown, sockets are closed spread over this time, and are told to spread their return
    /// over as much; at most 1h [default: 5s].
    #[arg(long, env = "DORMOUSE_DRAIN_WINDOW", value_name = "DURATION", value_parser = duration)]
    pub(crate) drain_window: Option<Duration>,
    /// How long somebody whose last socket was lost still counts as present [default: 5s].
    #[arg(long, env = "DORMOUSE_PRESENCE_GRACE", value_name = "DURATION", value_parser = duration)]
    pub(crate) presence_grace: Option<Duration>,
    /// Most people of one object who are announced by name; where more are present, they are told how
    /// many they are, and some of their names [default: 250].
    #[arg(long, env = "DORMOUSE_PRESENCE_USERS_MAX", value_name = "N")]
    pub(crate) presence_users_max: Option<usize>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    /// Serve `/echo`, a socket that echoes every message.
    #[arg(long, env = "DORMOUSE_ECHO", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) echo: Option<bool>,
    /// Compress the messages of sockets whose clients offer it (permessage-deflate): less traffic
    /// for more work of the processor [default: off].
    #[arg(long, env = "DORMOUSE_COMPRESSION", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) compression: Option<bool>,
    /// Form of the log on standard error [default: text].
    #[arg(long, env = "DORMOUSE_LOG_FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// What to log, such as `info` or `dormouse_node=debug` [default: info].
    #[arg(long, env = "DORMOUSE_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Durability {
    /// Loss of power.
    Fsync,
    /// A crash of the process.
    Os,
}

impl Durability {
    /// The name in settings and in `/healthz`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Durability::Fsync => "fsync",
            Durability::Os => "os",
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object per line.
    Json,
}

/// All settings, decided.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) data: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) auth: AuthSettings,
    /// Empty: the rule for loopback.
    pub(crate) allow_origin: Vec<String>,
    pub(crate) idle_timeout: Duration,
    pub(crate) objects_resident_max: Option<usize>,
    pub(crate) sockets_max: Option<usize>,
    pub(crate) workers: usize,
    pub(crate) lanes: usize,
    pub(crate) message_bytes_max: usize,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) drain_window: Duration,
    pub(crate) presence_grace: Duration,
    pub(crate) presence_users_max: usize,
    /// What is set about kinds, by their names.
    pub(crate) kinds: BTreeMap<String, Value>,
    pub(crate) limits: Limits,
    pub(crate) echo: bool,
    pub(crate) compression: bool,
    pub(crate) log_format: LogFormat,
    pub(crate) log: String,
}

/// Settings that cannot be used. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("cannot read the settings file {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("settings file {path}: {what}")]
    File { path: PathBuf, what: String },
    #[error("`{name}` must be {bound}")]
    Range { name: &'static str, bound: &'static str },
    #[error(
        "{listen} can be reached from other machines and no key for tokens is configured; \
         listen on 127.0.0.1, set DORMOUSE_AUTH_SECRET, or say `--auth open` if everybody may call"
    )]
    OpenToOthers { listen: SocketAddr },
    #[error("{AUTH_SECRET_VARIABLE} must have at least {SECRET_BYTES_MIN} bytes")]
    Secret,
    #[error("`auth`: {0}")]
    Auth(String),
    #[error("the environment has {0}, which is not a setting; see `dormouse serve --help`")]
    Variable(String),
    #[error("`{set}` is set and `{missing}` is not: TLS needs both")]
    HalfOfTls { set: &'static str, missing: &'static str },
    #[error("a table of the settings file cannot be used")]
    Kind(#[from] dormouse::KindSettingsError),
    #[error("`allow_origin`: {0}")]
    Origin(String),
    #[error("`log`: {0}")]
    Log(String),
    #[error(
        "the process may open {limit} files; {reserved} are reserved, {sockets} sockets and \
         {objects} resident objects do not fit: raise `ulimit -n` or lower `sockets_max` or \
         `objects_resident_max`"
    )]
    Descriptors { limit: u64, reserved: u64, sockets: u64, objects: u64 },
}

/// What the name of every setting in the environment begins with.
const VARIABLE_PREFIX: &str = "DORMOUSE_";

/// The smallest idle timeout: below it an object would leave between two calls of one client.
const IDLE_TIMEOUT_MIN: Duration = Duration::from_millis(50);

/// The smallest time between two pings.
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);

/// The longest window of a shutdown; service managers kill long before.
const DRAIN_WINDOW_MAX: Duration = Duration::from_secs(3600);

/// The longest grace period: so long a session is kept.
const PRESENCE_GRACE_MAX: Duration = dormouse::SESSION_KEPT;

/// The largest message limit: a message is held in memory whole.
const MESSAGE_BYTES_CEILING: usize = 64 << 20;

/// The most threads of one sort.
const THREADS_MAX: usize = 256;

impl Settings {
    /// Flags and environment (which clap has joined) over the settings file over defaults.
    ///
    /// # Errors
    ///
    /// The first setting that cannot be used.
    pub(crate) fn resolve(args: &ServeArgs) -> Result<Settings, SettingsError> {
        let file = match &args.config {
            Some(path) => File::read(path)?,
            None => File::default(),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let args = args.clone();
        let file_limits = file.limits();
        let settings = Settings {
            listen: args.listen.or(file.listen).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8094))),
            tls: tls_files(
                args.tls_certificate.or(file.tls_certificate),
                args.tls_key.or(file.tls_key),
            )?,
            data: args.data.or(file.data).unwrap_or_else(|| PathBuf::from("./data")),
            durability: args.durability.or(file.durability).unwrap_or(Durability::Fsync),
            auth: AuthSettings::resolve(args.auth, file.auth)?,
            allow_origin: args.allow_origin.or(file.allow_origin).unwrap_or_default(),
            idle_timeout: either(args.idle_timeout, file.idle_timeout, Duration::from_secs(10)),
            objects_resident_max: args.objects_resident_max.or(file.objects_resident_max),
            sockets_max: args.sockets_max.or(file.sockets_max),
            workers: args.workers.or(file.workers).unwrap_or(cores),
            lanes: args.lanes.or(file.lanes).unwrap_or(cores),
            message_bytes_max: args
                .message_bytes_max
                .or(file.message_bytes_max)
                .unwrap_or(1024 * 1024),
            heartbeat_interval: either(
                args.heartbeat_interval,
                file.heartbeat_interval,
                Duration::from_secs(30),
            ),
            drain_window: either(args.drain_window, file.drain_window, Duration::from_secs(5)),
            presence_grace: either(
                args.presence_grace,
                file.presence_grace,
                Duration::from_secs(5),
            ),
            presence_users_max: args.presence_users_max.or(file.presence_users_max).unwrap_or(250),
            kinds: file.kinds,
            limits: args.limits.or(file_limits).resolve()?,
            echo: args.echo.or(file.echo).unwrap_or(false),
            compression: args.compression.or(file.compression).unwrap_or(false),
            log_format: args.log_format.or(file.log_format).unwrap_or(LogFormat::Text),
            log: args.log.or(file.log).unwrap_or_else(|| "info".to_owned()),
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), SettingsError> {
        if let Some(name) = unknown_variable(std::env::vars_os().map(|(name, _)| name)) {
            return Err(SettingsError::Variable(name));
        }
        let is_meant = self.auth.mode == Some(AuthMode::Open) || !self.auth.keys.is_empty();
        if !self.listen.ip().is_loopback() && !is_meant {
            return Err(SettingsError::OpenToOthers { listen: self.listen });
        }
        let ranges = [
            (self.idle_timeout >= IDLE_TIMEOUT_MIN, "idle_timeout", "at least 50ms"),
            (self.heartbeat_interval >= HEARTBEAT_MIN, "heartbeat_interval", "at least 100ms"),
            (self.presence_grace <= PRESENCE_GRACE_MAX, "presence_grace", "at most 5m"),
            (self.drain_window <= DRAIN_WINDOW_MAX, "drain_window", "at most 1h"),
            ((1..=THREADS_MAX).contains(&self.workers), "workers", "1 to 256"),
            ((1..=THREADS_MAX).contains(&self.lanes), "lanes", "1 to 256"),
            (self.objects_resident_max != Some(0), "objects_resident_max", "at least 1"),
            (self.sockets_max != Some(0), "sockets_max", "at least 1"),
            (
                (1..=MESSAGE_BYTES_CEILING).contains(&self.message_bytes_max),
                "message_bytes_max",
                "1 to 67108864",
            ),
        ];
        match ranges.into_iter().find(|(holds, ..)| !holds) {
            Some((_, name, bound)) => Err(SettingsError::Range { name, bound }),
            None => Ok(()),
        }
    }
}

fn tls_files(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<TlsFiles>, SettingsError> {
    let (certificate_name, key_name) = ("tls_certificate", "tls_key");
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(SettingsError::HalfOfTls { set: certificate_name, missing: key_name })
        }
        (None, Some(_)) => {
            Err(SettingsError::HalfOfTls { set: key_name, missing: certificate_name })
        }
    }
}

/// The first variable that is named like a setting and is none. Unsaid, a slip of the pen in a name
/// would leave the default in force.
fn unknown_variable(names: impl Iterator<Item = OsString>) -> Option<String> {
    let command = ServeArgs::augment_args(clap::Command::new("serve"));
    let is_known = |name: &str| {
        command.get_arguments().any(|argument| argument.get_env() == Some(OsStr::new(name)))
    };
    names.filter_map(|name| name.into_string().ok()).find(|name| {
        name.starts_with(VARIABLE_PREFIX) && name != AUTH_SECRET_VARIABLE && !is_known(name)
    })
}

fn either(flag: Option<Duration>, file: Option<DurationText>, default: Duration) -> Duration {
    flag.or(file.map(|text| text.0)).unwrap_or(default)
}

/// Reads a duration as people write it.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|err| format!("{err}; write it like `10s` or `500ms`"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn resolve(file: &tempfile::NamedTempFile, args: ServeArgs) -> Result<Settings, SettingsError> {
        Settings::resolve(&ServeArgs { config: Some(file.path().to_owned()), ..args })
    }

    #[test]
    fn no_kind_has_the_name_of_a_setting() {
        let command = ServeArgs::augment_args(clap::Command::new("serve"));
        let settings = command.get_arguments().filter_map(clap::Arg::get_long);
        // With a hyphen it stands in the file with an underscore, which no kind has in its name.
        let mut names: Vec<&str> = settings.filter(|name| !name.contains('-')).collect();
        names.sort_unstable();
        // The file does not name itself.
        names.retain(|name| *name != "config");

        assert_eq!(names, dormouse::NAMES_OF_SETTINGS);
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let file = file("listen = \"127.0.0.1:1\"\nidle_timeout = \"3s\"\necho = true\n");

        let args = ServeArgs { idle_timeout: Some(Duration::from_secs(7)), ..ServeArgs::default() };
        let settings = resolve(&file, args).unwrap();

        assert_eq!(settings.listen.port(), 1);
        assert_eq!(settings.idle_timeout, Duration::from_secs(7));
        assert!(settings.echo);
        assert_eq!(settings.heartbeat_interval, Duration::from_secs(30));
    }

    #[test]
    fn an_unknown_setting_is_named_with_its_line() {
        let err = resolve(&file("echo = true\nidle = 3\n"), ServeArgs::default()).unwrap_err();

        let message = err.to_string();
        assert!(
            message.contains("line 2") && message.contains("unknown field `idle`"),
            "{message}"
        );
    }

    #[test]
    fn a_value_that_cannot_be_used_is_named_with_its_line() {
        let text = "echo = true\n\nidle_timeout = \"soon\"\n";

        let err = resolve(&file(text), ServeArgs::default()).unwrap_err();

        assert!(err.to_string().contains("line 3, `idle_timeout`: "), "{err}");
    }

    #[test]
    fn a_variable_that_is_named_like_a_setting_and_is_none_is_found() {
        let unknown = |names: &[&str]| unknown_variable(names.iter().map(OsString::from));

        assert_eq!(unknown(&["PATH", "DORMOUSE_LISTEN", "DORMOUSE_LOG"]), None);
        assert_eq!(
            unknown(&["DORMOUSE_LISTEN", "DORMOUSE_LISTNE"]),
            Some("DORMOUSE_LISTNE".to_owned())
        );
    }

    #[test]
    fn an_address_for_others_needs_a_word() {
        let listen = Some(SocketAddr::from(([0, 0, 0, 0], 80)));
        let silent = ServeArgs { listen, ..ServeArgs::default() };
        let said = ServeArgs { auth: Some(AuthMode::Open), ..silent.clone() };

        assert!(matches!(Settings::resolve(&silent), Err(SettingsError::OpenToOthers { .. })));
        assert!(Settings::resolve(&said).is_ok());
    }
}
