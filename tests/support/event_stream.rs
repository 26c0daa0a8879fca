//! A client for server-sent events, as strict as the HTML standard lets it be.

use std::io;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::deadline::within;
use crate::http::{Connection, Request, Response};
use crate::server::Server;

/// An open event stream. Dropping it cuts the connection.
#[derive(Debug)]
pub struct EventStream {
    reader: BufReader<OwnedReadHalf>,
    /// Kept: without it the connection would be half closed.
    writer: OwnedWriteHalf,
    head: Response,
    last_event_id: String,
    retry_ms: Option<u64>,
}

/// What stands between two empty lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamEvent {
    /// `id`, if it has one.
    pub id: Option<String>,
    /// `event`, if it has one.
    pub event: Option<String>,
    /// All `data` lines, joined.
    pub data: Option<String>,
    /// `retry`, if it has one.
    pub retry: Option<String>,
    /// Number of comments.
    pub comments: usize,
}

impl EventStream {
    /// Sends a request over this connection and takes the answer as a stream.
    ///
    /// # Panics
    ///
    /// If it is refused.
    pub async fn open(mut connection: Connection, request: &Request) -> EventStream {
        let head = connection.begin(request).await.expect("a request is answered");
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.header("content-type"), Some("text/event-stream"), "{head:?}");
        let (reader, writer) = connection.into_halves();
        EventStream { reader, writer, head, last_event_id: String::new(), retry_ms: None }
    }

    /// The answer's head.
    pub fn head(&self) -> &Response {
        &self.head
    }

    /// What a browser would send as `Last-Event-ID`.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// How long a browser would wait before it comes back.
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// The half that nothing is to be written to.
    pub fn writer(&mut self) -> &mut OwnedWriteHalf {
        &mut self.writer
    }

    /// The next block of lines; `None` at the end of the stream.
    ///
    /// # Panics
    ///
    /// If nothing comes, or what comes is not an event stream.
    pub async fn next_block(&mut self) -> Option<StreamEvent> {
        let block = within("an event", read_block(&mut self.reader)).await.ok()?;
        if let Some(id) = &block.id {
            self.last_event_id.clone_from(id);
        }
        if let Some(retry) = &block.retry {
            self.retry_ms = Some(retry.parse().expect("`retry` is a number"));
        }
        Some(block)
    }

    /// The next event that has data; `None` at the end of the stream.
    ///
    /// # Panics
    ///
    /// As [`next_block`](Self::next_block).
    pub async fn next_event(&mut self) -> Option<StreamEvent> {
        loop {
            let block = self.next_block().await?;
            if block.data.is_some() {
                return Some(block);
            }
        }
    }

    /// The next message: an event of the default type, as JSON.
    ///
    /// # Panics
    ///
    /// If something else comes, or the stream ends.
    pub async fn next(&mut self) -> Value {
        let event = self.next_event().await.expect("the stream goes on");
        assert_eq!(event.event, None, "{event:?}");
        let data = event.data.as_deref().unwrap_or_default();
        serde_json::from_str(data).unwrap_or_else(|err| panic!("{err} in the data {data}"))
    }

    /// The next message, which has this type.
    ///
    /// # Panics
    ///
    /// If it has another one.
    pub async fn next_of(&mut self, message_type: &str) -> Value {
        let message = self.next().await;
        assert_eq!(message["type"], message_type, "{message}");
        message
    }

    /// Reads on to the end. Gives the data of the event `close`, if there was one.
    ///
    /// # Panics
    ///
    /// If the stream does not end.
    pub async fn closed(&mut self) -> Option<String> {
        let mut reason = None;
        while let Some(event) = self.next_event().await {
            if event.event.as_deref() == Some("close") {
                reason = event.data;
            }
        }
        reason
    }
}

impl Server {
    /// Opens an event stream.
    ///
    /// # Panics
    ///
    /// If it is refused.
    pub async fn listen(&self, target: &str) -> EventStream {
        EventStream::open(self.connection().await, &stream_request(target)).await
    }

    /// Comes back to an event stream, as a browser does.
    ///
    /// # Panics
    ///
    /// If it is refused.
    pub async fn listen_after(&self, target: &str, last_event_id: &str) -> EventStream {
        let request = stream_request(target).header("Last-Event-ID", last_event_id);
        let mut stream = EventStream::open(self.connection().await, &request).await;
        last_event_id.clone_into(&mut stream.last_event_id);
        stream
    }
}

fn stream_request(target: &str) -> Request {
    Request::get(target).header("Accept", "text/event-stream")
}

async fn read_block(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<StreamEvent> {
    let mut block = StreamEvent::default();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await?;
        let Some(line) = line.strip_suffix('\n') else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        if line.is_empty() {
            return Ok(block);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "" => block.comments += 1,
            "id" => block.id = Some(value),
            "event" => block.event = Some(value),
            "retry" => block.retry = Some(value),
            "data" => {
                let data = block.data.get_or_insert_default();
                if !data.is_empty() {
                    data.push('\n');
                }
                data.push_str(&value);
            }
            other => panic!("{other:?} is no field of an event stream"),
        }
    }
}
