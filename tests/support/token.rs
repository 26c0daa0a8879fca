//! Tokens of every algorithm, right and wrong ones, made without the server's help.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use aws_lc_rs::{encoding, hmac};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use dormouse::{Clock as _, SystemClock};
use serde_json::{Value, json};

/// How long a token counts if nothing else is said, in seconds.
const LIFE_SECONDS: i64 = 3600;

/// Characters in a line of PEM.
const PEM_LINE_CHARS: usize = 64;

/// Signs tokens.
#[derive(Debug)]
pub struct Signer {
    key: SigningKey,
    id: Option<String>,
}

#[derive(Debug)]
enum SigningKey {
    Hs256(Vec<u8>),
    Rs256(Box<RsaKeyPair>),
    Es256(Box<EcdsaKeyPair>),
    EdDsa(Box<Ed25519KeyPair>),
}

impl Signer {
    /// With a secret.
    pub fn hs256(secret: impl Into<Vec<u8>>) -> Signer {
        Signer::new(SigningKey::Hs256(secret.into()))
    }

    /// With a new RSA key.
    ///
    /// # Panics
    ///
    /// If there is no randomness.
    pub fn rs256() -> Signer {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("there is randomness");
        Signer::new(SigningKey::Rs256(Box::new(key)))
    }

    /// With a new key on P-256.
    ///
    /// # Panics
    ///
    /// If there is no randomness.
    pub fn es256() -> Signer {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Signer::new(SigningKey::Es256(Box::new(key.expect("there is randomness"))))
    }

    /// With a new Ed25519 key.
    ///
    /// # Panics
    ///
    /// If there is no randomness.
    pub fn eddsa() -> Signer {
        let key = Ed25519KeyPair::generate().expect("there is randomness");
        Signer::new(SigningKey::EdDsa(Box::new(key)))
    }

    fn new(key: SigningKey) -> Signer {
        Signer { key, id: None }
    }

    /// Names the key in every token.
    #[must_use]
    pub fn named(mut self, id: &str) -> Signer {
        self.id = Some(id.to_owned());
        self
    }

    /// A token that counts for an hour, with these claims; `null` leaves one out.
    pub fn token(&self, claims: Value) -> String {
        let mut all = json!({"sub": "alice", "exp": in_seconds(LIFE_SECONDS)});
        if let (Some(all), Value::Object(claims)) = (all.as_object_mut(), claims) {
            all.extend(claims);
            all.retain(|_, value| !value.is_null());
        }
        self.sign(&self.header(), &all.to_string())
    }

    /// A token of this user with these permissions.
    pub fn token_of(&self, user: &str, permissions: &[&str]) -> String {
        self.token(json!({"sub": user, "permissions": permissions}))
    }

    /// What tokens of this signer begin with.
    pub fn header(&self) -> Value {
        let mut header = json!({"typ": "JWT", "alg": self.algorithm()});
        if let Some(id) = &self.id {
            header["kid"] = id.as_str().into();
        }
        header
    }

    /// Signs whatever stands here, sensible or not.
    ///
    /// # Panics
    ///
    /// If there is no randomness.
    pub fn sign(&self, header: &Value, claims: &str) -> String {
        let header = BASE64_URL_SAFE_NO_PAD.encode(header.to_string());
        let message = format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let signature = self.signature(message.as_bytes());
        format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            SigningKey::Hs256(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&key, message).as_ref().to_vec()
            }
            SigningKey::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .expect("there is randomness");
                signature
            }
            SigningKey::Es256(key) => {
                key.sign(&random, message).expect("there is randomness").as_ref().to_vec()
            }
            SigningKey::EdDsa(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// The name of its algorithm.
    pub fn algorithm(&self) -> &'static str {
        match self.key {
            SigningKey::Hs256(_) => "HS256",
            SigningKey::Rs256(_) => "RS256",
            SigningKey::Es256(_) => "ES256",
            SigningKey::EdDsa(_) => "EdDSA",
        }
    }

    /// The public key in PEM.
    ///
    /// # Panics
    ///
    /// If it signs with a secret.
    pub fn public_key_pem(&self) -> String {
        let der: encoding::PublicKeyX509Der<'_> = match &self.key {
            SigningKey::Hs256(_) => panic!("a secret has no public key"),
            SigningKey::Rs256(key) => key.public_key().as_der(),
            SigningKey::Es256(key) => key.public_key().as_der(),
            SigningKey::EdDsa(key) => key.public_key().as_der(),
        }
        .expect("a public key has a DER form");
        let text = BASE64_STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(PEM_LINE_CHARS)
            .map(|line| std::str::from_utf8(line).expect("Base64 is ASCII"))
            .collect();
        let lines = lines.join("\n");
        format!("-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n")
    }

    /// The public key as it stands in a set.
    ///
    /// # Panics
    ///
    /// If it signs with a secret.
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.key {
            SigningKey::Hs256(_) => panic!("a secret does not belong into a set"),
            SigningKey::Rs256(key) => {
                let RsaPublicKeyComponents::<Vec<u8>> { n, e } = key.public_key().into();
                json!({"kty": "RSA", "n": text(&n), "e": text(&e)})
            }
            SigningKey::Es256(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": text(x), "y": text(y)})
            }
            SigningKey::EdDsa(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": text(key.public_key().as_ref())})
            }
        };
        jwk["use"] = "sig".into();
        if let Some(id) = &self.id {
            jwk["kid"] = id.as_str().into();
        }
        jwk
    }
}

/// The time in so many seconds, as tokens write it.
pub fn in_seconds(seconds: i64) -> i64 {
    SystemClock::new().now().as_ms() / 1000 + seconds
}
