//! A WebSocket client: handshake, server frames, pongs so that it stays open, and short texts.
//!
//! It reads what servers of this tool send, which is unfragmented text. All sockets of a thread read
//! into one [`ReadBuffer`]; a socket keeps bytes of its own only for a frame that came in parts.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// Bytes that one read takes at most: what 8 broadcasts of 300 bytes need many times over.
const READ_BYTES: usize = 64 << 10;

/// Bytes that the head of a handshake's answer may have.
const HANDSHAKE_BYTES_MAX: usize = 8 << 10;

/// Payload that a frame may have.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// The key of RFC 6455's example and the answer that proves that the server speaks WebSocket. A
/// random key protects against caches between client and server, of which loopback has none.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const OPCODE_TEXT: u8 = 0x1;
const OPCODE_CLOSE: u8 = 0x8;
const OPCODE_PING: u8 = 0x9;
const OPCODE_PONG: u8 = 0xA;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Payload of a frame whose length stands in the first two bytes.
const SHORT_BYTES_MAX: usize = 125;

/// The payload of a close frame: 1000.
const CLOSE_NORMAL: [u8; 2] = 1_000_u16.to_be_bytes();

/// One open socket.
#[derive(Debug)]
pub(crate) struct WebSocket {
    stream: TcpStream,
    /// The start of a frame whose end has not arrived.
    partial: Vec<u8>,
}

/// Where all sockets of one thread read to.
#[derive(Debug)]
pub(crate) struct ReadBuffer(RefCell<Box<[u8]>>);

/// One whole frame of a server.
#[derive(Debug, PartialEq, Eq)]
struct Frame<'a> {
    opcode: u8,
    payload: &'a [u8],
    /// Header and payload.
    wire_bytes: usize,
}

impl WebSocket {
    /// Connects and upgrades `path`.
    ///
    /// # Errors
    ///
    /// The server refused; the error carries its status line.
    pub(crate) async fn open(address: SocketAddr, path: &str) -> Result<WebSocket> {
        let stream =
            TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        WebSocket::upgrade(stream, address, path).await
    }

    /// As [`open`](Self::open), from this address of loopback.
    pub(crate) async fn open_from(
        source: Ipv4Addr,
        address: SocketAddr,
        path: &str,
    ) -> Result<WebSocket> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((source, 0).into()).with_context(|| format!("bind {source}"))?;
        let connected = socket.connect(address).await;
        let stream = connected.with_context(|| format!("connect {source} to {address}"))?;
        WebSocket::upgrade(stream, address, path).await
    }

    async fn upgrade(mut stream: TcpStream, address: SocketAddr, path: &str) -> Result<WebSocket> {
        stream.set_nodelay(true)?;
        let request = handshake(address, path, "");
        stream.write_all(&request).await.context("send the handshake")?;
        let mut answer = Vec::with_capacity(512);
        let head_bytes = loop {
            if let Some(end) = answer.windows(4).position(|end| end == b"\r\n\r\n") {
                break end + 4;
            }
            ensure!(answer.len() < HANDSHAKE_BYTES_MAX, "endless answer to the handshake");
            let read = stream.read_buf(&mut answer).await.context("read the handshake")?;
            ensure!(read > 0, "the server closed the connection during the handshake");
        };
        let head = String::from_utf8_lossy(&answer[..head_bytes]);
        let status = head.lines().next().unwrap_or_default();
        ensure!(status.contains(" 101 "), "handshake refused: {status}");
        ensure!(head.contains(ACCEPT), "wrong Sec-WebSocket-Accept");
        // The first frames may have come along, and one reader of them must remain: `receive`.
        Ok(WebSocket { stream, partial: answer.split_off(head_bytes) })
    }

    /// Waits for one read's worth of frames and hands each text frame's payload to `on_text`.
    ///
    /// May return without a call when only part of a frame arrived.
    ///
    /// # Errors
    ///
    /// The socket is closed or the server broke the protocol; it must not be used again.
    pub(crate) async fn receive(
        &mut self,
        buffer: &ReadBuffer,
        mut on_text: impl FnMut(&[u8]),
    ) -> Result<()> {
        poll_fn(|cx| self.poll_receive(cx, buffer, &mut on_text)).await
    }

    /// Waits for the first text frame.
    pub(crate) async fn first_text(&mut self, buffer: &ReadBuffer) -> Result<Vec<u8>> {
        let mut first = None;
        let bytes = std::mem::take(&mut self.partial);
        self.take_frames(&bytes, &mut |text: &[u8]| keep_first(&mut first, text))?;
        while first.is_none() {
            self.receive(buffer, |text| keep_first(&mut first, text)).await?;
        }
        Ok(first.expect("the loop ends when there is one"))
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &ReadBuffer,
        on_text: &mut impl FnMut(&[u8]),
    ) -> Poll<Result<()>> {
        let mut bytes = buffer.0.borrow_mut();
        let mut read = ReadBuf::new(&mut bytes);
        // `poll_read`, not `try_read`: after a short read it knows that the socket is empty and
        // spares the second system call that would only say so.
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read)).context("read frames")?;
        let bytes = read.filled();
        if bytes.is_empty() {
            return Poll::Ready(Err(anyhow::anyhow!("the server closed the connection")));
        }
        if self.partial.is_empty() {
            return Poll::Ready(self.take_frames(bytes, on_text));
        }
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(bytes);
        Poll::Ready(self.take_frames(&joined, on_text))
    }

    /// Handles the whole frames in `bytes` and keeps the rest.
    fn take_frames(&mut self, mut bytes: &[u8], on_text: &mut impl FnMut(&[u8])) -> Result<()> {
        while let Some(frame) = parse_frame(bytes)? {
            match frame.opcode {
                OPCODE_TEXT => on_text(frame.payload),
                OPCODE_PING => self.answer_ping(frame.payload)?,
                OPCODE_PONG => {}
                OPCODE_CLOSE => {
                    bail!("the server closed the socket: {}", close_code(frame.payload))
                }
                other => bail!("frame with opcode {other}, which this client does not read"),
            }
            bytes = &bytes[frame.wire_bytes..];
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    /// Sends a text of at most 125 bytes.
    ///
    /// # Errors
    ///
    /// The text is longer, or the server leaves so much unread that it does not fit.
    pub(crate) fn send_text(&self, text: &str) -> Result<()> {
        self.send(OPCODE_TEXT, text.as_bytes()).context("send a text")
    }

    /// Says that the client is done, as a page that is left does. The server closes the connection.
    pub(crate) fn send_close(&self) -> Result<()> {
        self.send(OPCODE_CLOSE, &CLOSE_NORMAL).context("send a close")
    }

    /// Sends a pong, without which a server takes this client for dead.
    fn answer_ping(&self, payload: &[u8]) -> Result<()> {
        self.send(OPCODE_PONG, payload).context("answer a ping")
    }

    fn send(&self, opcode: u8, payload: &[u8]) -> Result<()> {
        ensure!(payload.len() <= SHORT_BYTES_MAX, "a payload of {} bytes", payload.len());
        let length = u8::try_from(payload.len())?;
        // Masking with zeros leaves the payload as it is.
        let mut frame = vec![FIN | opcode, MASKED | length, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        let written = self.stream.try_write(&frame)?;
        ensure!(written == frame.len(), "no room for a whole frame");
        Ok(())
    }
}

impl ReadBuffer {
    pub(crate) fn new() -> ReadBuffer {
        ReadBuffer(RefCell::new(vec![0; READ_BYTES].into_boxed_slice()))
    }
}

/// The request that opens a socket. `headers` are more header lines.
pub(crate) fn handshake(address: SocketAddr, path: &str, headers: &str) -> Vec<u8> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{headers}\r\n"
    );
    request.into_bytes()
}

