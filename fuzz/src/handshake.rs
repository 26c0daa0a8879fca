//! The handshake: bytes of a client up to the 101.

use actix_codec::Decoder as _;
use actix_http::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use actix_http::{ServiceConfig, h1};
use bytes::BytesMut;
use dormouse_socket::{Handshake, OriginRules};

/// The beginning of a handshake that lacks nothing but the empty line.
const REQUEST: &[u8] = b"GET /ws/counter/a HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

thread_local! {
    /// What the HTTP codec takes. It keeps a task for the date, which needs a runtime to begin with.
    static CONFIG: ServiceConfig =
        actix_rt::System::new().block_on(async { ServiceConfig::default() });
}

/// Reads and judges a handshake. What the first byte chooses: all of the request, or one of the
/// headers that have a grammar of their own.
///
/// # Panics
///
/// If what is agreed on cannot be answered with.
pub fn handshake(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let header = |name: &[u8]| [REQUEST, name, bytes, b"\r\n\r\n"].concat();
    let request = match choice % 4 {
        0 => bytes.to_vec(),
        1 => header(b"Sec-WebSocket-Extensions: "),
        2 => header(b"Sec-WebSocket-Protocol: "),
        _ => header(b"Origin: "),
    };

    let mut codec = CONFIG.with(|config| h1::Codec::new(config.clone()));
    let mut request = BytesMut::from(&request[..]);
    let Ok(Some(h1::Message::Item(request))) = codec.decode(&mut request) else { return };
    if let Err(err) = OriginRules::loopback().check(request.head()) {
        assert_eq!(err.status(), 403);
    }
    match Handshake::check(request.head()) {
        Ok(handshake) => {
            assert_eq!(handshake.accept().len(), 28);
            for name in handshake.subprotocols() {
                assert!(!name.is_empty() && HeaderValue::from_str(name).is_ok());
                assert!(request.head().headers().contains_key(SEC_WEBSOCKET_PROTOCOL));
            }
            if let Some(deflate) = handshake.deflate() {
                let answer = deflate.to_string();
                assert!(answer.starts_with("permessage-deflate; server_no_context_takeover;"));
                assert!(HeaderValue::from_str(&answer).is_ok());
            }
        }
        Err(err) => {
            assert!(err.status().is_client_error());
            assert!(!err.to_string().is_empty());
        }
    }
}
