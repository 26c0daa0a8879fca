//! Idle sockets: how fast they open and what each costs in the server's memory.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::clock;
use crate::counter::{self, ChangeReader};
use crate::http::HttpConnection;
use crate::process;
use crate::scenarios::opening::{Open, Opened, open_sockets};
use crate::scenarios::parse_seconds;
use crate::server::Target;
use crate::websocket::{ReadBuffer, WebSocket};

/// The last event must reach every socket within this time.
const DELIVERY_MAX: Duration = Duration::from_secs(60);

/// Part of the sockets that are opened, and kept, before memory is first read: what a server allocates
/// once for its first sockets, such as room for garbage, is not the price of a socket.
const SHARE_BEFORE: usize = 10;

/// Settings of the scenario.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Idle {
    /// Sockets that are opened; memory is compared between a tenth of them and all.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) sockets: usize,
    /// Objects that they are spread over.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) objects: u32,
    /// Seconds of silence before memory is read; longer than it takes an object to hibernate.
    #[arg(long = "settle-seconds", default_value = "15", value_parser = parse_seconds)]
    pub(crate) settle: Duration,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct IdleOutcome {
    pub(crate) sockets: usize,
    pub(crate) objects: u32,
    pub(crate) opened_per_second: f64,
    /// Resident bytes of the server that came with all but the first tenth, per socket.
    pub(crate) bytes_per_socket: f64,
    /// Resident bytes of the server with the first tenth.
    pub(crate) resident_before: u64,
}

/// What openers and listeners share.
#[derive(Debug)]
struct Crowd {
    target: Target,
    objects: usize,
    reader: ChangeReader,
    buffer: ReadBuffer,
    /// Sockets that the event at the end has not reached.
    unreached: Cell<usize>,
    reached_all: Notify,
}

/// Runs the scenario; must be called inside a `LocalSet`.
///
/// # Errors
///
/// The server's process is not known, a socket did not open or was closed, or the event at the end
/// did not reach every socket.
pub(crate) async fn run(settings: Idle, target: Target) -> Result<IdleOutcome> {
    let pid = target.pid.context("the server's process id is needed to read its memory")?;
    let crowd = Rc::new(Crowd {
        target,
        objects: settings.objects as usize,
        reader: ChangeReader::new(),
        buffer: ReadBuffer::new(),
        unreached: Cell::new(0),
        reached_all: Notify::new(),
    });
    let mut listeners = JoinSet::new();

    let sockets_before = settings.sockets / SHARE_BEFORE;
    crowd.open(sockets_before, &mut listeners).await?;
    crowd.increment_each().await?;
    tokio::time::sleep(settings.settle).await;
    let resident_before = process::resident_bytes(pid)?;
    let sockets = settings.sockets - sockets_before;
    let started = clock::now();
    crowd.open(sockets, &mut listeners).await?;
    let opened_per_second = sockets as f64 / started.elapsed().as_secs_f64();
    tokio::time::sleep(settings.settle).await;
    let resident_after = process::resident_bytes(pid)?;

    // A cheap socket that is not served any more would be no achievement.
    crowd.unreached.set(settings.sockets);
    crowd.increment_each().await?;
    tokio::select! {
        waited = timeout(DELIVERY_MAX, crowd.reached_all.notified()) => {
            let unreached = crowd.unreached.get();
            ensure!(waited.is_ok(), "an event after the silence did not reach {unreached} sockets");
        }
        Some(ended) = listeners.join_next() => {
            return Err(ended.context("a listener panicked")?.context("a socket failed"));
        }
    }
    Ok(IdleOutcome {
        sockets: settings.sockets,
        objects: settings.objects,
        opened_per_second,
        bytes_per_socket: (resident_after as f64 - resident_before as f64) / sockets as f64,
        resident_before,
    })
}

impl Crowd {
    /// Opens `count` sockets; each counts once its first frame is here.
    async fn open(
        self: &Rc<Crowd>,
        count: usize,
        listeners: &mut JoinSet<anyhow::Error>,
    ) -> Result<()> {
        let objects = self.objects;
        let path_of = move |number| Ok(counter::socket_path(&object_name(number % objects)));
        let address = self.target.address;
        open_sockets(address, count, Open::WithFirstFrame, path_of, |Opened { socket, .. }| {
            listeners.spawn_local(Rc::clone(self).listen(socket));
        })
        .await
    }

    /// Answers pings and counts the one event; returns why the socket failed.
    async fn listen(self: Rc<Crowd>, mut socket: WebSocket) -> anyhow::Error {
        loop {
            let received = socket.receive(&self.buffer, |text| {
                if self.reader.read(text).is_some() {
                    self.reached();
                }
            });
            if let Err(err) = received.await {
                return err;
            }
        }
    }

    fn reached(&self) {
        let unreached = self.unreached.get().saturating_sub(1);
        self.unreached.set(unreached);
        if unreached == 0 {
            self.reached_all.notify_one();
        }
    }

    /// Changes every object once.
    async fn increment_each(&self) -> Result<()> {
        let address = self.target.address;
        let mut connection = HttpConnection::open(address).await?;
        for number in 0..self.objects {
            let request = counter::increment_request(address, &object_name(number), 1);
            connection.exchange(&request).await?.success()?;
        }
        Ok(())
    }
}

fn object_name(number: usize) -> String {
    format!("bench-idle-{number}")
}

impl fmt::Display for IdleOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} bytes per idle socket ({} sockets on {} objects, {:.1} MB with the first tenth); \
             {:.0} sockets opened per second; all still served",
            self.bytes_per_socket,
            self.sockets,
            self.objects,
            self.resident_before as f64 / 1e6,
            self.opened_per_second
        )
    }
}
