//! A WebSocket at the level of frames, to break the protocol on purpose.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::deadline::within;
use crate::http::Request;
use crate::server::Server;
use crate::socket::Closed;

/// Every frame that tests send is masked with it.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What a frame is. Tests also send numbers that mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opcode(pub u8);

impl Opcode {
    /// Goes on with a message.
    pub const CONTINUATION: Opcode = Opcode(0);
    /// Begins a text message.
    pub const TEXT: Opcode = Opcode(1);
    /// Begins a binary message.
    pub const BINARY: Opcode = Opcode(2);
    /// Closes.
    pub const CLOSE: Opcode = Opcode(8);
    /// Asks for a pong.
    pub const PING: Opcode = Opcode(9);
    /// Answers a ping.
    pub const PONG: Opcode = Opcode(10);
}

/// A frame to be sent. It is right unless a test makes it wrong.
#[derive(Clone, Debug)]
pub struct ClientFrame {
    opcode: Opcode,
    is_final: bool,
    reserved_bits: u8,
    is_masked: bool,
    length: Option<u64>,
    payload: Vec<u8>,
}

/// A frame from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub opcode: Opcode,
    /// Whether it ends its message.
    pub is_final: bool,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// A socket after its handshake, as bare bytes.
#[derive(Debug)]
pub struct RawSocket {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl ClientFrame {
    /// A whole, masked frame.
    pub fn new(opcode: Opcode, payload: impl Into<Vec<u8>>) -> ClientFrame {
        ClientFrame {
            opcode,
            is_final: true,
            reserved_bits: 0,
            is_masked: true,
            length: None,
            payload: payload.into(),
        }
    }

    /// A text message in one frame.
    pub fn text(text: &str) -> ClientFrame {
        ClientFrame::new(Opcode::TEXT, text)
    }

    /// A close frame.
    pub fn close(code: u16, reason: &str) -> ClientFrame {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        ClientFrame::new(Opcode::CLOSE, payload)
    }

    /// More frames of this message follow.
    #[must_use]
    pub fn unfinished(mut self) -> ClientFrame {
        self.is_final = false;
        self
    }

    /// Sets reserved bits: 1 to 7.
    #[must_use]
    pub fn reserved(mut self, bits: u8) -> ClientFrame {
        self.reserved_bits = bits;
        self
    }

    /// Leaves the mask out, which a client must not.
    #[must_use]
    pub fn unmasked(mut self) -> ClientFrame {
        self.is_masked = false;
        self
    }

    /// Announces another length than the payload has.
    #[must_use]
    pub fn announcing(mut self, length: u64) -> ClientFrame {
        self.length = Some(length);
        self
    }

    /// The bytes on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        let length = self.length.unwrap_or(self.payload.len() as u64);
        let masked = if self.is_masked { 0x80 } else { 0 };
        let mut bytes =
            vec![u8::from(self.is_final) << 7 | self.reserved_bits << 4 | self.opcode.0];
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short), _) if short < 126 => bytes.push(masked | short),
            (_, Ok(medium)) => {
                bytes.push(masked | 126);
                bytes.extend(medium.to_be_bytes());
            }
            (_, Err(_)) => {
                bytes.push(masked | 127);
                bytes.extend(length.to_be_bytes());
            }
        }
        if self.is_masked {
            bytes.extend(MASK);
            bytes.extend(
                self.payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask),
            );
        } else {
            bytes.extend(&self.payload);
        }
        bytes
    }
}

impl RawSocket {
    /// Sends one frame.
    ///
    /// # Panics
    ///
    /// If the connection is broken.
    pub async fn send(&mut self, frame: &ClientFrame) {
        self.write(&frame.to_bytes()).await.expect("the connection is open");
    }

    /// Writes bytes that need not be a frame.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        within("room to write", self.writer.write_all(bytes)).await
    }

    /// The next frame, of whatever opcode.
    ///
    /// # Errors
    ///
    /// The connection ended.
    ///
    /// # Panics
    ///
    /// If the server breaks the protocol itself: with a masked frame or with reserved bits.
    pub async fn next(&mut self) -> io::Result<Frame> {
        within("a frame", self.read_frame()).await
    }

    /// Reads on until a close frame, and then until the server has closed the connection too.
    ///
    /// # Panics
    ///
    /// If the connection ends without a close frame, or goes on after it.
    pub async fn closed(&mut self) -> Closed {
        loop {
            let frame = self.next().await.expect("a close frame comes before the end");
            if frame.opcode != Opcode::CLOSE {
                continue;
            }
            let (code, reason) = match frame.payload.split_first_chunk() {
                Some((code, reason)) => (u16::from_be_bytes(*code), reason.to_vec()),
                None => (1005, Vec::new()),
            };
            // The other half of the closing handshake; the server may have gone already.
            _ = self.write(&ClientFrame::close(code, "").to_bytes()).await;
            within("the end of the connection", self.end()).await;
            return Closed { code, reason: String::from_utf8(reason).expect("a reason is UTF-8") };
        }
    }

    /// Reads to the end of the connection; nothing may come before it.
    async fn end(&mut self) {
        let mut rest = Vec::new();
        // A server that closes while bytes of ours are on their way resets the connection.
        _ = self.reader.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "bytes after the close frame: {rest:?}");
    }

    async fn read_frame(&mut self) -> io::Result<Frame> {
        let [first, second] = [self.reader.read_u8().await?, self.reader.read_u8().await?];
        assert_eq!(second & 0x80, 0, "a server must not mask");
        assert_eq!(first & 0x70, 0, "reserved bits without an extension");
        let length = match second {
            126 => u64::from(self.reader.read_u16().await?),
            127 => self.reader.read_u64().await?,
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).expect("it fits in memory")];
        self.reader.read_exact(&mut payload).await?;
        Ok(Frame { opcode: Opcode(first & 0x0f), is_final: first & 0x80 != 0, payload })
    }
}

impl Server {
    /// Opens a socket of bare frames.
    ///
    /// # Panics
    ///
    /// If the handshake is refused.
    pub async fn connect_raw(&self, target: &str) -> RawSocket {
        let mut connection = self.connection().await;
        let response =
            connection.send(&Request::handshake(target)).await.expect("a handshake is answered");
        assert_eq!(response.status, 101, "{response:?}");
        let (reader, writer) = connection.into_halves();
        RawSocket { reader, writer }
    }
}
