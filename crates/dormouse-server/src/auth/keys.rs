//! The keys that tokens are checked with.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, DecodingKeyKind};
use serde::Deserialize;

use crate::auth::jwks::{self, JwksAddress, JwksError};

/// Fewest bytes of a secret: as many as the hash of HS256 has.
pub(crate) const SECRET_BYTES_MIN: usize = 32;

/// Largest file of a key or of a set of keys.
pub(super) const KEY_FILE_BYTES_MAX: u64 = 1 << 20;

/// Bytes of a point on P-256 that is not compressed.
const P256_POINT_BYTES: usize = 65;

/// Fewest bytes of an RSA key's modulus; smaller keys can be broken.
const RSA_MODULUS_BYTES_MIN: usize = 256;

/// What the first line of a private key in PEM says.
const PRIVATE: &[u8] = b"PRIVATE KEY-----";

/// How signatures are made. Each key has one, and a token cannot choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Algorithm {
    /// A secret that both sides know, with SHA-256.
    #[serde(rename = "HS256")]
    Hs256,
    /// RSA (PKCS #1 v1.5) with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// A key as the settings name it.
#[derive(Clone, Debug)]
pub(crate) struct KeySettings {
    /// What a token may call it in `kid`. The keys of a set have names of their own.
    pub(crate) id: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) source: KeySource,
}

/// Where a key comes from.
#[derive(Clone, Debug)]
pub(crate) enum KeySource {
    /// The environment.
    Secret(Secret),
    /// A file that holds the secret; one line break at its end does not count.
    SecretFile(PathBuf),
    /// A file in PEM.
    PublicKeyFile(PathBuf),
    /// A file with a set of public keys.
    JwksFile(PathBuf),
    /// An address that gives a set of public keys.
    JwksAddress(JwksAddress),
}

/// A secret of at least [`SECRET_BYTES_MIN`] bytes, which is never printed.
#[derive(Clone)]
pub(crate) struct Secret(Vec<u8>);

/// One key, ready to check signatures.
#[derive(Debug)]
pub(crate) struct Key {
    /// What a token may call it; `None` for a key of a set that gives it no name.
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

/// All keys that are in force.
#[derive(Debug, Default)]
pub(crate) struct KeyRing {
    all: Vec<Arc<Key>>,
    by_id: HashMap<String, Vec<Arc<Key>>>,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("cannot read {path} of key {id:?}")]
    Read {
        id: String,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the secret in {path} of key {id:?} has fewer than {SECRET_BYTES_MIN} bytes")]
    Secret { id: String, path: PathBuf },
    #[error("there is no public key for {} in {path} of key {id:?}", algorithm.as_str())]
    PublicKey {
        id: String,
        algorithm: Algorithm,
        path: PathBuf,
        #[source]
        source: jsonwebtoken::errors::Error,
    },
    #[error("{path} of key {id:?} is a private key; to check tokens the public one is enough")]
    Private { id: String, path: PathBuf },
    #[error("the RSA key in {path} of key {id:?} has fewer than 2048 bits")]
    Small { id: String, path: PathBuf },
    #[error("the key set in {path} of key {id:?} cannot be used")]
    Set {
        id: String,
        path: PathBuf,
        #[source]
        source: JwksError,
    },
}

impl Algorithm {
    /// Its name in settings and in the header of a token.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    /// Its name in the library that checks signatures.
    pub(super) const fn of_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

impl KeySettings {
    /// Longest id, in bytes.
    pub(crate) const ID_BYTES_MAX: usize = 256;

    /// The file that is to be read again when it changes, if there is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.source {
            KeySource::SecretFile(path)
            | KeySource::PublicKeyFile(path)
            | KeySource::JwksFile(path) => Some(path),
            KeySource::Secret(_) | KeySource::JwksAddress(_) => None,
        }
    }

    /// Reads the keys, as far as this machine has them: those of an address come later. Blocks on the
    /// disk.
    ///
    /// # Errors
    ///
    /// What is wrong with which file.
    pub(super) fn load(&self) -> Result<Vec<Key>, KeyError> {
        let algorithm = self.algorithm;
        let (id, key) =
            (&self.id, |decoding| Key { id: Some(self.id.clone()), algorithm, decoding });
        match &self.source {
            KeySource::Secret(secret) => Ok(vec![key(DecodingKey::from_secret(&secret.0))]),
            KeySource::SecretFile(path) => {
                let secret = self.read_secret(path)?;
                Ok(vec![key(DecodingKey::from_secret(&secret.0))])
            }
            KeySource::PublicKeyFile(path) => {
                self.public_key(path).map(|decoding| vec![key(decoding)])
            }
            KeySource::JwksFile(path) => jwks::parse(&self.read(path)?, algorithm)
                .map_err(|source| KeyError::Set { id: id.clone(), path: path.clone(), source }),
            KeySource::JwksAddress(_) => Ok(Vec::new()),
        }
    }

