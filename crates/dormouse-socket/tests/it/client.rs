//! A client that can break every rule.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than any test needs. It turns a test that would hang into one that fails.
const WAIT_MAX: Duration = Duration::from_secs(20);

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8A;
/// The first bytes of compressed messages.
pub(crate) const DEFLATED_TEXT: u8 = 0xC1;
pub(crate) const DEFLATED_BINARY: u8 = 0xC2;

/// One end of a connection whose handshake is over.
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

/// What a server sent, or that it hung up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Text(String),
    Binary(Vec<u8>),
    /// A compressed text message, as it was sent.
    Deflated(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// A close frame with code and reason; code 0 if it was empty.
    Close(u16, String),
    End,
}

impl Client {
    pub(crate) fn new(stream: TcpStream) -> Client {
        Client { stream, received: Vec::new() }
    }

    /// Sends bytes as they are.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the server reads");
    }

    /// Sends one masked frame whose first byte is `first`.
    pub(crate) async fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send_raw(&masked_frame(first, payload)).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.send_frame(TEXT, text.as_bytes()).await;
    }

    /// Receives one frame, or the end of the connection.
    pub(crate) async fn receive(&mut self) -> Got {
        loop {
            if let Some(got) = self.parse() {
                return got;
            }
            let read = self.stream.read_buf(&mut self.received);
            match timeout(WAIT_MAX, read).await.expect("something arrives") {
                Ok(0) | Err(_) => return Got::End,
                Ok(_) => {}
            }
        }
    }

    /// Receives one text frame.
    pub(crate) async fn receive_text(&mut self) -> String {
        match self.receive().await {
            Got::Text(text) => text,
            other => panic!("{other:?} is no text"),
        }
    }

    /// Hangs up without a word.
    pub(crate) fn hang_up(self) {}

    /// Takes one frame from what was received. The server must send whole, unmasked frames.
    fn parse(&mut self) -> Option<Got> {
        let bytes = &self.received;
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        assert_eq!(second & 0x80, 0, "servers do not mask");
        let (start, length) = match second {
            126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
            127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap())),
            short => (2, u64::from(short)),
        };
        let end = start + usize::try_from(length).unwrap();
        let payload = bytes.get(start..end)?.to_vec();
        self.received.drain(..end);
        Some(match first {
            TEXT => Got::Text(String::from_utf8(payload).expect("servers send UTF-8")),
            BINARY => Got::Binary(payload),
            DEFLATED_TEXT => Got::Deflated(payload),
            PING => Got::Ping(payload),
            PONG => Got::Pong(payload),
            CLOSE if payload.is_empty() => Got::Close(0, String::new()),
            CLOSE => Got::Close(
                u16::from_be_bytes([payload[0], payload[1]]),
                String::from_utf8(payload[2..].to_vec()).expect("reasons are UTF-8"),
            ),
            other => panic!("servers do not send {other:#x}"),
        })
    }
}

/// Encodes one frame as a client does.
pub(crate) fn masked_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xFA, 0x21, 0x3D];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The payload of a close frame.
pub(crate) fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}
