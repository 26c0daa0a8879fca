//! What a connection is made of: a TCP stream, with TLS around it or not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// The stream of one connection.
///
/// An enum, so that a plain connection pays for TLS with one predictable branch per call and
/// nothing else: no indirection, no allocation.
#[derive(Debug)]
pub enum Stream {
    /// TCP as it is.
    Plain(TcpStream),
    /// TLS over TCP, after its handshake. Boxed: it is two orders of magnitude larger.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Has small writes leave at once.
    ///
    /// # Errors
    ///
    /// The connection is gone.
    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.set_nodelay(true),
            Stream::Tls(stream) => stream.get_ref().0.set_nodelay(true),
        }
    }

    /// Whether everything that was written is with the kernel. TLS takes some more than the kernel
    /// does; [`poll_flush`](AsyncWrite::poll_flush) hands it on.
    pub(crate) fn is_flushed(&self) -> bool {
        match self {
            Stream::Plain(_) => true,
            Stream::Tls(stream) => !stream.get_ref().1.wants_write(),
        }
    }

    /// Writes like [`poll_write`](AsyncWrite::poll_write), but does not ask the runtime first whether the
    /// socket is ready, which costs a line of the cache for each socket of a broadcast. For when it most
    /// likely is.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => return Pin::new(stream).poll_write(cx, bytes),
        };
        match send(&*stream, bytes, SendFlags::NOSIGNAL) {
            Ok(written) => Poll::Ready(Ok(written)),
            // The runtime finds that out too, and then knows whom to wake.
            Err(Errno::AGAIN | Errno::INTR) => Pin::new(stream).poll_write(cx, bytes),
            Err(err) => Poll::Ready(Err(err.into())),
        }
    }

    /// Writes what the kernel takes of this at once. Whoever is gone, or does not read, misses it.
    pub(crate) fn write_now(&mut self, bytes: &[u8]) {
        let mut cx = Context::from_waker(Waker::noop());
        if Pin::new(&mut *self).poll_write(&mut cx, bytes).is_ready() {
            _ = Pin::new(self).poll_flush(&mut cx);
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Stream {
        Stream::Plain(stream)
    }
}

impl From<TlsStream<TcpStream>> for Stream {
    fn from(stream: TlsStream<TcpStream>) -> Stream {
        Stream::Tls(Box::new(stream))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Stream>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Stream>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Stream>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Stream>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(_) => Poll::Ready(Ok(())),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    /// With TLS: says so under TLS as well. May have to be polled again.
    fn poll_shutdown(self: Pin<&mut Stream>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_stream_is_no_larger_because_there_is_tls() {
        assert_eq!(size_of::<Stream>(), size_of::<TcpStream>());
    }
}
