//! Who may call: the keys that tokens are checked with, and what each kind asks for.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Deserialize;

use crate::auth::{
    Algorithm, JwksAddress, KeySettings, KeySource, Policy, SECRET_BYTES_MIN, Secret,
};
use crate::settings::SettingsError;
use crate::settings::file::File;

/// Where a secret may stand in the environment. It is no flag: other users of a machine can read those.
pub(super) const AUTH_SECRET_VARIABLE: &str = "DORMOUSE_AUTH_SECRET";

/// The id of the key in the environment.
const ENVIRONMENT_KEY_ID: &str = "environment";

/// Most keys in the settings, not counting those inside of key sets.
const KEYS_MAX: usize = 16;

/// Who may call when nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AuthMode {
    /// Everybody who reaches the address.
    Open,
}

/// All that is said about tokens, checked as far as it can be without reading other files.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuthSettings {
    pub(crate) mode: Option<AuthMode>,
    /// Empty: the claim is not looked at.
    pub(crate) audiences: Vec<String>,
    /// Empty: the claim is not looked at.
    pub(crate) issuers: Vec<String>,
    pub(crate) keys: Vec<KeySettings>,
    /// By the names of kinds.
    pub(crate) kinds: BTreeMap<String, Policy>,
}

/// The table `auth` of the settings file.
#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: write `[auth]` and below it `mode = \"open\"` or what else is to be said"
)]
pub(super) struct AuthTable {
    mode: Option<AuthMode>,
    audience: Option<OneOrMore>,
    issuer: Option<OneOrMore>,
    #[serde(default)]
    key: Vec<KeyTable>,
    #[serde(default)]
    kinds: BTreeMap<String, Policy>,
}

/// One `[[auth.key]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyTable {
    id: String,
    algorithm: Algorithm,
    secret_file: Option<PathBuf>,
    public_key_file: Option<PathBuf>,
    jwks: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a string, or a list of strings")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl AuthSettings {
    /// Joins the flag, the settings file and the secret in the environment.
    ///
    /// # Errors
    ///
    /// The first thing that cannot be used.
    pub(super) fn resolve(
        mode: Option<AuthMode>,
        table: AuthTable,
    ) -> Result<AuthSettings, SettingsError> {
        let secret = std::env::var_os(AUTH_SECRET_VARIABLE).map(|secret| secret.into_vec());
        AuthSettings::join(mode, table, secret)
    }

    /// Only the keys and claims, for a command that does not serve.
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve), and for a settings file that cannot be used.
    pub(crate) fn without_serving(config: Option<&Path>) -> Result<AuthSettings, SettingsError> {
        let file = config.map(File::read).transpose()?.unwrap_or_default();
        AuthSettings::resolve(None, file.auth)
    }

    fn join(
        mode: Option<AuthMode>,
        table: AuthTable,
        secret: Option<Vec<u8>>,
    ) -> Result<AuthSettings, SettingsError> {
        let mut keys = Vec::new();
        if let Some(secret) = secret {
            let secret = Secret::new(secret).ok_or(SettingsError::Secret)?;
            keys.push(KeySettings {
                id: ENVIRONMENT_KEY_ID.to_owned(),
                algorithm: Algorithm::Hs256,
                source: KeySource::Secret(secret),
            });
        }
        for key in table.key {
            let key = key.check().map_err(SettingsError::Auth)?;
            if keys.iter().any(|other| other.id == key.id) {
                let what = format!("there are two keys with the id {:?}", key.id);
                return Err(SettingsError::Auth(what));
            }
            keys.push(key);
        }
        if keys.len() > KEYS_MAX {
            let what = format!("there may be {KEYS_MAX} keys, not {}", keys.len());
            return Err(SettingsError::Auth(what));
        }
        if keys.is_empty()
            && let Some((kind, _)) = table.kinds.iter().find(|(_, policy)| **policy != Policy::Open)
        {
            let what = format!(
                "kind {kind:?} needs a token and no key is configured: \
                 set {AUTH_SECRET_VARIABLE}, or add an `[[auth.key]]`"
            );
            return Err(SettingsError::Auth(what));
        }
        Ok(AuthSettings {
            mode: mode.or(table.mode),
            audiences: table.audience.map(Vec::from).unwrap_or_default(),
            issuers: table.issuer.map(Vec::from).unwrap_or_default(),
            keys,
            kinds: table.kinds,
        })
    }
}

