//! A keep-alive HTTP/1.1 connection that reads only what a load tool needs.
//!
//! One request at a time, sent as bytes that were built once; of the answer the status, the
//! length and the body. No header map, no allocation per call.

use std::net::SocketAddr;
use std::ops::Range;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bytes that one answer may have, head and body. `/metrics` is the largest that this tool asks for.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Room for the answers of counters; larger ones make the buffer grow.
const BUFFER_BYTES: usize = 2 << 10;

/// Ends a head.
const BLANK_LINE: &[u8] = b"\r\n\r\n";

/// One connection with at most one request in flight.
#[derive(Debug)]
pub(crate) struct HttpConnection {
    stream: TcpStream,
    /// Holds one answer at a time.
    buffer: Vec<u8>,
}

/// The answer to one request; borrows the connection's buffer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

/// What the head of an answer says about its body.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    body: Range<usize>,
}

impl HttpConnection {
    /// Connects, with Nagle's algorithm off.
    pub(crate) async fn open(address: SocketAddr) -> Result<HttpConnection> {
        let stream =
            TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(HttpConnection { stream, buffer: Vec::with_capacity(BUFFER_BYTES) })
    }

    /// Sends `request` and reads its whole answer, whatever its status.
    ///
    /// There is no time limit here: a timer per call would be paid on the measured path. Callers
    /// bound the whole scenario.
    ///
    /// # Errors
    ///
    /// The connection broke, or the answer is not one this client reads (no `Content-Length`,
    /// over [`ANSWER_BYTES_MAX`]). The connection must not be used again.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(request).await.context("send the request")?;
        self.buffer.clear();
        let head = loop {
            if let Some(head) = parse_head(&self.buffer)? {
                break head;
            }
            self.read_more().await?;
        };
        while self.buffer.len() < head.body.end {
            self.read_more().await?;
        }
        ensure!(self.buffer.len() == head.body.end, "more bytes than the answer's Content-Length");
        Ok(Answer { status: head.status, body: &self.buffer[head.body] })
    }

    async fn read_more(&mut self) -> Result<()> {
        ensure!(self.buffer.len() < ANSWER_BYTES_MAX, "answer over {ANSWER_BYTES_MAX} bytes");
        let read = self.stream.read_buf(&mut self.buffer).await.context("read the answer")?;
        ensure!(read > 0, "the server closed the connection instead of answering");
        Ok(())
    }
}

impl Answer<'_> {
    /// The body of a successful answer.
    ///
    /// # Errors
    ///
    /// Any other status than 200, with the start of the body.
    pub(crate) fn success(&self) -> Result<&[u8]> {
        if self.status != 200 {
            let start = &self.body[..self.body.len().min(200)];
            bail!("HTTP {}: {}", self.status, String::from_utf8_lossy(start));
        }
        Ok(self.body)
    }
}

/// Builds a `GET`.
pub(crate) fn get_request(address: SocketAddr, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes()
}

/// Builds a `POST` with a JSON body.
pub(crate) fn post_request(address: SocketAddr, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Reads the head of an answer; `None` while it is incomplete.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>> {
    let Some(head_len) = bytes.windows(BLANK_LINE.len()).position(|end| end == BLANK_LINE) else {
        return Ok(None);
    };
    let mut lines = bytes[..head_len].split(|&byte| byte == b'\n');
    let status = lines.next().and_then(parse_status).context("no HTTP/1.1 status line")?;
    let mut content_length = None;
    for line in lines {
        if let Some(colon) = line.iter().position(|&byte| byte == b':')
            && line[..colon].eq_ignore_ascii_case(b"content-length")
        {
            content_length = parse_number(line[colon + 1..].trim_ascii());
        }
    }
    let length: usize = content_length.context("an answer without Content-Length")?;
    ensure!(length <= ANSWER_BYTES_MAX, "answer of {length} bytes");
    let start = head_len + BLANK_LINE.len();
    Ok(Some(Head { status, body: start..start + length }))
}

fn parse_status(line: &[u8]) -> Option<u16> {
    parse_number(line.strip_prefix(b"HTTP/1.1 ")?.get(..3)?)
}

fn parse_number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_complete_only_with_its_blank_line() {
        let answer = b"HTTP/1.1 409 Conflict\r\ncontent-LENGTH:  5\r\nx: y\r\n\r\nhello";
        let body = answer.len() - 5..answer.len();

        for end in 0..body.start {
            assert_eq!(parse_head(&answer[..end]).unwrap(), None, "cut at {end}");
        }

        assert_eq!(parse_head(answer).unwrap(), Some(Head { status: 409, body }));
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_refused() {
        for head in [
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n\r\n",
        ] {
            assert!(parse_head(head.as_bytes()).is_err(), "{head}");
        }
    }
}
