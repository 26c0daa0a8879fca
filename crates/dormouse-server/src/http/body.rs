//! Bodies of requests, bounded in size and time.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use actix_web::http::header::{self, HeaderMap};
use actix_web::web;
use bytes::{Bytes, BytesMut};
use dormouse::{Error, ErrorCode};
use futures_util::Stream as _;

/// Largest body.
const BODY_BYTES_MAX: usize = 8 << 20;

/// How much of a body that is too large is read and thrown away, so that a client that sends all of it
/// before it reads can still be told why it was refused.
const DISCARDED_BYTES_MAX: usize = 64 << 20;

/// Longest time from the end of the head to the end of the body.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// Reads a body to its end.
///
/// # Errors
///
/// PAYLOAD_TOO_LARGE over 8 MiB, TIMEOUT after 30 s, BAD_REQUEST if it breaks off.
pub(crate) async fn read_body(
    headers: &HeaderMap,
    mut payload: web::Payload,
) -> Result<Bytes, Error> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > BODY_BYTES_MAX + DISCARDED_BYTES_MAX) {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIME_MAX, collect(Pin::new(&mut payload))).await {
        Ok(body) => body,
        Err(_) => Err(Error::new(ErrorCode::Timeout, "the body took longer than 30 s to arrive")),
    }
}

async fn collect(mut payload: Pin<&mut web::Payload>) -> Result<Bytes, Error> {
    let mut body = BytesMut::new();
    let mut bytes = 0;
    while let Some(chunk) = poll_fn(|cx| payload.as_mut().poll_next(cx)).await {
        let chunk =
            chunk.map_err(|err| Error::bad_request(format!("the body cannot be read: {err}")))?;
        bytes += chunk.len();
        if bytes <= BODY_BYTES_MAX {
            body.extend_from_slice(&chunk);
        } else if bytes <= BODY_BYTES_MAX + DISCARDED_BYTES_MAX {
            body = BytesMut::new();
        } else {
            return Err(too_large());
        }
    }
    if bytes > BODY_BYTES_MAX { Err(too_large()) } else { Ok(body.freeze()) }
}

fn too_large() -> Error {
    Error::new(ErrorCode::PayloadTooLarge, format!("a body has at most {BODY_BYTES_MAX} bytes"))
}