impl KeyTable {
    fn check(self) -> Result<KeySettings, String> {
        let KeyTable { id, algorithm, secret_file, public_key_file, jwks } = self;
        if id.is_empty() || id.len() > KeySettings::ID_BYTES_MAX {
            return Err(format!("an `id` has 1 to {} bytes", KeySettings::ID_BYTES_MAX));
        }
        let source = match (algorithm, secret_file, public_key_file, jwks) {
            (Algorithm::Hs256, Some(file), None, None) => KeySource::SecretFile(file),
            (Algorithm::Hs256, ..) => {
                return Err(format!(
                    "key {id:?}: HS256 needs a `secret_file` of at least {SECRET_BYTES_MIN} bytes, \
                     and nothing else"
                ));
            }
            (_, None, Some(file), None) => KeySource::PublicKeyFile(file),
            (_, None, None, Some(jwks)) if jwks.contains("://") => {
                let address =
                    JwksAddress::parse(&jwks).map_err(|err| format!("key {id:?}: {err}"))?;
                KeySource::JwksAddress(address)
            }
            (_, None, None, Some(jwks)) => KeySource::JwksFile(jwks.into()),
            _ => {
                let algorithm = algorithm.as_str();
                return Err(format!(
                    "key {id:?}: {algorithm} needs either a `public_key_file` or a `jwks`"
                ));
            }
        };
        Ok(KeySettings { id, algorithm, source })
    }
}

impl From<OneOrMore> for Vec<String> {
    fn from(texts: OneOrMore) -> Vec<String> {
        match texts {
            OneOrMore::One(text) => vec![text],
            OneOrMore::More(texts) => texts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn join(table: &str, secret: Option<&[u8]>) -> Result<AuthSettings, String> {
        let table = toml::from_str(table).map_err(|err| err.to_string())?;
        AuthSettings::join(None, table, secret.map(<[u8]>::to_vec)).map_err(|err| err.to_string())
    }

    #[test]
    fn a_secret_in_the_environment_is_a_key_and_a_short_one_is_refused() {
        assert_eq!(join("", Some(SECRET)).unwrap().keys.len(), 1);
        assert_eq!(join("", None).unwrap().keys.len(), 0);
        for short in [&b""[..], &SECRET[1..]] {
            assert!(join("", Some(short)).unwrap_err().contains("at least 32 bytes"));
        }
    }

    #[test]
    fn the_algorithm_decides_where_a_key_may_come_from() {
        let key = |rest: &str| join(&format!("[[key]]\nid = \"k\"\n{rest}"), None);

        for (rest, expected) in [
            ("algorithm = \"HS256\"\nsecret_file = \"s\"", None),
            ("algorithm = \"RS256\"\npublic_key_file = \"p\"", None),
            ("algorithm = \"ES256\"\njwks = \"keys.json\"", None),
            ("algorithm = \"EdDSA\"\njwks = \"https://id.example/keys\"", None),
            ("algorithm = \"EdDSA\"\njwks = \"http://127.0.0.1:1/keys\"", None),
            ("algorithm = \"EdDSA\"\njwks = \"http://id.example/keys\"", Some("https://")),
            ("algorithm = \"EdDSA\"\njwks = \"ftp://id.example/keys\"", Some("https://")),
            ("algorithm = \"HS256\"\njwks = \"keys.json\"", Some("`secret_file`")),
            ("algorithm = \"HS256\"\npublic_key_file = \"p\"", Some("`secret_file`")),
            ("algorithm = \"RS256\"\nsecret_file = \"s\"", Some("`public_key_file`")),
            ("algorithm = \"RS256\"\npublic_key_file = \"p\"\njwks = \"j\"", Some("either")),
            ("algorithm = \"RS256\"", Some("either")),
            ("algorithm = \"none\"\nsecret_file = \"s\"", Some("unknown variant `none`")),
            ("algorithm = \"HS256\"\nsecret = \"s\"", Some("unknown field `secret`")),
        ] {
            let found = key(rest).err();
            match expected {
                None => assert_eq!(found, None, "{rest}"),
                Some(words) => assert!(found.is_some_and(|err| err.contains(words)), "{rest}"),
            }
        }
    }

    #[test]
    fn an_id_names_one_key() {
        let key = "[[key]]\nid = \"k\"\nalgorithm = \"HS256\"\nsecret_file = \"s\"\n";

        assert!(join(&key.repeat(2), None).unwrap_err().contains("two keys"));
        assert!(join(&key.replace("\"k\"", "\"\""), None).unwrap_err().contains("`id`"));
    }

    #[test]
    fn a_kind_cannot_need_a_token_that_nobody_can_have() {
        assert!(join("kinds = { note = \"read\" }", None).unwrap_err().contains("no key"));
        assert!(join("kinds = { note = \"open\" }", None).is_ok());
        assert!(join("kinds = { note = \"read\" }", Some(SECRET)).is_ok());
        assert!(join("kinds = { note = \"closed\" }", Some(SECRET)).is_err());
    }
}