/// Reads one frame from the front of `bytes`; `None` while it is incomplete.
fn parse_frame(bytes: &[u8]) -> Result<Option<Frame<'_>>> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    ensure!(first & FIN != 0, "a fragmented message, which this client does not read");
    ensure!(first & 0x70 == 0, "reserved bits are set");
    ensure!(second & MASKED == 0, "a masked frame from a server");
    let (payload_bytes, rest) = match second {
        126 => match rest.split_first_chunk() {
            Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest),
            None => return Ok(None),
        },
        short => (u64::from(short), rest),
    };
    let payload_bytes = usize::try_from(payload_bytes).unwrap_or(usize::MAX);
    ensure!(payload_bytes <= FRAME_BYTES_MAX, "a frame of {payload_bytes} bytes");
    let header_bytes = bytes.len() - rest.len();
    Ok(rest.get(..payload_bytes).map(|payload| Frame {
        opcode: first & 0x0F,
        payload,
        wire_bytes: header_bytes + payload_bytes,
    }))
}

/// A close frame's code and reason, for a message to a person.
fn close_code(payload: &[u8]) -> String {
    match payload.split_first_chunk() {
        Some((code, reason)) => {
            format!("{} {}", u16::from_be_bytes(*code), String::from_utf8_lossy(reason))
        }
        None => "no code".to_owned(),
    }
}

fn keep_first(first: &mut Option<Vec<u8>>, text: &[u8]) {
    first.get_or_insert_with(|| text.to_vec());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_once_it_is_whole_whatever_its_length() {
        for length in [0, 1, 125, 126, 300, 65_535, 65_536] {
            let bytes = text_frame(&vec![b'x'; length]);

            for end in [0, 1, 2, 3, 9, bytes.len() - 1] {
                let end = end.min(bytes.len() - 1);
                assert_eq!(parse_frame(&bytes[..end]).unwrap(), None, "{length} cut at {end}");
            }

            let frame = parse_frame(&bytes).unwrap().expect("the frame is whole");
            assert_eq!(frame.payload.len(), length);
            assert_eq!(frame.wire_bytes, bytes.len());
            assert_eq!(frame.opcode, OPCODE_TEXT);
        }
    }

    #[test]
    fn frames_that_a_server_must_not_send_are_refused() {
        let fragment = [OPCODE_TEXT, 0];
        let reserved = [FIN | 0x40 | OPCODE_TEXT, 0];
        let masked = [FIN | OPCODE_TEXT, MASKED];
        let endless = [FIN | OPCODE_TEXT, 127, 0xFF, 0, 0, 0, 0, 0, 0, 0];

        for bytes in [&fragment[..], &reserved, &masked, &endless] {
            assert!(parse_frame(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_close_names_its_code_and_reason() {
        assert_eq!(close_code(b"\x03\xE9gone"), "1001 gone");
        assert_eq!(close_code(b""), "no code");
    }

    fn text_frame(payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![FIN | OPCODE_TEXT];
        match payload.len() {
            short @ 0..126 => bytes.push(u8::try_from(short).unwrap()),
            medium @ 126..65_536 => {
                bytes.push(126);
                bytes.extend_from_slice(&u16::try_from(medium).unwrap().to_be_bytes());
            }
            long => {
                bytes.push(127);
                bytes.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(payload);
        bytes
    }
}
