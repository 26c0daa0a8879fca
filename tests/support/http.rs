//! A small HTTP/1.1 client: one connection, exactly the bytes that the test says.
//!
//! It is written by hand because tests send what no client library would: wrong hosts, paths that
//! are not normalised, heads that never end.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::deadline::within;

/// A request, sent as it stands here. `Host` and `Content-Length` are added if they are missing.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// All headers, names in lower case, in their order.
    pub headers: Vec<(String, String)>,
    /// The body, without any transfer encoding.
    pub body: Vec<u8>,
}

/// A connection that is kept alive.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Request {
    /// A request without headers or body. `target` is sent as it is.
    pub fn new(method: &str, target: impl Into<String>) -> Request {
        let (method, target) = (method.to_owned(), target.into());
        Request { method, target, headers: Vec::new(), body: Vec::new() }
    }

    /// A GET.
    pub fn get(target: impl Into<String>) -> Request {
        Request::new("GET", target)
    }

    /// A POST of JSON text.
    pub fn post_json(target: impl Into<String>, body: impl Into<Vec<u8>>) -> Request {
        Request::new("POST", target).header("Content-Type", "application/json").body(body)
    }

    /// The handshake of a WebSocket, as RFC 6455 gives it in its first example.
    pub fn handshake(target: impl Into<String>) -> Request {
        Request::get(target)
            .header("Upgrade", "websocket")
            .header("Connection", "Upgrade")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Sec-WebSocket-Version", "13")
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes all headers of that name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Request {
        self.headers.retain(|(header, _)| !header.eq_ignore_ascii_case(name));
        self
    }

    /// Replaces a header.
    #[must_use]
    pub fn with(self, name: &str, value: &str) -> Request {
        self.without(name).header(name, value)
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self
    }

    /// The bytes on the wire, for a server at `address`.
    pub fn to_bytes(&self, address: SocketAddr) -> Vec<u8> {
        let has =
            |name: &str| self.headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(name));
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !has("Host") {
            head += &format!("Host: {address}\r\n");
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let has_length = has("Content-Length") || has("Transfer-Encoding");
        if !has_length && (!self.body.is_empty() || self.method == "POST") {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

impl Response {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    ///
    /// # Panics
    ///
    /// If it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// If it is not JSON, or does not say that it is.
    pub fn json(&self) -> Value {
        let content_type = self.header("content-type").unwrap_or_default();
        assert!(
            content_type.starts_with("application/json"),
            "{content_type:?} is not JSON: {self:?}"
        );
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|err| panic!("{err} in the body {:?}", self.text()))
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Nobody listens there.
    pub async fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = within("a connection", TcpStream::connect(address)).await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        Ok(Connection { address, reader: BufReader::new(reader), writer })
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    ///
    /// The connection broke before the answer was complete.
    ///
    /// # Panics
    ///
    /// If the answer is not HTTP.
    pub async fn send(&mut self, request: &Request) -> io::Result<Response> {
        let bytes = request.to_bytes(self.address);
        let Connection { reader, writer, .. } = self;
        // A server may answer before it has read all of a body that it refuses. Then writing fails,
        // and what counts is the answer.
        let exchange = async {
            let (_written, answer) = tokio::join!(writer.write_all(&bytes), read_response(reader));
            answer
        };
        within("an HTTP answer", exchange).await
    }

    /// Writes these bytes and nothing else.
    ///
    /// # Errors
    ///
    /// The connection broke.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        within("room to write", self.writer.write_all(bytes)).await
    }

    /// Reads one answer to something that [`write`](Self::write) sent.
    ///
    /// # Errors
    ///
    /// The connection broke before the answer was complete.
    pub async fn read(&mut self) -> io::Result<Response> {
        within("an HTTP answer", read_response(&mut self.reader)).await
    }

    /// Sends a request and reads the head of its answer. The body of a refusal is read too.
    ///
    /// # Errors
    ///
    /// The connection broke before.
    ///
    /// # Panics
    ///
    /// If the answer is not HTTP.
    pub async fn begin(&mut self, request: &Request) -> io::Result<Response> {
        self.write(&request.to_bytes(self.address)).await?;
        within("the head of an answer", async {
            let mut response = read_head(&mut self.reader).await?;
            if response.status != 200 {
                response.body = read_body(&mut self.reader, &response).await?;
            }
            Ok(response)
        })
        .await
    }

    /// Reads until these bytes have come, and gives all that came before and with them.
    ///
    /// # Panics
    ///
    /// If the connection ends before.
    pub async fn read_to(&mut self, text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(text.as_bytes()) {
            bytes.push(within("a byte", self.reader.read_u8()).await.expect("more comes"));
        }
        bytes
    }

    /// The two halves, for what comes after an upgrade.
    pub(crate) fn into_halves(self) -> (BufReader<OwnedReadHalf>, OwnedWriteHalf) {
        (self.reader, self.writer)
    }
}

async fn read_response(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Response> {
    let mut response = read_head(reader).await?;
    response.body = read_body(reader, &response).await?;
    Ok(response)
}

async fn read_head(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Response> {
    let status_line = read_line(reader).await?;
    let status = status_line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("{status_line:?} is no HTTP status line"));
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader).await?;
        if line.is_empty() {
            break;
        }
        let (name, value) =
            line.split_once(':').unwrap_or_else(|| panic!("{line:?} is no HTTP header"));
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Response { status, headers, body: Vec::new() })
}

async fn read_body(reader: &mut BufReader<OwnedReadHalf>, head: &Response) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if matches!(head.status, 100..=199 | 204 | 304) {
        return Ok(body);
    }
    if head.header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        loop {
            let line = read_line(reader).await?;
            let length = usize::from_str_radix(&line, 16)
                .unwrap_or_else(|_| panic!("{line:?} is no length of a chunk"));
            let start = body.len();
            body.resize(start + length, 0);
            reader.read_exact(&mut body[start..]).await?;
            read_line(reader).await?;
            if length == 0 {
                return Ok(body);
            }
        }
    }
    match head.header("content-length") {
        Some(length) => {
            let length = length.parse().unwrap_or_else(|_| panic!("{length:?} is no length"));
            body.resize(length, 0);
            reader.read_exact(&mut body).await?;
        }
        None => _ = reader.read_to_end(&mut body).await?,
    }
    Ok(body)
}

async fn read_line(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line).await?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
