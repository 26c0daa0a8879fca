//! The HTTP workers. Each is a thread that serves HTTP and owns a hub; the first one also accepts.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive, Protocol};
use actix_rt::Arbiter;
use actix_service::{Service, ServiceFactory as _, map_config};
use actix_web::dev::AppConfig;
use actix_web::middleware::from_fn;
use actix_web::{App, web};
use dormouse_socket::{Connection, Hub, HubConfig, HubInbox};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, Refusal};
use crate::http::{Arrival, FrontDoor, configure, guard};
use crate::serve::accept::accept_until;
use crate::socket::event_stream::HubOfWorker;
use crate::socket::{SocketOwner, UpgradeService};
use crate::tls::Tls;

/// A connection without a request is kept for so long.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Answers that are being written when the server stops get so long. Every call has its answer by then;
/// connections that are only kept open hold up the end for as long.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// What each worker is made from.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) door: FrontDoor,
    pub(crate) hub_config: HubConfig,
    /// `None`: connections are plain.
    pub(crate) tls: Option<Arc<Tls>>,
    /// A head that is not complete by then is answered 408: half a handshake costs a connection no
    /// longer than that.
    pub(crate) head_time_max: Duration,
}

/// The workers while they run.
pub(crate) struct Workers {
    arbiters: Vec<Arbiter>,
    /// Connections that HTTP has.
    connections: TaskTracker,
    stop_accepting: CancellationToken,
}

/// What was accepted, on its way to another worker than the one that accepts.
type Accepted = (std::net::TcpStream, SocketAddr);

impl Workers {
    /// Starts one worker for each inbox, of which there is at least one.
    ///
    /// # Errors
    ///
    /// The listener cannot be registered, or the first worker's thread ended.
    pub(crate) async fn start(
        listener: std::net::TcpListener,
        inboxes: Vec<HubInbox>,
        setup: &Setup,
    ) -> io::Result<Workers> {
        let connections = TaskTracker::new();
        let stop_accepting = CancellationToken::new();
        let mut arbiters = Vec::new();
        let mut others = Vec::new();
        let mut inboxes = inboxes.into_iter();
        let first = inboxes.next().ok_or(io::ErrorKind::InvalidInput)?;
        for inbox in inboxes {
            let (sender, accepted) = unbounded_channel();
            let (setup, connections) = (setup.clone(), connections.clone());
            let arbiter = Arbiter::new();
            arbiter
                .spawn_fn(move || _ = spawn_local(take_all(setup, inbox, connections, accepted)));
            arbiters.push(arbiter);
            others.push(sender);
        }
        let (started, has_started) = oneshot::channel();
        let arbiter = Arbiter::new();
        arbiter.spawn_fn({
            let (setup, connections) = (setup.clone(), connections.clone());
            let stop = stop_accepting.clone();
            move || {
                spawn_local(async move {
                    // Registered on the thread that will wait for it.
                    let listener = TcpListener::from_std(listener);
                    let Some(listener) = tell(started, listener) else { return };
                    let Some(take) = connection_taker(setup, first, connections).await else {
                        return;
                    };
                    accept_until(stop, listener, in_turn(take, others)).await;
                });
            }
        });
        arbiters.push(arbiter);
        has_started.await.map_err(|_| io::Error::other("an HTTP worker has ended"))??;
        Ok(Workers { arbiters, connections, stop_accepting })
    }

    /// Takes no more connections.
    pub(crate) fn stop_accepting(&self) {
        self.stop_accepting.cancel();
    }

    /// Lets answers that are being written end, and then the threads, among them the one that accepts.
    pub(crate) async fn stop(self) {
        self.connections.close();
        if timeout(FAREWELL_MAX, self.connections.wait()).await.is_err() {
            tracing::debug!(connections = self.connections.len(), "connections are cut off");
        }
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
    }
}

/// The task of a worker that does not accept.
async fn take_all(
    setup: Setup,
    inbox: HubInbox,
    connections: TaskTracker,
    mut accepted: UnboundedReceiver<Accepted>,
) {
    let Some(take) = connection_taker(setup, inbox, connections).await else { return };
    while let Some((stream, peer)) = accepted.recv().await {
        match TcpStream::from_std(stream) {
            Ok(stream) => take(stream, peer),
            Err(err) => log_failure(peer, &err.into()),
        }
    }
}

