//! `dormouse token`: makes a token for development.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use dormouse::{Clock as _, SystemClock};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Map, Value};

use crate::auth::claims::Expectations;
use crate::auth::key_store::KeyStore;
use crate::auth::keys::{Algorithm, KeySettings, KeySource, Secret};
use crate::auth::token;
use crate::settings::{AuthSettings, duration};

/// What to put into a token.
#[derive(Clone, Debug, Args)]
pub(crate) struct TokenArgs {
    /// Whose token it is: the id of the user.
    #[arg(long, value_name = "ID")]
    sub: String,
    /// The name that other people see [default: the id].
    #[arg(long)]
    username: Option<String>,
    /// What the user may do.
    #[arg(long, value_delimiter = ',', default_value = "read,write")]
    permissions: Vec<String>,
    /// Which objects the token is for, such as `note/*` or `channel/room-*`; may be given several times
    /// [default: all].
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    objects: Vec<String>,
    /// Address of a picture of the user.
    #[arg(long, value_name = "URL")]
    avatar: Option<String>,
    /// How long it counts.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1h")]
    expires: Duration,
    /// The id of the key, if there are several for HS256 [default: the first one].
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// The settings file of the server, if its key stands there.
    #[arg(long, env = "DORMOUSE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Prints a token that a server with the same settings takes.
///
/// # Errors
///
/// There is no secret to sign with, or a token with these claims would be refused.
pub(crate) fn run(args: &TokenArgs) -> Result<(), anyhow::Error> {
    let settings = AuthSettings::without_serving(args.config.as_deref())?;
    let (key, secret) = secret(&settings.keys, args.key.as_deref())?;
    let token = sign(args, &settings, key, &secret)?;

    let expected = Expectations { audiences: settings.audiences, issuers: settings.issuers };
    let keys = KeyStore::load(vec![key_of(key, secret)])?;
    token::check(&token, &keys.ring(), &expected, SystemClock::new().now())
        .map_err(|fault| anyhow!("a server would refuse this token: {}", fault.message()))?;

    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{token}").context("cannot write to stdout")
}

/// The secret to sign with, and whose it is.
fn secret<'a>(
    keys: &'a [KeySettings],
    id: Option<&str>,
) -> Result<(&'a KeySettings, Secret), anyhow::Error> {
    let key = keys
        .iter()
        .filter(|key| key.algorithm == Algorithm::Hs256)
        .find(|key| id.is_none_or(|id| key.id == id));
    let Some(key) = key else {
        match id {
            Some(id) => bail!("there is no key {id:?} for HS256"),
            None => bail!(
                "there is no secret to sign with: set DORMOUSE_AUTH_SECRET to at least 32 random \
                 bytes, as for the server, or name its settings file with --config"
            ),
        }
    };
    let secret = key.secret()?.ok_or_else(|| anyhow!("key {:?} is no secret", key.id))?;
    Ok((key, secret))
}

fn key_of(key: &KeySettings, secret: Secret) -> KeySettings {
    KeySettings { source: KeySource::Secret(secret), ..key.clone() }
}

fn sign(
    args: &TokenArgs,
    settings: &AuthSettings,
    key: &KeySettings,
    secret: &Secret,
) -> Result<String, anyhow::Error> {
    let now = SystemClock::new().now();
    let expires_at = now.checked_add(args.expires).context("--expires is past the year 9999")?;
    let mut claims = Map::new();
    let mut claim = |name: &str, value: Value| _ = claims.insert(name.to_owned(), value);
    claim("sub", args.sub.as_str().into());
    if let Some(username) = &args.username {
        claim("username", username.as_str().into());
    }
    claim("permissions", args.permissions.clone().into());
    if let Some(avatar) = &args.avatar {
        claim("avatar", avatar.as_str().into());
    }
    if !args.objects.is_empty() {
        claim("objects", args.objects.clone().into());
    }
    if let Some(audience) = settings.audiences.first() {
        claim("aud", audience.as_str().into());
    }
    if let Some(issuer) = settings.issuers.first() {
        claim("iss", issuer.as_str().into());
    }
    claim("iat", now.as_ms().div_euclid(1000).into());
    claim("exp", expires_at.as_ms().div_euclid(1000).into());

    let mut header = Header::new(key.algorithm.of_library());
    header.kid = Some(key.id.clone());
    let signing = EncodingKey::from_secret(secret.bytes());
    jsonwebtoken::encode(&header, &claims, &signing).context("the token cannot be signed")
}
