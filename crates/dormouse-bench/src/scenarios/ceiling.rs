//! Ceiling: how many deliveries a second this tool itself can take, and how many a server can make that does
//! nothing else.
//!
//! A thread plays that server: it writes events to all sockets, one write for each, while nobody reads, and only
//! then they are read, by the very code that a fan-out is measured with. No server that is measured can
//! show more than either; one that comes near the reading was measured by a client at its limit, one that
//! comes near the writing waits for the kernel alone.

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

/// Times that all sockets are written and then read.
const ROUNDS: u32 = 300;

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
    /// What the client read.
    pub(crate) deliveries_per_second: f64,
    /// What one thread wrote, in a loop of writes and nothing else.
    pub(crate) written_per_second: f64,
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
        if let Err(err) = fed {
            let _ = wrote.send(Err(err));
        }
    });

    let room = Rc::new(Room::new(settings.sockets, events));
    let mut listeners = JoinSet::new();
    for _ in 0..settings.sockets {
        let socket = open(address, &room).await?;
        listeners.spawn_local(listen(Rc::clone(&room), socket, 0));
    }
    let _spinner = Spinner::start(Rc::clone(&room.work));
    let (mut reading, mut writing) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..ROUNDS {
        for index in 0..events {
            room.begin_event(index);
        }
        begin.send(()).context("the feeding thread is gone")?;
        // Holds up this thread's runtime on purpose: nobody reads before all is written.
        writing += written.recv().context("the feeding thread is gone")?.context("write events")?;
        let started = clock::now();
        for index in 0..events {
            room.event_delivered(index).await;
        }
        reading += started.elapsed();
        ensure!(room.missed() == 0, "{} events did not arrive", room.missed());
    }
    let deliveries = f64::from(ROUNDS) * settings.sockets as f64 * events as f64;
    Ok(CeilingOutcome {
        sockets: settings.sockets,
        at_once: settings.at_once,
        deliveries_per_second: deliveries / reading.as_secs_f64(),
        written_per_second: deliveries / writing.as_secs_f64(),
    })
}

async fn open(address: SocketAddr, room: &Room) -> Result<WebSocket> {
    let mut socket = WebSocket::open(address, "/").await?;
    socket.first_text(&room.buffer).await?;
    Ok(socket)
}

/// Accepts all sockets, then writes a round of events to each whenever told to, and says how long that took.
fn feed(
    listener: &TcpListener,
    sockets: usize,
    events: usize,
    begun: &mpsc::Receiver<()>,
    wrote: &mpsc::SyncSender<io::Result<Duration>>,
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
        let started = clock::now();
        for stream in &mut streams {
            stream.write_all(&frames)?;
        }
        if wrote.send(Ok(started.elapsed())).is_err() {
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
            "this client takes at most {:.0} deliveries/s on {} sockets, {} per read; a loop that does nothing \
             but write makes {:.0}, {} per write",
            self.deliveries_per_second,
            self.sockets,
            self.at_once,
            self.written_per_second,
            self.at_once
        )
    }
}
