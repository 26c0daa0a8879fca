//! Opening many sockets, several at a time.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::scenarios::{Counted, join_all};
use crate::websocket::{ReadBuffer, WebSocket};

/// Handshakes in flight while sockets open.
const OPENERS: usize = 64;

/// Addresses of loopback that sockets come from.
///
/// With many connections from one address to one port, the kernel's search for a free local port takes most of
/// the time of connecting (62 of 110 µs with 15,000 sockets), and the client is what is measured.
const SOURCES: u8 = 100;

/// All sockets must be open within this time.
const OPENING_MAX: Duration = Duration::from_secs(120);

/// When a socket counts as open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    /// With the server's first frame: only then it is known to be attached to its object.
    WithFirstFrame,
    /// With the handshake; the server says nothing by itself.
    AtOnce,
}

/// A socket that has just been opened.
#[derive(Debug)]
pub(super) struct Opened {
    /// Counted from 0.
    pub(super) number: usize,
    pub(super) socket: WebSocket,
    /// Empty for [`Open::AtOnce`].
    pub(super) first_frame: Vec<u8>,
}

/// Opens `count` sockets at the paths that `path_of` names, and hands each to `take`, in any order.
///
/// # Errors
///
/// A path could not be made, a server refused, or not all were open within 120 s.
pub(super) async fn open_sockets(
    address: SocketAddr,
    count: usize,
    open: Open,
    path_of: impl Fn(usize) -> Result<String> + 'static,
    mut take: impl FnMut(Opened),
) -> Result<()> {
    let (numbers, path_of) = (Rc::new(Counted::up_to(count)), Rc::new(path_of));
    let buffer = Rc::new(ReadBuffer::new());
    let (sender, mut receiver) = mpsc::channel(OPENERS);
    let mut openers = JoinSet::new();
    for _ in 0..OPENERS.min(count) {
        let (numbers, path_of) = (Rc::clone(&numbers), Rc::clone(&path_of));
        let (buffer, sender) = (Rc::clone(&buffer), sender.clone());
        openers.spawn_local(async move {
            while let Some(number) = numbers.take() {
                let mut socket =
                    WebSocket::open_from(source(number), address, &path_of(number)?).await?;
                let first_frame = match open {
                    Open::WithFirstFrame => socket.first_text(&buffer).await?,
                    Open::AtOnce => Vec::new(),
                };
                // The receiver lives until all openers are gone.
                let _ = sender.send(Opened { number, socket, first_frame }).await;
            }
            anyhow::Ok(())
        });
    }
    drop(sender);
    let opening = async {
        while let Some(opened) = receiver.recv().await {
            take(opened);
        }
        join_all(&mut openers).await.map(drop)
    };
    timeout(OPENING_MAX, opening).await.context("sockets did not open within 120 s")?
}

/// Where a socket comes from.
fn source(number: usize) -> Ipv4Addr {
    let source = u8::try_from(number % usize::from(SOURCES)).expect("it is below SOURCES");
    Ipv4Addr::new(127, 0, 1, 1 + source)
}