/// Gives connections to all workers in turn: an even share of the sockets for each hub.
fn in_turn(
    take: impl Fn(TcpStream, SocketAddr),
    others: Vec<UnboundedSender<Accepted>>,
) -> impl FnMut(TcpStream, SocketAddr) {
    let mut next = 0;
    move |stream, peer| {
        let other = others.get(next);
        next = if other.is_some() { next + 1 } else { 0 };
        match other {
            None => take(stream, peer),
            Some(other) => match stream.into_std() {
                // A worker that is gone has said why.
                Ok(stream) => _ = other.send((stream, peer)),
                Err(err) => log_failure(peer, &err.into()),
            },
        }
    }
}

/// Starts the hub and the HTTP service of this thread. Gives what serves a connection; `None` if the service
/// does not start.
async fn connection_taker(
    setup: Setup,
    inbox: HubInbox,
    connections: TaskTracker,
) -> Option<impl Fn(TcpStream, SocketAddr)> {
    let Setup { door, hub_config, tls, head_time_max } = setup;
    let hub = door.node.hubs()[usize::from(inbox.index().0)].clone();
    let owner = SocketOwner::new(door.node.clone(), hub, Arc::clone(&door.auth));
    let hub = Hub::start(inbox, hub_config, owner);
    let app = App::new()
        .app_data(web::Data::new(door.clone()))
        .app_data(web::Data::new(HubOfWorker(Rc::clone(&hub))))
        .wrap(from_fn(guard))
        .configure(configure);
    let admission = Arc::clone(&door.admission);
    let arriving = Arc::clone(&admission);
    let http = HttpService::build()
        .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
        .client_request_timeout(head_time_max)
        .on_connect_ext(move |connection: &Connection, data| {
            data.insert(connection.handover());
            data.insert(Arrival::new(&arriving, head_time_max));
        })
        .upgrade(UpgradeService::new(door, hub))
        .finish(map_config(app, |_| AppConfig::default()));
    let Ok(http) = http.new_service(()).await else {
        tracing::error!("an HTTP worker cannot start");
        return None;
    };
    let http = Rc::new(http);
    Some(move |stream, peer| {
        let (http, tls, admission) = (Rc::clone(&http), tls.clone(), Arc::clone(&admission));
        let connection = async move {
            let connected = match tls {
                None => Ok(Connection::new(stream)),
                Some(tls) => shake_hands(stream, &tls, &admission, head_time_max).await,
            };
            let served = match connected {
                Ok(connection) => speak(&*http, connection, peer).await,
                Err(err) => Err(err.into()),
            };
            if let Err(err) = served {
                log_failure(peer, &err);
            }
        };
        spawn_local(connections.track_future(connection));
    })
}

/// What the HTTP service takes.
type Incoming = (Connection, Protocol, Option<SocketAddr>);

/// Serves a connection until it ends or leaves HTTP.
async fn speak<S>(http: &S, connection: Connection, peer: SocketAddr) -> Result<(), S::Error>
where
    S: Service<Incoming, Response = ()>,
{
    poll_fn(|cx| http.poll_ready(cx)).await?;
    http.call((connection, Protocol::Http1, Some(peer))).await
}

/// Makes a connection by the handshake of TLS.
async fn shake_hands(
    stream: TcpStream,
    tls: &Tls,
    admission: &Admission,
    time_max: Duration,
) -> io::Result<Connection> {
    let shaken = timeout(time_max, tls.accept(stream)).await;
    let stream = shaken.unwrap_or_else(|_| {
        admission.count(Refusal::HandshakeTime);
        Err(io::ErrorKind::TimedOut.into())
    })?;
    Ok(Connection::new(stream))
}

/// Tells whoever started the thread whether it has what it needs.
fn tell<T>(started: oneshot::Sender<io::Result<()>>, result: io::Result<T>) -> Option<T> {
    let (told, value) = match result {
        Ok(value) => (Ok(()), Some(value)),
        Err(err) => (Err(err), None),
    };
    _ = started.send(told);
    value
}

/// Clients leave at any time, so this is for those who look for something.
fn log_failure(peer: SocketAddr, err: &DispatchError) {
    tracing::debug!(%peer, error = %err, "connection failed");
}
