//! Sets of public keys: JWKS, RFC 7517.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use actix_http::Uri;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use serde::Deserialize;
use serde_json::Value;

use crate::auth::keys::{Algorithm, Key, KeySettings, is_small};

/// Most keys of one set.
const SET_KEYS_MAX: usize = 64;

/// Bytes of a coordinate on P-256, and of a public key of Ed25519, in Base64.
const COORDINATE_TEXT_BYTES: usize = 43;

/// An address that may be believed: `https`, or `http` on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JwksAddress(Uri);

/// Why text is no such address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`jwks` is a file, or an address that begins with https:// (http:// only on this machine)")]
pub(crate) struct JwksAddressError;

/// Why a set cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JwksError {
    #[error("it is not a set of keys: an object with the list `keys`")]
    Form(#[source] serde_json::Error),
    #[error("it has more than {SET_KEYS_MAX} keys")]
    TooMany,
    #[error("none of its keys is for {}", .0.as_str())]
    Empty(Algorithm),
    #[error("two of its keys have the same `kid`")]
    Twice,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// Reads a set, and gives its keys for one algorithm. Others are passed over: a set may serve several
/// purposes, and may get keys of a sort that is not known yet.
///
/// # Errors
///
/// It is no set, or has no key for this algorithm.
pub(super) fn parse(text: &[u8], algorithm: Algorithm) -> Result<Vec<Key>, JwksError> {
    let Set { keys } = serde_json::from_slice(text).map_err(JwksError::Form)?;
    if keys.len() > SET_KEYS_MAX {
        return Err(JwksError::TooMany);
    }
    let keys: Vec<Key> = keys.into_iter().filter_map(|key| read(key, algorithm)).collect();
    if keys.is_empty() {
        return Err(JwksError::Empty(algorithm));
    }
    let mut ids = HashSet::new();
    if keys.iter().filter_map(|key| key.id.as_deref()).any(|id| !ids.insert(id)) {
        return Err(JwksError::Twice);
    }
    Ok(keys)
}

fn read(key: Value, algorithm: Algorithm) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(key).ok()?;
    let common = &jwk.common;
    let is_for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let is_of_algorithm = common
        .key_algorithm
        .is_none_or(|named| named == KeyAlgorithm::from(algorithm.of_library()));
    let has_shape = match (&jwk.algorithm, algorithm) {
        (AlgorithmParameters::RSA(_), Algorithm::Rs256) => true,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::Es256) => {
            key.curve == EllipticCurve::P256
                && [&key.x, &key.y].iter().all(|text| text.len() == COORDINATE_TEXT_BYTES)
        }
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDsa) => {
            key.curve == EllipticCurve::Ed25519 && key.x.len() == COORDINATE_TEXT_BYTES
        }
        // Secrets do not belong into a set of public keys.
        _ => false,
    };
    if !is_for_signatures || !is_of_algorithm || !has_shape {
        return None;
    }
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    if algorithm == Algorithm::Rs256 && is_small(&decoding) {
        return None;
    }
    let id = jwk.common.key_id;
    if id.as_ref().is_some_and(|id| id.len() > KeySettings::ID_BYTES_MAX) {
        return None;
    }
    Some(Key { id, algorithm, decoding })
}

impl JwksAddress {
    /// Reads an address.
    ///
    /// # Errors
    ///
    /// It is none, or what it gives could be forged on the way.
    pub(crate) fn parse(text: &str) -> Result<JwksAddress, JwksAddressError> {
        let uri: Uri = text.parse().map_err(|_| JwksAddressError)?;
        let host = uri.host().ok_or(JwksAddressError)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_here = bare == "localhost" || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        match uri.scheme_str() {
            Some("https") => Ok(JwksAddress(uri)),
            Some("http") if is_here => Ok(JwksAddress(uri)),
            _ => Err(JwksAddressError),
        }
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }
}

impl fmt::Display for JwksAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The public key of RFC 8037, appendix A.
    const ED25519_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn ed25519(more: &Value) -> Value {
        let mut key = json!({"kty": "OKP", "crv": "Ed25519", "x": ED25519_X});
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        key
    }

    fn ids(keys: &[Value], algorithm: Algorithm) -> Result<Vec<Option<String>>, String> {
        let text = json!({ "keys": keys }).to_string();
        let keys = parse(text.as_bytes(), algorithm).map_err(|err| err.to_string())?;
        Ok(keys.into_iter().map(|key| key.id).collect())
    }

    #[test]
    fn keys_for_something_else_are_passed_over() {
        let keys = [
            ed25519(&json!({"kid": "a"})),
            ed25519(&json!({"kid": "b", "use": "enc"})),
            ed25519(&json!({"kid": "c", "alg": "ES256"})),
            ed25519(&json!({"kid": "d", "use": "sig", "alg": "EdDSA", "mystery": [1]})),
            ed25519(&json!({"kid": "e", "x": "AAAA"})),
            ed25519(&json!({"kid": "f".repeat(257)})),
            json!({"kid": "g", "kty": "oct", "k": ED25519_X}),
            json!({"kid": "h", "kty": "RSA", "n": "AQAB", "e": "AQAB"}),
            json!({"kid": "i", "kty": "new"}),
            json!(7),
            ed25519(&json!({})),
        ];

        let found = ids(&keys, Algorithm::EdDsa).unwrap();

        assert_eq!(found, [Some("a".to_owned()), Some("d".to_owned()), None]);
        assert!(ids(&keys, Algorithm::Rs256).unwrap_err().contains("none of its keys"));
        assert!(ids(&keys, Algorithm::Hs256).unwrap_err().contains("none of its keys"));
    }

    #[test]
    fn what_is_no_set_is_refused() {
        let same = ed25519(&json!({"kid": "a"}));

        assert!(ids(&[same.clone(), same.clone()], Algorithm::EdDsa).unwrap_err().contains("same"));
        assert!(ids(&vec![same; 65], Algorithm::EdDsa).unwrap_err().contains("more than 64"));
        for text in ["", "[]", "{}", "{\"keys\":{}}", "<html>"] {
            let err = parse(text.as_bytes(), Algorithm::EdDsa).unwrap_err();
            assert!(matches!(err, JwksError::Form(_)), "{text:?}");
        }
    }

    #[test]
    fn an_address_is_one_that_nobody_can_forge() {
        for good in [
            "https://id.example/.well-known/jwks.json",
            "http://127.0.0.1:80/a",
            "http://[::1]/a",
            "http://localhost:3000/a",
        ] {
            assert_eq!(JwksAddress::parse(good).unwrap().to_string(), good);
        }
        for bad in
            ["http://id.example/a", "http://127.0.0.1.example/a", "file:///etc", "https:", ""]
        {
            assert_eq!(JwksAddress::parse(bad), Err(JwksAddressError), "{bad}");
        }
    }
}
