//! The request that asks for a WebSocket, judged before anything is allocated for it.

use actix_http::header::{self, HeaderMap, HeaderName};
use actix_http::{Method, RequestHead, StatusCode, Version};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// The only version of the protocol there is.
pub(crate) const VERSION: &str = "13";

/// What RFC 6455 appends to the key before hashing it.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes of a key, once decoded.
const KEY_BYTES: usize = 16;

/// Bytes of a key as it is sent.
const KEY_TEXT_BYTES: usize = 24;

/// A request that may become a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    accept: String,
    subprotocols: Vec<String>,
}

/// Why a request cannot become a WebSocket. `Display` says what the client should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The method is not GET.
    #[error("open a WebSocket with the method GET")]
    Method,
    /// The request is older than HTTP/1.1.
    #[error("open a WebSocket with HTTP/1.1")]
    HttpVersion,
    /// The request does not ask for an upgrade to WebSocket.
    #[error(
        "this address speaks WebSocket: send `Connection: Upgrade` and `Upgrade: websocket`, or use a ws:// URL"
    )]
    NoUpgrade,
    /// The version is missing, or not 13.
    #[error("send `Sec-WebSocket-Version: 13`; no other version is spoken here")]
    ProtocolVersion,
    /// The key is missing, comes twice, or is not the Base64 form of 16 bytes.
    #[error("send one `Sec-WebSocket-Key`, the Base64 form of 16 random bytes")]
    Key,
    /// The list of subprotocols is not a list of tokens.
    #[error("send `Sec-WebSocket-Protocol` as a list of tokens separated by commas")]
    Subprotocols,
}

impl HandshakeError {
    /// The status to answer with. With 426 go the headers `Upgrade: websocket` and
    /// `Sec-WebSocket-Version: 13`, with 405 `Allow: GET`: see [`headers`](Self::headers).
    pub const fn status(self) -> StatusCode {
        match self {
            HandshakeError::Method => StatusCode::METHOD_NOT_ALLOWED,
            HandshakeError::NoUpgrade | HandshakeError::ProtocolVersion => {
                StatusCode::UPGRADE_REQUIRED
            }
            HandshakeError::HttpVersion | HandshakeError::Key | HandshakeError::Subprotocols => {
                StatusCode::BAD_REQUEST
            }
        }
    }

    /// Headers that belong to the answer, as names and values.
    pub const fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            HandshakeError::Method => &[("allow", "GET")],
            HandshakeError::NoUpgrade | HandshakeError::ProtocolVersion => {
                &[("upgrade", "websocket"), ("sec-websocket-version", VERSION)]
            }
            HandshakeError::HttpVersion | HandshakeError::Key | HandshakeError::Subprotocols => &[],
        }
    }
}

impl Handshake {
    /// Judges a request. `Ok` means that it may be answered with 101.
    ///
    /// Nothing is said about its `Origin`: that is up to `OriginRules`.
    ///
    /// # Errors
    ///
    /// A [`HandshakeError`] with the status to answer with. The stream is still HTTP.
    pub fn check(head: &RequestHead) -> Result<Handshake, HandshakeError> {
        if head.method != Method::GET {
            return Err(HandshakeError::Method);
        }
        let headers = head.headers();
        if !has_token(headers, &header::CONNECTION, "upgrade")
            || !has_token(headers, &header::UPGRADE, "websocket")
        {
            return Err(HandshakeError::NoUpgrade);
        }
        if head.version != Version::HTTP_11 {
            return Err(HandshakeError::HttpVersion);
        }
        if only(headers, &header::SEC_WEBSOCKET_VERSION) != Some(VERSION) {
            return Err(HandshakeError::ProtocolVersion);
        }
        let key = only(headers, &header::SEC_WEBSOCKET_KEY).ok_or(HandshakeError::Key)?;
        let mut decoded = [0; KEY_BYTES];
        if key.len() != KEY_TEXT_BYTES
            || BASE64_STANDARD.decode_slice(key, &mut decoded) != Ok(KEY_BYTES)
        {
            return Err(HandshakeError::Key);
        }
        Ok(Handshake { accept: accept_value(key), subprotocols: subprotocols(headers)? })
    }

    /// The value of `Sec-WebSocket-Accept` in the answer.
    pub fn accept(&self) -> &str {
        &self.accept
    }

    /// The subprotocols that the client offers, the one it prefers first. The answer may name one
    /// of them.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        self.subprotocols.iter().map(String::as_str)
    }
}

