//! Clients that behave badly, on a thread of their own.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use flate2::{Compress, Compression, FlushCompress};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};

use crate::counter;
use crate::process;
use crate::websocket::{ACCEPT, handshake};

/// An object that nobody else listens to.
const ATTACKED: &str = "bench-attacked";

/// Bytes that one write of a flood hands to the kernel at most.
const WRITE_BYTES: usize = 64 << 10;

/// Receive buffer of a reader that stalls: the kernel's smallest.
const STALLED_BUFFER_BYTES: u32 = 4 << 10;

/// Payload of the largest message that a server takes by default.
const LARGE_MESSAGE_BYTES: usize = (1 << 20) - 64;

/// What a compressed bomb inflates to.
const BOMB_BYTES: usize = 1 << 30;

/// Time between two bytes of a handshake that never ends.
const SLOW_BYTE_EVERY: Duration = Duration::from_millis(500);

/// Time before a client that was closed comes back.
const COME_BACK_AFTER: Duration = Duration::from_millis(20);

/// A way to behave badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Attacker {
    /// 100 sockets of the object that all listen to, which stop reading.
    StalledReaders,
    /// 2,000 handshakes, a byte of each every half second.
    SlowHandshakes,
    /// 50 sockets that send messages of one byte as fast as they can.
    TinyMessages,
    /// 50 sockets that send calls of 1 MiB as fast as they can.
    LargeMessages,
    /// 20 sockets that send 1 MB which inflates to 1 GiB, and come back when they are closed. Start the
    /// server with `--compression`.
    Bombs,
}

/// Attackers at work. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Attackers {
    stop: watch::Sender<bool>,
    counts: Arc<Counts>,
    clients: u64,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Counts {
    opened: AtomicU64,
    sent_bytes: AtomicU64,
    closed: AtomicU64,
}

/// What one attacking client needs.
#[derive(Clone, Debug)]
struct Plan {
    attacker: Attacker,
    address: SocketAddr,
    /// Path of the socket that the others have open.
    shared_path: String,
    /// What it sends again and again.
    bytes: Arc<[u8]>,
    counts: Arc<Counts>,
}

impl Attacker {
    pub(crate) const ALL: [Attacker; 5] = [
        Attacker::StalledReaders,
        Attacker::SlowHandshakes,
        Attacker::TinyMessages,
        Attacker::LargeMessages,
        Attacker::Bombs,
    ];

    fn clients(self) -> u64 {
        match self {
            Attacker::StalledReaders => 100,
            Attacker::SlowHandshakes => 2_000,
            Attacker::TinyMessages | Attacker::LargeMessages => 50,
            Attacker::Bombs => 20,
        }
    }

    /// What a client sends again and again.
    fn bytes(self, address: SocketAddr) -> Result<Vec<u8>> {
        Ok(match self {
            Attacker::StalledReaders => Vec::new(),
            Attacker::SlowHandshakes => handshake(address, &counter::socket_path(ATTACKED), ""),
            Attacker::TinyMessages => {
                let frame = text_frame(b"x", false);
                frame.repeat(WRITE_BYTES / frame.len())
            }
            Attacker::LargeMessages => {
                let name = "x".repeat(LARGE_MESSAGE_BYTES - 100);
                let call = format!(
                    r#"{{"type":"call","id":1,"method":"increment","params":{{"name":"{name}"}}}}"#
                );
                text_frame(call.as_bytes(), false)
            }
            Attacker::Bombs => text_frame(&bomb()?, true),
        })
    }
}

impl fmt::Display for Attacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no attack is hidden from the command line");
        f.write_str(value.get_name())
    }
}

impl Attackers {
    /// Starts the clients of one attack.
    pub(super) fn start(attacker: Attacker, address: SocketAddr, name: &str) -> Result<Attackers> {
        let counts = Arc::new(Counts::default());
        let plan = Plan {
            attacker,
            address,
            shared_path: counter::socket_path(name),
            bytes: attacker.bytes(address)?.into(),
            counts: Arc::clone(&counts),
        };
        let (stop, stopped) = watch::channel(false);
        let thread = thread::spawn(move || {
            process::yield_to_others().context("lower the priority of the attackers")?;
            attack(&plan, stopped)
        });
        Ok(Attackers { stop, counts, clients: attacker.clients(), thread: Some(thread) })
    }

    /// Waits until every client has had a connection.
    pub(super) async fn until_open(&self) {
        while self.counts.opened.load(Ordering::Relaxed) < self.clients {
            tokio::time::sleep(COME_BACK_AFTER).await;
        }
    }

    /// Ends the attack. Gives the bytes sent, and how often the server ended or refused a connection.
    pub(super) async fn stop(mut self) -> Result<(u64, u64)> {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let ended = tokio::task::spawn_blocking(move || thread.join()).await?;
            ended.map_err(|_| anyhow::anyhow!("an attacker panicked"))??;
        }
        let counts = &self.counts;
        Ok((counts.sent_bytes.load(Ordering::Relaxed), counts.closed.load(Ordering::Relaxed)))
    }
}

