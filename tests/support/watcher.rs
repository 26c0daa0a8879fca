//! A client that watches one object and comes back where it stopped, as a good client does.

use serde_json::Value;

use crate::server::Server;
use crate::socket::{Closed, Socket};

/// One event of the log, as a socket saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Its place in the log.
    pub offset: u64,
    /// The whole message.
    pub event: Value,
}

/// A socket and what it knows. Every event it reads is checked to be the next one of the log.
#[derive(Debug)]
pub struct Watcher {
    target: String,
    /// `None` after [`cut`](Watcher::cut).
    socket: Option<Socket>,
    epoch: String,
    offset: u64,
    seen: Vec<Seen>,
}

impl Watcher {
    /// Connects to an object that sends `initial`.
    ///
    /// # Panics
    ///
    /// If the first message is something else.
    pub async fn connect(server: &Server, target: &str) -> Watcher {
        let mut socket = server.connect(target).await;
        let initial = socket.next_of("initial").await;
        let (epoch, offset) = position(&initial);
        let (target, socket) = (target.to_owned(), Some(socket));
        Watcher { target, socket, epoch, offset, seen: Vec::new() }
    }

    /// Reads events up to that offset.
    ///
    /// # Panics
    ///
    /// On anything but the next event of the log.
    pub async fn read_to(&mut self, offset: u64) {
        while self.offset < offset {
            let message = self.socket().next().await;
            self.take(message);
        }
    }

    /// Reads events until the socket ends.
    ///
    /// # Panics
    ///
    /// On anything but the next event of the log.
    pub async fn read_to_end(&mut self) -> Closed {
        loop {
            match self.socket().try_next().await {
                Ok(message) => self.take(message),
                Err(closed) => return closed,
            }
        }
    }

    /// Breaks the connection without a word, in the middle of whatever is on its way.
    pub fn cut(&mut self) {
        self.socket = None;
    }

    /// Comes back after the socket ended. The server must know the place: it answers `resumed`,
    /// and what was missed follows.
    ///
    /// # Panics
    ///
    /// If it answers anything else, or has forgotten events that this client saw.
    pub async fn resume(&mut self, server: &Server) {
        let target = format!("{}?since={}&epoch={}", self.target, self.offset, self.epoch);
        self.socket = Some(server.connect(&target).await);
        let resumed = self.socket().next_of("resumed").await;
        let (epoch, tail) = position(&resumed);
        assert_eq!(epoch, self.epoch, "{resumed}");
        assert_eq!(resumed["replayed"], tail - self.offset, "{resumed}, seen {}", self.offset);
        self.read_to(tail).await;
    }

    /// All events since it connected, over all its sockets.
    pub fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// The last event it has.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The history that offsets belong to.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Its socket of now.
    ///
    /// # Panics
    ///
    /// If it was cut.
    pub fn socket(&mut self) -> &mut Socket {
        self.socket.as_mut().expect("the watcher is connected")
    }

    fn take(&mut self, event: Value) {
        let offset = event["offset"].as_u64();
        assert_eq!(offset, Some(self.offset + 1), "a gap or a double in {}: {event}", self.target);
        self.offset += 1;
        self.seen.push(Seen { offset: self.offset, event });
    }
}

/// The position that `initial` and `resumed` carry.
fn position(message: &Value) -> (String, u64) {
    match (message["epoch"].as_str(), message["offset"].as_u64()) {
        (Some(epoch), Some(offset)) => (epoch.to_owned(), offset),
        _ => panic!("no position in {message}"),
    }
}
