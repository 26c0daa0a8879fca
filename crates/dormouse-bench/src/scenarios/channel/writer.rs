//! Who writes, and who listens.

use std::rc::Rc;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;

use crate::channel;
use crate::clock;
use crate::counter;
use crate::http::HttpConnection;
use crate::server::Target;
use crate::websocket::WebSocket;

use super::Wire;
use super::room::Room;

/// What a listener is told to send.
pub(super) type Orders = mpsc::UnboundedReceiver<String>;

/// Who writes messages.
#[derive(Debug)]
pub(super) enum Writer {
    /// Through one of the sockets that listen.
    Socket(mpsc::UnboundedSender<String>),
    /// By calls, for which a connection is opened once they begin.
    Calls { target: Target, request: Vec<u8>, connection: Option<HttpConnection> },
}

impl Writer {
    /// Gives also what the socket has to follow that writes, if one does.
    pub(super) fn new(wire: Wire, target: Target, name: &str) -> (Writer, Orders) {
        let (sender, orders) = mpsc::unbounded_channel();
        let writer = match wire {
            Wire::Channel => Writer::Socket(sender),
            Wire::Counter => {
                let request = counter::increment_request(target.address, name, 1);
                Writer::Calls { target, request, connection: None }
            }
        };
        (writer, orders)
    }

    /// Gets ready. Not earlier than needed: servers close connections that are idle for seconds.
    pub(super) async fn open(&mut self) -> Result<()> {
        if let Writer::Calls { target, connection, .. } = self {
            *connection = Some(HttpConnection::open(target.address).await?);
        }
        Ok(())
    }

    /// Writes so many messages, each when it is due, and waits until all have reached every socket.
    pub(super) async fn write(&mut self, room: &Room, messages: u64) -> Result<()> {
        for (number, due) in room.begin(messages) {
            tokio::time::sleep_until(due.into()).await;
            room.sent();
            self.send(number).await?;
        }
        room.until_delivered().await
    }

    async fn send(&mut self, number: u64) -> Result<()> {
        match self {
            Writer::Socket(orders) => {
                orders.send(channel::message(number)).context("the writer's socket is gone")
            }
            Writer::Calls { request, connection, .. } => {
                let connection = connection.as_mut().context("the writer has no connection")?;
                counter::answered_value(connection.exchange(request).await?.success()?).map(drop)
            }
        }
    }
}

/// Takes frames off a socket, and follows orders if there are any, until the socket fails; gives why.
pub(super) async fn listen(
    room: Rc<Room>,
    mut socket: WebSocket,
    mut orders: Option<Orders>,
) -> anyhow::Error {
    let mut last = 0;
    loop {
        // Frames of one read arrived together: one look at the clock for all of them.
        let mut arrived = None;
        let received = socket.receive(&room.buffer, |text| {
            let arrived_at = *arrived.get_or_insert_with(clock::now);
            room.heard(text, &mut last, arrived_at);
        });
        let done = match &mut orders {
            None => received.await,
            Some(waiting) => tokio::select! {
                done = received => done,
                order = waiting.recv() => match order {
                    Some(text) => socket.send_text(&text),
                    None => {
                        orders = None;
                        Ok(())
                    }
                },
            },
        };
        if let Err(err) = done {
            return err;
        }
    }
}