/// Runs all clients on this thread until they are told to stop.
fn attack(plan: &Plan, mut stopped: watch::Receiver<bool>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut clients = JoinSet::new();
        for _ in 0..plan.attacker.clients() {
            clients.spawn_local(plan.clone().come_back_forever());
        }
        // An error means that whoever measures is gone.
        _ = stopped.wait_for(|stopped| *stopped).await;
    });
    Ok(())
}

impl Plan {
    async fn come_back_forever(self) {
        loop {
            // However a connection ends, the server has ended it.
            _ = self.connect_once().await;
            self.counts.closed.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(COME_BACK_AFTER).await;
        }
    }

    /// One connection, until the server ends it.
    async fn connect_once(&self) -> Result<()> {
        match self.attacker {
            Attacker::StalledReaders => {
                let socket = TcpSocket::new_v4()?;
                socket.set_recv_buffer_size(STALLED_BUFFER_BYTES)?;
                let mut stream = socket.connect(self.address).await?;
                self.shake_hands(&mut stream, &self.shared_path, "").await?;
                std::future::pending::<()>().await;
                drop(stream);
            }
            Attacker::SlowHandshakes => {
                let mut stream = TcpStream::connect(self.address).await?;
                self.counts.opened.fetch_add(1, Ordering::Relaxed);
                // All but the last byte, after which it would be a handshake.
                for byte in &self.bytes[..self.bytes.len() - 1] {
                    stream.write_all(&[*byte]).await?;
                    self.counts.sent_bytes.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(SLOW_BYTE_EVERY).await;
                }
            }
            Attacker::TinyMessages | Attacker::LargeMessages => self.flood("").await?,
            Attacker::Bombs => {
                self.flood("Sec-WebSocket-Extensions: permessage-deflate\r\n").await?;
            }
        }
        Ok(())
    }

    /// Sends as fast as the server takes it, and throws away what it answers.
    async fn flood(&self, header: &str) -> Result<()> {
        let mut stream = TcpStream::connect(self.address).await?;
        let path = counter::socket_path(ATTACKED);
        self.shake_hands(&mut stream, &path, header).await?;
        let (mut reader, mut writer) = stream.into_split();
        let discard = async {
            let mut buffer = vec![0; WRITE_BYTES];
            while reader.read(&mut buffer).await? > 0 {}
            anyhow::Ok(())
        };
        let send = async {
            loop {
                for part in self.bytes.chunks(WRITE_BYTES) {
                    writer.write_all(part).await?;
                    self.counts.sent_bytes.fetch_add(part.len() as u64, Ordering::Relaxed);
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            ended = discard => ended,
            ended = send => ended,
        }
    }

    async fn shake_hands(&self, stream: &mut TcpStream, path: &str, header: &str) -> Result<()> {
        stream.write_all(&handshake(self.address, path, header)).await?;
        let mut answer = [0; 1024];
        let read = stream.read(&mut answer).await?;
        let is_open = String::from_utf8_lossy(&answer[..read]).contains(ACCEPT);
        anyhow::ensure!(is_open, "the handshake was refused");
        self.counts.opened.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A masked frame. Masking with zeros leaves the payload as it is.
fn text_frame(payload: &[u8], is_compressed: bool) -> Vec<u8> {
    const FIN_TEXT: u8 = 0x81;
    const COMPRESSED: u8 = 0x40;
    const MASKED: u8 = 0x80;
    let mut frame = vec![FIN_TEXT | if is_compressed { COMPRESSED } else { 0 }];
    match u8::try_from(payload.len()) {
        Ok(short) if short < 126 => frame.push(MASKED | short),
        _ => {
            frame.push(MASKED | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A message that inflates to [`BOMB_BYTES`], as permessage-deflate sends it.
fn bomb() -> Result<Vec<u8>> {
    let zeros = vec![b'0'; 1 << 20];
    let mut compress = Compress::new(Compression::best(), false);
    let mut bytes = Vec::with_capacity(BOMB_BYTES / 500);
    for _ in 0..BOMB_BYTES / zeros.len() {
        bytes.reserve(zeros.len());
        compress.compress_vec(&zeros, &mut bytes, FlushCompress::None)?;
    }
    bytes.reserve(1 << 10);
    compress.compress_vec(&[], &mut bytes, FlushCompress::Sync)?;
    // The end of a sync flush, which the extension leaves out.
    bytes.truncate(bytes.len() - 4);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_small_and_ends_as_the_extension_wants() {
        let bomb = bomb().unwrap();

        assert!(bomb.len() < BOMB_BYTES / 500, "{}", bomb.len());
        assert!(!bomb.ends_with(&[0, 0, 0xFF, 0xFF]));
    }

    #[test]
    fn a_frame_says_its_length_and_that_it_is_masked() {
        assert_eq!(text_frame(b"x", false), [0x81, 0x81, 0, 0, 0, 0, b'x']);
        let long = text_frame(&[b'x'; 300], true);
        assert_eq!(long[..10], [0xC1, 0xFF, 0, 0, 0, 0, 0, 0, 1, 44]);
    }
}