/// Proves to a client that its key was read by something that speaks WebSocket.
fn accept_value(key: &str) -> String {
    let mut hash = sha1_smol::Sha1::from(key);
    hash.update(ACCEPT_SUFFIX);
    BASE64_STANDARD.encode(hash.digest().bytes())
}

fn subprotocols(headers: &HeaderMap) -> Result<Vec<String>, HandshakeError> {
    let mut offered = Vec::new();
    for value in headers.get_all(header::SEC_WEBSOCKET_PROTOCOL) {
        let value = value.to_str().map_err(|_| HandshakeError::Subprotocols)?;
        for name in value.split(',').map(str::trim) {
            if name.is_empty() || !name.bytes().all(is_token_byte) {
                return Err(HandshakeError::Subprotocols);
            }
            offered.push(name.to_owned());
        }
    }
    Ok(offered)
}

/// Whether a header that is a list of tokens has this one. Such a header may come several times.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(token))
}

/// The value of a header that must not come twice.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name);
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok().map(str::trim)
}

/// RFC 9110, section 5.6.2.
const fn is_token_byte(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'#'
            | b'$'
            | b'%'
            | b'&'
            | b'\''
            | b'*'
            | b'+'
            | b'-'
            | b'.'
            | b'^'
            | b'_'
            | b'`'
            | b'|'
            | b'~'
    ) || byte.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use actix_http::test::TestRequest;

    use super::*;

    /// A request as a browser sends it, changed by the test.
    fn request() -> TestRequest {
        let mut request = TestRequest::with_uri("/ws/counter/a");
        request
            .insert_header(("connection", "keep-alive, Upgrade"))
            .insert_header(("upgrade", "websocket"))
            .insert_header(("sec-websocket-version", "13"))
            .insert_header(("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="));
        request
    }

    fn check(mut request: TestRequest) -> Result<Handshake, HandshakeError> {
        Handshake::check(request.finish().head())
    }

    #[test]
    fn the_key_of_the_standard_gets_the_answer_of_the_standard() {
        let handshake = check(request()).unwrap();

        assert_eq!(handshake.accept(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(handshake.subprotocols().count(), 0);
    }

    #[test]
    fn offered_subprotocols_are_listed_in_order_over_several_headers() {
        let mut request = request();
        request
            .append_header(("sec-websocket-protocol", "dormouse, bearer.a-b_c.d~e"))
            .append_header(("sec-websocket-protocol", "other"));

        let handshake = check(request).unwrap();

        let offered: Vec<&str> = handshake.subprotocols().collect();
        assert_eq!(offered, ["dormouse", "bearer.a-b_c.d~e", "other"]);
    }

    #[test]
    fn what_is_missing_or_wrong_has_its_own_error() {
        let cases: [(&str, &str, HandshakeError); 10] = [
            ("connection", "keep-alive", HandshakeError::NoUpgrade),
            ("connection", "not-upgrade", HandshakeError::NoUpgrade),
            ("upgrade", "h2c", HandshakeError::NoUpgrade),
            ("sec-websocket-version", "8", HandshakeError::ProtocolVersion),
            ("sec-websocket-version", "13, 8", HandshakeError::ProtocolVersion),
            ("sec-websocket-key", "", HandshakeError::Key),
            ("sec-websocket-key", "c2hvcnQ=", HandshakeError::Key),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZ!==", HandshakeError::Key),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZSEhISE=", HandshakeError::Key),
            ("sec-websocket-protocol", "a,,b", HandshakeError::Subprotocols),
        ];

        for (name, value, expected) in cases {
            let mut request = request();
            request.insert_header((name, value));
            assert_eq!(check(request), Err(expected), "{name}: {value}");
        }
        assert_eq!(check(TestRequest::with_uri("/")), Err(HandshakeError::NoUpgrade));
    }

    #[test]
    fn method_version_and_repeated_keys_are_judged() {
        let mut post = request();
        post.method(Method::POST);
        let mut old = request();
        old.version(Version::HTTP_10);
        let mut twice = request();
        twice.append_header(("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="));

        assert_eq!(check(post), Err(HandshakeError::Method));
        assert_eq!(check(old), Err(HandshakeError::HttpVersion));
        assert_eq!(check(twice), Err(HandshakeError::Key));
    }

    #[test]
    fn an_upgrade_that_is_required_says_to_what() {
        let error = HandshakeError::ProtocolVersion;

        assert_eq!(error.status(), StatusCode::UPGRADE_REQUIRED);
        assert_eq!(error.headers()[1], ("sec-websocket-version", "13"));
        assert_eq!(HandshakeError::Method.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(HandshakeError::Key.status(), StatusCode::BAD_REQUEST);
    }
}
