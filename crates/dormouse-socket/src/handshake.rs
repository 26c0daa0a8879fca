//! The request that asks for a WebSocket, judged before anything is allocated for it.

use actix_http::header::{self, HeaderMap, HeaderName};
use actix_http::{Method, RequestHead, StatusCode, Version};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::deflate::{self, Deflate};
use crate::extensions::{self, is_token_char};

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
    deflate: Option<Deflate>,
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
    /// The extensions are against the grammar of RFC 6455.
    #[error(
        "send `Sec-WebSocket-Extensions` as names with parameters, like `permessage-deflate; client_max_window_bits`"
    )]
    Extensions,
    /// `Host` is missing, or comes twice.
    #[error("send one `Host`")]
    Host,
    /// The request announces a body, which would be taken for frames.
    #[error("open a WebSocket with a request that has no body")]
    Body,
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
            HandshakeError::HttpVersion
            | HandshakeError::Key
            | HandshakeError::Subprotocols
            | HandshakeError::Extensions
            | HandshakeError::Host
            | HandshakeError::Body => StatusCode::BAD_REQUEST,
        }
    }

    /// Headers that belong to the answer, as names and values.
    pub const fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            HandshakeError::Method => &[("allow", "GET")],
            HandshakeError::NoUpgrade | HandshakeError::ProtocolVersion => {
                &[("upgrade", "websocket"), ("sec-websocket-version", VERSION)]
            }
            HandshakeError::HttpVersion
            | HandshakeError::Key
            | HandshakeError::Subprotocols
            | HandshakeError::Extensions
            | HandshakeError::Host
            | HandshakeError::Body => &[],
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
        if only(headers, &header::HOST).is_none() {
            return Err(HandshakeError::Host);
        }
        if has_body(headers) {
            return Err(HandshakeError::Body);
        }
        let key = only(headers, &header::SEC_WEBSOCKET_KEY).ok_or(HandshakeError::Key)?;
        let mut decoded = [0; KEY_BYTES];
        if key.len() != KEY_TEXT_BYTES
            || BASE64_STANDARD.decode_slice(key, &mut decoded) != Ok(KEY_BYTES)
        {
            return Err(HandshakeError::Key);
        }
        Ok(Handshake {
            accept: accept_value(key),
            subprotocols: subprotocols(headers)?,
            deflate: deflate(headers)?,
        })
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

    /// What may be agreed on about compression: the first offer of the client that the server can
    /// keep to. `None` if it makes none; there is no compression then.
    pub fn deflate(&self) -> Option<Deflate> {
        self.deflate
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
            if name.is_empty() || !name.chars().all(is_token_char) {
                return Err(HandshakeError::Subprotocols);
            }
            offered.push(name.to_owned());
        }
    }
    Ok(offered)
}

/// Judges what the client offers, in its order, over all headers of that name.
fn deflate(headers: &HeaderMap) -> Result<Option<Deflate>, HandshakeError> {
    let mut agreed = None;
    for value in headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS) {
        let value = value.to_str().map_err(|_| HandshakeError::Extensions)?;
        let offers = extensions::parse(value).ok_or(HandshakeError::Extensions)?;
        let known = offers.iter().filter(|offer| offer.name == deflate::EXTENSION);
        agreed = agreed
            .or_else(|| known.filter_map(|offer| deflate::negotiate(&offer.parameters)).next());
    }
    Ok(agreed)
}

/// Whether a request says that something follows its head.
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get_all(header::CONTENT_LENGTH).any(|length| length != "0")
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

#[cfg(test)]
mod tests {
    use actix_http::test::TestRequest;

    use super::*;

    /// A request as a browser sends it, changed by the test.
    fn request() -> TestRequest {
        let mut request = TestRequest::with_uri("/ws/counter/a");
        request
            .insert_header(("host", "localhost"))
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
    fn of_several_offers_to_compress_the_first_that_can_be_kept_to_is_taken() {
        let agreed = |offers: &[&str]| {
            let mut request = request();
            for offer in offers {
                request.append_header(("sec-websocket-extensions", *offer));
            }
            check(request).unwrap().deflate().map(|deflate| deflate.to_string())
        };
        let window = |bits: Option<u8>| {
            let limit = bits.map(|bits| format!("; server_max_window_bits={bits}"));
            let plain =
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
            Some(plain.to_owned() + &limit.unwrap_or_default())
        };

        assert_eq!(agreed(&[]), None);
        assert_eq!(agreed(&["x-webkit-deflate-frame, bbf-usp-protocol"]), None);
        assert_eq!(agreed(&["permessage-deflate; client_max_window_bits"]), window(None));
        assert_eq!(
            agreed(&[
                "x, permessage-deflate; mystery",
                "permessage-deflate;server_max_window_bits=12"
            ]),
            window(Some(12))
        );
        assert_eq!(
            agreed(&["permessage-deflate; server_max_window_bits=8, permessage-deflate"]),
            window(None)
        );
        assert_eq!(agreed(&["permessage-deflate; server_max_window_bits=8"]), None);
    }

    #[test]
    fn what_is_missing_or_wrong_has_its_own_error() {
        let cases: [(&str, &str, HandshakeError); 14] = [
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
            ("sec-websocket-extensions", "a;", HandshakeError::Extensions),
            ("sec-websocket-extensions", "permessage-deflate; =9", HandshakeError::Extensions),
            ("content-length", "5", HandshakeError::Body),
            ("transfer-encoding", "chunked", HandshakeError::Body),
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

        let mut no_host = TestRequest::with_uri("/");
        no_host
            .insert_header(("connection", "Upgrade"))
            .insert_header(("upgrade", "websocket"))
            .insert_header(("sec-websocket-version", "13"));

        assert_eq!(check(no_host), Err(HandshakeError::Host));
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
