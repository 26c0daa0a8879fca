//! Measures this crate alone: resident memory per idle socket, and deliveries per second.
//!
//! ```text
//! cargo run --release -p dormouse-socket --example sockets
//! ```
//!
//! It starts itself again as the server, on the first core where `taskset` is there, and is the
//! client on the second. The server is one worker thread with the HTTP upgrade in front of its hub,
//! as in the real one, but its object is a counter of events without a store.

use std::cell::Cell;
use std::env;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use actix_http::body::BoxBody;
use actix_http::{HttpService, Protocol, Request, Response};
use actix_service::{Service as _, ServiceFactory as _, fn_service};
use dormouse_socket::{
    Accept, Batch, BatchBuilder, CloseCause, Connection, EventMask, Handshake, Hub, HubConfig,
    HubHandle, HubIndex, Owner, SocketCx, SocketId, ToHub, TopicId, hub_channel, switch_protocols,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

const IDLE_SOCKETS: usize = 10_000;
const FAN_OUT_SOCKETS: usize = 1000;
const FAN_OUT_TIME: Duration = Duration::from_secs(3);
const EVENT_BYTES: usize = 300;
const TOPIC: TopicId = TopicId(1);

/// A text message of a client, masked with zeros; what it says does not matter.
const MESSAGE: &[u8] = &[0x81, 0x82, 0, 0, 0, 0, b'g', b'o'];

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    match env::args().nth(1).as_deref() {
        Some("serve") => local.block_on(&runtime, serve()),
        _ => local.block_on(&runtime, measure()),
    }
}

/// Publishes one event for every message.
struct Counter {
    hub: HubHandle,
    offset: Cell<u64>,
    event: String,
}

impl Owner for Counter {
    type Session = ();

    fn opened(&self, socket: SocketId, _session: &mut ()) {
        let (batch, offset) = (Batch::empty(), self.offset.get());
        self.hub.send(ToHub::Attach {
            socket,
            topic: TOPIC,
            direct: None,
            batch,
            offset,
            tail: true,
        });
    }

    fn message(&self, _socket: &mut SocketCx<'_, ()>, _text: &str) {
        self.offset.set(self.offset.get() + 1);
        let mut batch = BatchBuilder::new();
        batch.log(self.offset.get(), 0, &self.event);
        self.hub.send(ToHub::Publish { topic: TOPIC, batch: batch.finish() });
    }

    fn refill(&self, socket: SocketId, _session: &(), _topic: TopicId, _after: u64) {
        self.opened(socket, &mut ());
    }

    fn closed(&self, _socket: SocketId, _session: (), _cause: CloseCause) {}
}

async fn serve() -> Result<(), Failure> {
    let (handle, inbox) = hub_channel(HubIndex(0));
    let owner = Counter { hub: handle, offset: Cell::new(0), event: "x".repeat(EVENT_BYTES) };
    let hub = Hub::start(inbox, HubConfig::default(), owner);
    let service = HttpService::build()
        .upgrade(fn_service(move |(request, framed): (Request, _)| {
            let hub = Rc::clone(&hub);
            async move {
                if let Ok(handshake) = Handshake::check(request.head())
                    && let Ok(upgraded) = switch_protocols(framed, &handshake, None, None)
                {
                    let (topic, filter) = (TOPIC, EventMask::ALL);
                    let accept = Accept {
                        topic,
                        filter,
                        from: 0,
                        binary: false,
                        watches: false,
                        greeted: true,
                        session: (),
                    };
                    hub.accept(upgraded, accept);
                }
                Ok::<_, actix_http::Error>(())
            }
        }))
        .finish(fn_service(|_| async {
            Ok::<_, actix_http::Error>(Response::<BoxBody>::not_found())
        }));
    let service = Rc::new(service.new_service(()).await.map_err(|()| "the service must start")?);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let connection = (Connection::new(stream), Protocol::Http1, None);
        tokio::task::spawn_local(service.call(connection));
    }
}

async fn measure() -> Result<(), Failure> {
    let mut server = start_server()?;
    let mut address = String::new();
    let stdout = server.stdout.take().ok_or("the server has an output")?;
    BufReader::new(stdout).read_line(&mut address)?;

    let result = measure_all(server.id(), address.trim()).await;
    server.kill()?;
    server.wait()?;
    result
}

fn start_server() -> io::Result<Child> {
    let program = env::current_exe()?;
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", "0"]).arg(&program);
    let mut plain = Command::new(&program);
    let start = |command: &mut Command| command.arg("serve").stdout(Stdio::piped()).spawn();
    start(&mut pinned).or_else(|_| start(&mut plain))
}

async fn measure_all(server: u32, address: &str) -> Result<(), Failure> {
    // What the server allocates once must not count as memory of sockets.
    drop(open(address, 500).await?);
    sleep(Duration::from_secs(1)).await;
    let before = resident_bytes(server)?;
    let idle = open(address, IDLE_SOCKETS).await?;
    sleep(Duration::from_secs(2)).await;
    let grown = resident_bytes(server)?.saturating_sub(before);
    report("bytes per idle socket", grown / IDLE_SOCKETS as u64)?;
    drop(idle);
    sleep(Duration::from_secs(1)).await;

    for in_flight in [1, 8] {
        let sockets = open(address, FAN_OUT_SOCKETS).await?;
        let deliveries = fan_out(sockets, in_flight).await?;
        report(&format!("deliveries/s, {in_flight} in flight"), deliveries)?;
    }
    Ok(())
}

/// Opens sockets, some at a time.
async fn open(address: &str, count: usize) -> io::Result<Vec<TcpStream>> {
    let request = format!(
        "GET /ws/counter/a HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::with_capacity(256);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut head).await?;
        }
        sockets.push(stream);
    }
    Ok(sockets)
}

/// Has one socket ask for events, each as soon as one of those in flight has reached all sockets.
async fn fan_out(sockets: Vec<TcpStream>, in_flight: usize) -> Result<u64, Failure> {
    let frame_bytes = EVENT_BYTES + 4;
    let count = sockets.len();
    let (arrived, mut arrivals) = mpsc::unbounded_channel::<usize>();
    // Dropping the writing half of a stream would hang up.
    let mut writing_halves = Vec::new();
    for stream in sockets {
        let (mut reading, writing) = stream.into_split();
        writing_halves.push(writing);
        let arrived = arrived.clone();
        tokio::task::spawn_local(async move {
            let mut buffer = vec![0; 16 * 1024];
            let mut rest = 0;
            while let Ok(length @ 1..) = reading.read(&mut buffer).await {
                rest += length;
                _ = arrived.send(rest / frame_bytes);
                rest %= frame_bytes;
            }
        });
    }
    let asking = writing_halves.first_mut().ok_or("there is a socket")?;

    let start = Instant::now();
    let mut asked = in_flight;
    let mut delivered = 0;
    asking.write_all(&MESSAGE.repeat(in_flight)).await?;
    while start.elapsed() < FAN_OUT_TIME {
        delivered += arrivals.recv().await.ok_or("the sockets are open")?;
        // An event is over once all before it and it have arrived everywhere, on average.
        while delivered / count + in_flight > asked {
            asking.write_all(MESSAGE).await?;
            asked += 1;
        }
    }
    let per_second = delivered as u128 * 1000 / start.elapsed().as_millis().max(1);
    Ok(u64::try_from(per_second)?)
}

fn resident_bytes(process: u32) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).ok_or("VmRSS is there")?;
    Ok(kilobytes.parse::<u64>()? * 1024)
}

fn report(what: &str, value: u64) -> io::Result<()> {
    writeln!(io::stdout(), "{what}: {value}")
}
