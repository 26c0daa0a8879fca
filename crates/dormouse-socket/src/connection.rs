//! A connection while HTTP has it, and its way out of HTTP.
//!
//! A WebSocket leaves through the upgrade service, which is given the connection. A request for
//! server-sent events is a GET like any other, so the application answers it; the [`Handover`] of its
//! connection then catches the stream at the moment when HTTP would close it. Everything that HTTP
//! does for an answer (headers, CORS, the order of answers) is done by then, and the dispatcher with
//! its buffers goes, which would otherwise stay for as long as the stream.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::stream::Stream;

/// A connection as the HTTP dispatcher sees it.
#[derive(Debug)]
pub struct Connection {
    /// `None` once it was handed over.
    stream: Option<Stream>,
    handover: Handover,
}

/// Takes the stream of one connection out of HTTP after an answer. Clones are of the same connection.
#[derive(Clone, Default)]
pub struct Handover {
    taker: Rc<Cell<Option<Taker>>>,
}

type Taker = Box<dyn FnOnce(Stream)>;

impl Handover {
    /// Has `taker` called with the stream once the answer to the present request is written, in place
    /// of closing the connection. If the client leaves before that, it is dropped uncalled.
    ///
    /// The answer must say that the connection closes. What the client has sent after its request is
    /// lost.
    pub fn after_answer(&self, taker: impl FnOnce(Stream) + 'static) {
        self.taker.set(Some(Box::new(taker)));
    }
}

impl Connection {
    /// Wraps a stream on which HTTP has not begun.
    pub fn new(stream: impl Into<Stream>) -> Connection {
        Connection { stream: Some(stream.into()), handover: Handover::default() }
    }

    /// Its way out of HTTP.
    pub fn handover(&self) -> Handover {
        self.handover.clone()
    }

    /// Takes the stream out.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotConnected`] if it was handed over before.
    pub(crate) fn into_stream(self) -> io::Result<Stream> {
        self.stream.ok_or_else(gone)
    }

    fn stream(&mut self) -> io::Result<Pin<&mut Stream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(gone)
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Connection>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Connection>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().stream()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Connection>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().stream()?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(Stream::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Connection>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_flush(cx)
    }

    /// The last that HTTP does with a connection, after everything was written.
    fn poll_shutdown(self: Pin<&mut Connection>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let connection = self.get_mut();
        let Some(taker) = connection.handover.taker.take() else {
            return connection.stream()?.poll_shutdown(cx);
        };
        if let Some(stream) = connection.stream.take() {
            taker(stream);
        }
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handover").finish_non_exhaustive()
    }
}
