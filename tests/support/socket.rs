//! A WebSocket client that is not ours (tokio-tungstenite), speaking JSON.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::deadline::within;
use crate::server::Server;

/// An open socket. Dropping it cuts the connection without a word.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
}

/// How a socket ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The close code; 1006 if the connection broke without one.
    pub code: u16,
    /// The reason.
    pub reason: String,
}

/// The code for a connection that broke: RFC 6455 reserves it for that.
const BROKEN: u16 = 1006;

impl Socket {
    /// Sends one JSON message.
    ///
    /// # Panics
    ///
    /// If the socket is closed.
    pub async fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string()).await;
    }

    /// Sends one JSON message to a server that may be gone.
    ///
    /// # Errors
    ///
    /// It is.
    pub async fn try_send(&mut self, message: &Value) -> Result<(), Closed> {
        let sent = self.stream.send(Message::text(message.to_string()));
        let sent = within("room to send", sent).await;
        sent.map_err(|err| Closed { code: BROKEN, reason: err.to_string() })
    }

    /// Sends one text message.
    ///
    /// # Panics
    ///
    /// If the socket is closed.
    pub async fn send_text(&mut self, text: &str) {
        self.send_message(Message::text(text)).await;
    }

    /// Sends one binary message.
    ///
    /// # Panics
    ///
    /// If the socket is closed.
    pub async fn send_binary(&mut self, bytes: &[u8]) {
        self.send_message(Message::binary(bytes.to_vec())).await;
    }

    /// Sends a WebSocket ping and waits for its pong, putting aside nothing: the socket must be
    /// quiet.
    ///
    /// # Panics
    ///
    /// If anything else comes first.
    pub async fn protocol_ping(&mut self, payload: &[u8]) {
        self.send_message(Message::Ping(payload.to_vec().into())).await;
        match self.receive().await {
            Ok(Message::Pong(pong)) => assert_eq!(&pong[..], payload),
            other => panic!("{other:?} instead of a pong"),
        }
    }

    /// The next JSON message.
    ///
    /// # Panics
    ///
    /// If the socket closes, nothing comes, or what comes is not JSON.
    pub async fn next(&mut self) -> Value {
        self.try_next().await.unwrap_or_else(|closed| panic!("the socket was closed: {closed:?}"))
    }

    /// The next JSON message, or how the socket ended.
    ///
    /// # Errors
    ///
    /// The socket is closed.
    ///
    /// # Panics
    ///
    /// If nothing comes, or what comes is not JSON.
    pub async fn try_next(&mut self) -> Result<Value, Closed> {
        loop {
            match self.receive().await? {
                Message::Text(text) => {
                    return Ok(serde_json::from_str(&text)
                        .unwrap_or_else(|err| panic!("{err} in the message {text}")));
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?} instead of text"),
            }
        }
    }

    /// The next JSON message, which has this type.
    ///
    /// # Panics
    ///
    /// If it has another one.
    pub async fn next_of(&mut self, message_type: &str) -> Value {
        let message = self.next().await;
        assert_eq!(message["type"], message_type, "{message}");
        message
    }

    /// Pings in JSON and gives the pong, which must be the next message: nothing else was sent.
    ///
    /// # Panics
    ///
    /// If something else comes first.
    pub async fn ping(&mut self) -> Value {
        self.send(&json!({"type": "ping"})).await;
        self.next_of("pong").await
    }

    /// Calls a method over the socket. The answer has to be read.
    ///
    /// # Panics
    ///
    /// If the socket is closed.
    pub async fn call(&mut self, id: impl Into<Value>, method: &str, params: Value) {
        let id: Value = id.into();
        self.send(&json!({"type": "call", "id": id, "method": method, "params": params})).await;
    }

    /// Reads on until the server closes the socket.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub async fn closed(&mut self) -> Closed {
        loop {
            if let Err(closed) = self.receive().await {
                return closed;
            }
        }
    }

    /// Closes the socket with 1000 and waits for the server to do the same.
    ///
    /// # Panics
    ///
    /// If the server answers with another code.
    pub async fn close(self) {
        self.close_with(1000).await;
    }

    /// Closes the socket with this code and waits for the server to do the same.
    ///
    /// # Panics
    ///
    /// If the server answers with another code.
    pub async fn close_with(mut self, code: u16) {
        // The server may have closed it a moment ago; the code below tells.
        let frame = CloseFrame { code: code.into(), reason: Utf8Bytes::default() };
        _ = self.stream.close(Some(frame)).await;
        assert_eq!(self.closed().await.code, code);
    }

    async fn send_message(&mut self, message: Message) {
        within("room to send", self.stream.send(message)).await.expect("the socket is open");
    }

    async fn receive(&mut self) -> Result<Message, Closed> {
        match within("a message", self.stream.next()).await {
            Some(Ok(Message::Close(Some(frame)))) => {
                // Flushes the answer to it, so that the server sees a whole closing handshake.
                _ = within("the end of the closing handshake", self.stream.next()).await;
                Err(Closed { code: frame.code.into(), reason: frame.reason.as_str().to_owned() })
            }
            Some(Ok(Message::Close(None))) => Err(Closed { code: 1005, reason: String::new() }),
            Some(Ok(message)) => Ok(message),
            Some(Err(err)) => Err(Closed { code: BROKEN, reason: err.to_string() }),
            None => Err(Closed { code: BROKEN, reason: "end of the connection".to_owned() }),
        }
    }
}

impl Server {
    /// Opens a socket.
    ///
    /// # Panics
    ///
    /// If the handshake is refused.
    pub async fn connect(&self, target: &str) -> Socket {
        self.connect_with(target, &[]).await
    }

    /// Opens a socket with more headers.
    ///
    /// # Panics
    ///
    /// If the handshake is refused.
    pub async fn connect_with(&self, target: &str, headers: &[(&'static str, &str)]) -> Socket {
        let url = format!("ws://{}{target}", self.address());
        let mut request = url.into_client_request().expect("tests give a whole address");
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("tests give a header value");
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        let shaken = async {
            let stream = TcpStream::connect(self.address()).await.expect("the server listens");
            stream.set_nodelay(true).expect("the option exists");
            client_async(request, stream).await
        };
        match within("a handshake", shaken).await {
            Ok((stream, _)) => Socket { stream },
            Err(err) => panic!("the handshake on {target} was refused: {err}"),
        }
    }
}
