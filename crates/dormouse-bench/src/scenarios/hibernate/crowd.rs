//! The users of many channels, who all do the same at once.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::channel;
use crate::metrics;
use crate::scenarios::opening::{Open, open_sockets};
use crate::server::Target;
use crate::websocket::{ReadBuffer, WebSocket};

/// Everybody must have heard of something within this time.
const HEARD_MAX: Duration = Duration::from_secs(60);

/// What is done in every channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Nothing yet.
    Arrive,
    /// The first user writes; everybody gets the message.
    Write,
    /// Everybody sends a ping and gets a pong.
    Ping,
    /// The first user types; the others hear of it.
    Type,
    /// The first user changes their status; everybody hears of it.
    ChangeStatus,
    /// The first user leaves; the others hear of it.
    Leave,
}

/// All users.
#[derive(Debug)]
pub(super) struct Crowd {
    channels: usize,
    sockets_each: usize,
    buffer: ReadBuffer,
    act: watch::Sender<Act>,
    /// What tells the frames that are waited for, and how many of them have not come.
    awaited: Cell<&'static [u8]>,
    missing: Cell<usize>,
    heard_all: Notify,
}

impl Crowd {
    pub(super) fn new(channels: usize, sockets_each: usize) -> Crowd {
        Crowd {
            channels,
            sockets_each,
            buffer: ReadBuffer::new(),
            act: watch::Sender::new(Act::Arrive),
            awaited: Cell::new(br#""type""#),
            missing: Cell::new(0),
            heard_all: Notify::new(),
        }
    }

    /// Names the path of each socket. The first `channels` sockets are those of the first users.
    pub(super) fn path_of(&self) -> impl Fn(usize) -> Result<String> + use<> {
        let channels = self.channels;
        move |number| {
            let channel = format!("bench-hibernate-{}", number % channels);
            channel::socket_path(&channel, &format!("bench-user-{number}"))
        }
    }

    /// Does what the crowd does, until the socket fails; gives why. A user who left on purpose goes on
    /// to wait for nothing.
    pub(super) async fn listen(
        self: Rc<Crowd>,
        number: usize,
        mut socket: WebSocket,
    ) -> anyhow::Error {
        let mut act = self.act.subscribe();
        let is_first = number < self.channels;
        loop {
            let done = tokio::select! {
                received = socket.receive(&self.buffer, |text| self.heard(text)) => received,
                Ok(()) = act.changed() => {
                    let act = *act.borrow_and_update();
                    act.by(is_first, &socket)
                }
            };
            let Err(err) = done else { continue };
            if is_first && *act.borrow() == Act::Leave {
                drop(socket);
                return std::future::pending().await;
            }
            return err;
        }
    }

    /// Lets everybody do it, and waits until everybody has heard of it.
    ///
    /// # Errors
    ///
    /// Somebody did not within 60 s.
    pub(super) async fn perform(&self, act: Act) -> Result<()> {
        let (frame, per_channel) = match act {
            Act::Arrive => return Ok(()),
            Act::Write => (&br#""type":"message""#[..], self.sockets_each),
            Act::Ping => (&br#""type":"pong""#[..], self.sockets_each),
            Act::Type => (&br#""type":"typing""#[..], self.sockets_each - 1),
            Act::ChangeStatus => (&br#""type":"presence""#[..], self.sockets_each),
            Act::Leave => (&br#""type":"user_disconnected""#[..], self.sockets_each - 1),
        };
        self.awaited.set(frame);
        self.missing.set(per_channel * self.channels);
        self.act.send_replace(act);
        self.until_heard().await
    }

    /// Lets everybody do it; gives how often objects were woken since the server started.
    ///
    /// # Errors
    ///
    /// As [`perform`](Self::perform).
    pub(super) async fn wakes_after(&self, act: Act, target: Target) -> Result<f64> {
        self.perform(act).await?;
        metrics::read(target, metrics::WAKES).await
    }

    /// Lets the first users connect again, and waits until the others have heard of it.
    ///
    /// # Errors
    ///
    /// One could not, or somebody heard nothing within 60 s.
    pub(super) async fn come_back(&self, target: Target) -> Result<()> {
        self.awaited.set(br#""type":"user_connected""#);
        self.missing.set((self.sockets_each - 1) * self.channels);
        let mut sockets = Vec::new();
        let take = |opened| sockets.push(opened);
        open_sockets(target.address, self.channels, Open::WithFirstFrame, self.path_of(), take)
            .await?;
        self.until_heard().await
    }

    async fn until_heard(&self) -> Result<()> {
        let waited = timeout(HEARD_MAX, self.heard_all.notified()).await;
        let missing = self.missing.get();
        let awaited = self.awaited.get().escape_ascii();
        ensure!(waited.is_ok(), "{missing} frames with {awaited} did not come");
        Ok(())
    }

    fn heard(&self, text: &[u8]) {
        let Some(missing) = self.missing.get().checked_sub(1) else { return };
        let awaited = self.awaited.get();
        if !text.windows(awaited.len()).any(|window| window == awaited) {
            return;
        }
        self.missing.set(missing);
        if missing == 0 {
            self.heard_all.notify_one();
        }
    }
}

impl Act {
    /// What a user does on their socket.
    fn by(self, is_first: bool, socket: &WebSocket) -> Result<()> {
        match self {
            Act::Ping => socket.send_text(r#"{"type":"ping"}"#),
            Act::Write if is_first => socket.send_text(&channel::message(1)),
            Act::Type if is_first => socket.send_text(r#"{"type":"typing","isTyping":true}"#),
            Act::ChangeStatus if is_first => {
                socket.send_text(r#"{"type":"presence","status":"away"}"#)
            }
            Act::Leave if is_first => socket.send_close(),
            Act::Arrive | Act::Write | Act::Type | Act::ChangeStatus | Act::Leave => Ok(()),
        }
    }
}
