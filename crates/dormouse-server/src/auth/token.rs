//! Tokens: JWT in the compact form, RFC 7519.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use dormouse::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::auth::claims::{Expectations, Identity};
use crate::auth::keys::{KeyRing, KeySettings};

/// Longest token, in bytes.
pub(super) const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Why a token does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenFault {
    /// It is longer than any that is looked at.
    TooLong,
    /// It is no JWT, or there are two where there may be one.
    Malformed,
    /// The key it names is not known.
    UnknownKey,
    /// No key is used with the algorithm it names.
    Algorithm,
    /// It was not signed with the key.
    Signature,
    /// A claim is missing or wrong; says which.
    Claims(String),
    Expired,
    NotYetValid,
    /// It was made for somebody else.
    Audience,
    /// It was made by somebody else.
    Issuer,
}

/// Others are not looked at: keys and addresses of keys that a token brings along mean nothing.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    /// Names extensions that must be understood. None is.
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

/// Checks a token, and gives its bearer.
///
/// The algorithm is that of the key. A token that names another one is refused, so that none can have
/// its signature checked in a way that the key was not made for.
///
/// # Errors
///
/// The first thing that is wrong with it.
pub(super) fn check(
    token: &str,
    keys: &KeyRing,
    expected: &Expectations,
    now: Timestamp,
) -> Result<Identity, TokenFault> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenFault::TooLong);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(TokenFault::Malformed)?;
    let (header, claims) = message.split_once('.').ok_or(TokenFault::Malformed)?;
    if claims.contains('.') {
        return Err(TokenFault::Malformed);
    }
    let header: Header =
        serde_json::from_slice(&decode(header)?).map_err(|_| TokenFault::Malformed)?;
    if header.crit.is_some() {
        return Err(TokenFault::Malformed);
    }
    verify(message, signature, &header, keys)?;
    Identity::read(&decode(claims)?, expected, now)
}

fn verify(
    message: &str,
    signature: &str,
    header: &Header,
    keys: &KeyRing,
) -> Result<(), TokenFault> {
    let id = header.kid.as_deref();
    if id.is_some_and(|id| id.len() > KeySettings::ID_BYTES_MAX) {
        return Err(TokenFault::UnknownKey);
    }
    let candidates = keys.candidates(id);
    if candidates.is_empty() {
        return Err(TokenFault::UnknownKey);
    }
    let mut fault = TokenFault::Algorithm;
    for key in candidates.iter().filter(|key| key.algorithm.as_str() == header.alg) {
        let algorithm = key.algorithm.of_library();
        let verified =
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.decoding, algorithm);
        match verified {
            Ok(true) => return Ok(()),
            Ok(false) | Err(_) => fault = TokenFault::Signature,
        }
    }
    Err(fault)
}

fn decode(part: &str) -> Result<Vec<u8>, TokenFault> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed)
}

impl TokenFault {
    /// What the client is told.
    pub(crate) fn message(&self) -> String {
        match self {
            TokenFault::TooLong => format!("a token has at most {TOKEN_BYTES_MAX} bytes"),
            TokenFault::Malformed => "the token is not a JWT".to_owned(),
            TokenFault::UnknownKey => {
                "the token was signed with a key that is not known".to_owned()
            }
            TokenFault::Algorithm => "the token's algorithm is not that of the key".to_owned(),
            TokenFault::Signature => "the token's signature is wrong".to_owned(),
            TokenFault::Claims(what) => format!("the token's claims cannot be used: {what}"),
            TokenFault::Expired => "the token has expired".to_owned(),
            TokenFault::NotYetValid => "the token is not valid yet".to_owned(),
            TokenFault::Audience => "the token was made for another audience".to_owned(),
            TokenFault::Issuer => "the token was made by another issuer".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jsonwebtoken::{DecodingKey, EncodingKey};
    use serde_json::json;

    use super::*;
    use crate::auth::keys::{Algorithm, Key};

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn keys() -> KeyRing {
        let (algorithm, decoding) = (Algorithm::Hs256, DecodingKey::from_secret(SECRET));
        KeyRing::new(vec![Arc::new(Key { id: Some("k".to_owned()), algorithm, decoding })])
    }

    fn token() -> String {
        let header = jsonwebtoken::Header { kid: Some("k".to_owned()), ..Default::default() };
        let claims = json!({"sub": "alice", "exp": 1, "permissions": ["read"]});
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(SECRET)).unwrap()
    }

    fn check_at_the_beginning(token: &str) -> Result<Identity, TokenFault> {
        check(token, &keys(), &Expectations::default(), Timestamp::EPOCH)
    }

    #[test]
    fn a_token_with_any_character_changed_is_refused() {
        let token = token();
        assert!(check_at_the_beginning(&token).is_ok());

        for at in 0..token.len() {
            for other in ["A", "b", "_", ".", "=", "\u{0}", "é", ""] {
                let mut changed = token.clone();
                changed.replace_range(at..=at, other);
                let checked = check_at_the_beginning(&changed);
                assert!(changed == token || checked.is_err(), "{changed}");
            }
        }
    }

    #[test]
    fn a_token_cut_anywhere_is_refused() {
        let token = token();

        for end in 0..token.len() {
            assert!(check_at_the_beginning(&token[..end]).is_err());
            assert!(check_at_the_beginning(&token[token.len() - end..]).is_err());
        }
    }
}
