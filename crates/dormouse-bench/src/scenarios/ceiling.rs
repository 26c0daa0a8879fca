//! Ceiling: what no server can show much more than in a fan-out on this machine.
//!
//! A thread plays a server without cost, which does nothing but write to all sockets, one write for each; what
//! it writes is read by the very code that a fan-out is measured with. First it writes while nobody reads,
//! which tells how many deliveries a second this tool itself can take. Then the two work side by
//! side, round by round, as in a fan-out whose events are in flight together, which tells what is left of that
//! when every write and every read goes through the kernel.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::clock;
use crate::process;
use crate::scenarios::fan_out::{Room, listen};
use crate::server::{Launch, Placement};
use crate::spin::Spinner;
use crate::websocket::{ACCEPT, WebSocket};

/// Times that all sockets are written and then read, and as often side by side.
const ROUNDS: u32 = 300;

/// Why nothing more is written.
const FEEDER_GONE: &str = "the feeding thread is gone";

/// Bytes of an event, about those of a counter.
const EVENT_BYTES: usize = 290;

/// Settings of the scenario.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Ceiling {
    /// Sockets that are written to.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) sockets: usize,
    /// Events that a socket finds in one read.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) at_once: u16,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct CeilingOutcome {
    pub(crate) sockets: usize,
    pub(crate) at_once: u16,
    /// Of the client, reading what was written before.
    pub(crate) read_per_second: f64,
    /// Of a server without cost, each round from its first write to its last delivery.
    pub(crate) deliveries_per_second: f64,
}

/// Runs the scenario; must be called inside a `LocalSet`.
///
/// # Errors
///
/// The machine refused sockets, or an event did not arrive.
pub(crate) async fn run(settings: Ceiling, launch: &Launch) -> Result<CeilingOutcome> {
    let events = usize::from(settings.at_once);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let (server_cores, own_cores) = launch.split(Placement::OneCoreEach);
    process::run_on(own_cores).context("choose this tool's cores")?;
    let (begin, begun) = mpsc::sync_channel(1);
    let (wrote, written) = mpsc::sync_channel(1);
    let server_cores = server_cores.to_vec();
    // Ends when `begin` is dropped, or with the process if not all sockets could be opened.
    thread::spawn(move || {
        let fed = process::run_on(&server_cores)
            .and_then(|()| feed(&listener, settings.sockets, events, &begun, &wrote));
        let _ = wrote.send(fed);
    });

    let room = Rc::new(Room::new(settings.sockets, events));
    let mut listeners = JoinSet::new();
    for _ in 0..settings.sockets {
        let socket = open(address, &room).await?;
        listeners.spawn_local(listen(Rc::clone(&room), socket, 0));
    }
    let _spinner = Spinner::start(Rc::clone(&room.work));
    let mut reading = Duration::ZERO;
    for _ in 0..ROUNDS {
        begin.send(()).context(FEEDER_GONE)?;
        // Holds up this thread's runtime on purpose: nobody reads before all is written.
        written.recv().context(FEEDER_GONE)?.context("write events")?;
        reading += all_delivered(&room, events).await?;
    }
    let mut delivering = Duration::ZERO;
    for _ in 0..ROUNDS {
        begin.send(()).context(FEEDER_GONE)?;
        delivering += all_delivered(&room, events).await?;
        written.recv().context(FEEDER_GONE)?.context("write events")?;
    }
    let deliveries = f64::from(ROUNDS) * settings.sockets as f64 * events as f64;
    Ok(CeilingOutcome {
        sockets: settings.sockets,
        at_once: settings.at_once,
        read_per_second: deliveries / reading.as_secs_f64(),
        deliveries_per_second: deliveries / delivering.as_secs_f64(),
    })
}

/// Reads the next events at all sockets; gives how long that took.
async fn all_delivered(room: &Room, events: usize) -> Result<Duration> {
    let started = clock::now();
    for index in 0..events {
        room.begin_event(index);
    }
    for index in 0..events {
        room.event_delivered(index).await;
    }
    ensure!(room.missed() == 0, "{} events did not arrive", room.missed());
    Ok(started.elapsed())
}

async fn open(address: SocketAddr, room: &Room) -> Result<WebSocket> {
    let mut socket = WebSocket::open(address, "/").await?;
    socket.first_text(&room.buffer).await?;
    Ok(socket)
}

/// Accepts all sockets, then writes a round of events to each whenever told to.
fn feed(
    listener: &TcpListener,
    sockets: usize,
    events: usize,
    begun: &mpsc::Receiver<()>,
    wrote: &mpsc::SyncSender<io::Result<()>>,
) -> io::Result<()> {
    let mut streams = Vec::with_capacity(sockets);
    for _ in 0..sockets {
        let (stream, _) = listener.accept()?;
        streams.push(shake_hands(stream)?);
    }
    let mut value = 0;
    while begun.recv().is_ok() {
        let mut frames = Vec::new();
        // As callers do it: the one at `index` adds `index + 1`.
        for amount in 1..=events {
            frames.extend(text_frame(&event(value, value + amount)));
            value += amount;
        }
        for stream in &mut streams {
            stream.write_all(&frames)?;
        }
        if wrote.send(Ok(())).is_err() {
            break;
        }
    }
    Ok(())
}

fn shake_hands(mut stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    // The client is this tool's own: its handshake is one small write.
    let read = stream.read(&mut [0; 4_096])?;
    if read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut answer =
        format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n")
            .into_bytes();
    answer.extend(text_frame(r#"{"type":"initial","value":0}"#));
    stream.write_all(&answer)?;
    Ok(stream)
}

/// A counter's event, filled up to the usual length.
fn event(previous_value: usize, value: usize) -> String {
    let start =
        format!(r#"{{"type":"increment","value":{value},"previousValue":{previous_value},"x":""#);
    let filling = "x".repeat(EVENT_BYTES.saturating_sub(start.len() + 2));
    format!("{start}{filling}\"}}")
}

/// An unmasked text frame of at most 65,535 bytes.
fn text_frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("events are a few hundred bytes");
    let mut frame = vec![0x81];
    match u8::try_from(length) {
        Ok(short @ 0..126) => frame.push(short),
        Ok(126..) | Err(_) => {
            frame.push(126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
    }
    frame.extend_from_slice(text.as_bytes());
    frame
}

impl fmt::Display for CeilingOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a server without cost makes {:.0} deliveries/s on {} sockets, {} per write, and this client reads at \
             most {:.0}",
            self.deliveries_per_second, self.sockets, self.at_once, self.read_per_second
        )
    }
}