    /// The secret, if it is one.
    ///
    /// # Errors
    ///
    /// What is wrong with its file.
    pub(super) fn secret(&self) -> Result<Option<Secret>, KeyError> {
        match &self.source {
            KeySource::Secret(secret) => Ok(Some(secret.clone())),
            KeySource::SecretFile(path) => self.read_secret(path).map(Some),
            KeySource::PublicKeyFile(_) | KeySource::JwksFile(_) | KeySource::JwksAddress(_) => {
                Ok(None)
            }
        }
    }

    fn read_secret(&self, path: &Path) -> Result<Secret, KeyError> {
        let mut bytes = self.read(path)?;
        if bytes.ends_with(b"\n") {
            bytes.pop();
        }
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
        let too_short = || KeyError::Secret { id: self.id.clone(), path: path.to_owned() };
        Secret::new(bytes).ok_or_else(too_short)
    }

    fn public_key(&self, path: &Path) -> Result<DecodingKey, KeyError> {
        let pem = self.read(path)?;
        let (id, path) = (self.id.clone(), path.to_owned());
        if pem.windows(PRIVATE.len()).any(|window| window == PRIVATE) {
            return Err(KeyError::Private { id, path });
        }
        let algorithm = self.algorithm;
        let decoding = match algorithm {
            Algorithm::Rs256 => DecodingKey::from_rsa_pem(&pem),
            Algorithm::Es256 => DecodingKey::from_ec_pem(&pem).and_then(on_p256),
            Algorithm::EdDsa => DecodingKey::from_ed_pem(&pem),
            // The settings give HS256 a secret and nothing else. A public key as a secret would be one
            // that everybody knows.
            Algorithm::Hs256 => Err(ErrorKind::InvalidKeyFormat.into()),
        };
        match decoding {
            Ok(decoding) if algorithm == Algorithm::Rs256 && is_small(&decoding) => {
                Err(KeyError::Small { id, path })
            }
            Ok(decoding) => Ok(decoding),
            Err(source) => Err(KeyError::PublicKey { id, algorithm, path, source }),
        }
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, KeyError> {
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(KEY_FILE_BYTES_MAX).read_to_end(&mut bytes));
        match read {
            Ok(_) => Ok(bytes),
            Err(source) => {
                Err(KeyError::Read { id: self.id.clone(), path: path.to_owned(), source })
            }
        }
    }
}

impl Secret {
    /// `None` if it is too short.
    pub(crate) fn new(bytes: Vec<u8>) -> Option<Secret> {
        (bytes.len() >= SECRET_BYTES_MIN).then_some(Secret(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl KeyRing {
    pub(super) fn new(all: Vec<Arc<Key>>) -> KeyRing {
        let mut by_id: HashMap<String, Vec<Arc<Key>>> = HashMap::new();
        for key in &all {
            if let Some(id) = &key.id {
                by_id.entry(id.clone()).or_default().push(Arc::clone(key));
            }
        }
        KeyRing { all, by_id }
    }

    /// The keys that a token may have been signed with: those it names, or all. Two sets may use the
    /// same name.
    pub(super) fn candidates(&self, id: Option<&str>) -> &[Arc<Key>] {
        match id {
            Some(id) => self.by_id.get(id).map(Vec::as_slice).unwrap_or_default(),
            None => &self.all,
        }
    }
}

fn on_p256(key: DecodingKey) -> Result<DecodingKey, jsonwebtoken::errors::Error> {
    if key.try_get_as_bytes()?.len() == P256_POINT_BYTES {
        Ok(key)
    } else {
        Err(ErrorKind::InvalidEcdsaKey.into())
    }
}

/// Whether an RSA key is too small to be safe. Its DER form has the modulus and a few bytes more.
pub(super) fn is_small(key: &DecodingKey) -> bool {
    match key.kind() {
        DecodingKeyKind::SecretOrDer(der) => der.len() <= RSA_MODULUS_BYTES_MIN,
        DecodingKeyKind::RsaModulusExponent { n, .. } => n.len() < RSA_MODULUS_BYTES_MIN,
    }
}
