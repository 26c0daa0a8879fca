//! The last that HTTP has to say: a refusal, or the 101 after which the stream is ours. The hub sends the 101, in
//! one write with what the client is greeted with.
//!
//! Both take the `Framed` that the upgrade service of `actix_http` is given. Once the service's
//! future has ended, the HTTP dispatcher is dropped; it would cost more than 20 KB per idle socket.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use actix_codec::Framed;
use actix_http::body::{BodySize, BoxBody, MessageBody as _};
use actix_http::header::{self, HeaderValue};
use actix_http::{ConnectionType, Response, StatusCode, body, h1};
use bytes::Bytes;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::time::timeout;

use crate::connection::Connection;
use crate::deflate::Deflate;
use crate::form::{Convention, Form};
use crate::handshake::Handshake;
use crate::stream::Stream;

/// How long a refusal may take to be written, and its client to hang up.
const FAREWELL_MAX: Duration = Duration::from_secs(5);

/// What is read and thrown away of a client that was refused.
const DISCARD_BYTES_MAX: usize = 64 * 1024;

/// What the codec takes to write an answer.
type Answer = h1::Message<(Response<()>, BodySize)>;

/// A stream that speaks WebSocket from here on.
#[derive(Debug)]
pub struct Upgraded {
    pub(crate) stream: Stream,
    pub(crate) read_ahead: Bytes,
    /// The end of the handshake, which the client is yet to be sent.
    pub(crate) head: Bytes,
    pub(crate) form: Form,
}

impl Upgraded {
    /// Wraps a stream on which the handshake is over, up to the [head](Self::with_head). `read_ahead` is what was
    /// read past it.
    pub fn new(stream: impl Into<Stream>, read_ahead: Bytes) -> Upgraded {
        let head = Bytes::new();
        Upgraded { stream: stream.into(), read_ahead, head, form: Form::Plain }
    }

    /// Says that client and server agreed on compression.
    #[must_use]
    pub fn with_deflate(self, deflate: Deflate) -> Upgraded {
        Upgraded { form: Form::Deflated(deflate.window), ..self }
    }

    /// Has the hub send this before anything else: the end of a handshake.
    #[must_use]
    pub fn with_head(self, head: Bytes) -> Upgraded {
        Upgraded { head, ..self }
    }

    /// Wraps a stream on which the answer to a request for server-sent events was written, up to the
    /// end of its head. The body has neither length nor chunks: it ends with the connection.
    ///
    /// # Errors
    ///
    /// The connection is gone.
    pub fn event_stream(stream: Stream, convention: Convention) -> io::Result<Upgraded> {
        stream.set_nodelay()?;
        let form = Form::EventStream(convention);
        Ok(Upgraded { form, ..Upgraded::new(stream, Bytes::new()) })
    }
}

/// Takes the stream of a handshake out of HTTP. The [`Hub`](crate::Hub) that accepts it answers with 101.
///
/// `subprotocol` must be one that the client offered, or `None`. `deflate` is what the handshake
/// [gives](Handshake::deflate) if messages are to be compressed, else `None`. Bytes that the client sent right
/// after its request are kept.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`] for a subprotocol that cannot stand in a header, or the connection is gone. The
/// stream is dropped.
pub fn switch_protocols(
    mut framed: Framed<Connection, h1::Codec>,
    handshake: &Handshake,
    subprotocol: Option<&str>,
    deflate: Option<Deflate>,
) -> io::Result<Upgraded> {
    let mut answer = Response::with_body(StatusCode::SWITCHING_PROTOCOLS, ());
    answer.head_mut().set_connection_type(ConnectionType::Upgrade);
    let headers = answer.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, header_value(handshake.accept())?);
    if let Some(subprotocol) = subprotocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, header_value(subprotocol)?);
    }
    if let Some(deflate) = deflate {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, header_value(&deflate.to_string())?);
    }

    write(&mut framed, h1::Message::Item((answer, BodySize::None)))?;

    let parts = framed.into_parts();
    let stream = parts.io.into_stream()?;
    // Events are small and must not wait for each other.
    stream.set_nodelay()?;
    // Copies, so that the large buffers of HTTP are not kept for a few bytes.
    let read_ahead = Bytes::copy_from_slice(&parts.read_buf);
    let head = Bytes::copy_from_slice(&parts.write_buf);
    let upgraded = Upgraded::new(stream, read_ahead).with_head(head);
    Ok(match deflate {
        Some(deflate) => upgraded.with_deflate(deflate),
        None => upgraded,
    })
}

/// Answers a handshake with an error and closes the connection.
///
/// # Errors
///
/// What writing the answer gave, [`io::ErrorKind::TimedOut`] if it took longer than 5 s, or
/// [`io::ErrorKind::InvalidInput`] if its body failed. The client has gone or will not read it; there is nothing to repeat.
///
/// # Cancel safety
///
/// Dropping the future closes the connection, possibly before the answer is complete.
pub async fn refuse(
    mut framed: Framed<Connection, h1::Codec>,
    mut answer: Response<BoxBody>,
) -> io::Result<()> {
    answer.head_mut().set_connection_type(ConnectionType::Close);
    let (head, body) = answer.into_parts();
    let body = match body.try_into_bytes() {
        Ok(bytes) => bytes,
        Err(body) => body::to_bytes(body).await.map_err(|_| io::ErrorKind::InvalidInput)?,
    };

    write(&mut framed, h1::Message::Item((head, BodySize::Sized(body.len() as u64))))?;
    write(&mut framed, h1::Message::Chunk(Some(body)))?;
    write(&mut framed, h1::Message::Chunk(None))?;
    within_farewell(async {
        flush(&mut framed).await?;
        let mut stream = framed.into_parts().io.into_stream()?;
        poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await?;
        discard(&mut stream).await
    })
    .await
}

fn write(framed: &mut Framed<Connection, h1::Codec>, message: Answer) -> io::Result<()> {
    Pin::new(framed).write(message)
}

async fn flush(framed: &mut Framed<Connection, h1::Codec>) -> io::Result<()> {
    poll_fn(|cx| Pin::new(&mut *framed).flush::<Answer>(cx)).await
}

/// Reads until the client hangs up. Closing with bytes unread would reset the connection, and the
/// client could lose the answer.
async fn discard(stream: &mut Stream) -> io::Result<()> {
    let mut buffer = [0; 1024];
    let mut discarded = 0;
    while discarded < DISCARD_BYTES_MAX {
        let mut buffer = ReadBuf::new(&mut buffer);
        poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buffer)).await?;
        if buffer.filled().is_empty() {
            return Ok(());
        }
        discarded += buffer.filled().len();
    }
    Ok(())
}

async fn within_farewell(step: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    timeout(FAREWELL_MAX, step).await.map_err(|_| io::ErrorKind::TimedOut)?
}

fn header_value(value: &str) -> io::Result<HeaderValue> {
    HeaderValue::from_str(value).map_err(|_| io::ErrorKind::InvalidInput.into())
}
