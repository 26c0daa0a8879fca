//! The listener and the HTTP workers. Each worker is a thread that serves HTTP and owns a hub.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive, Protocol};
use actix_server::Server;
use actix_service::{ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::middleware::from_fn;
use actix_web::{App, web};
use dormouse_socket::{Connection, Hub, HubConfig, HubInbox};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;

use crate::admission::{Admission, Refusal};
use crate::http::{Arrival, FrontDoor, configure, guard};
use crate::socket::event_stream::HubOfWorker;
use crate::socket::{SocketOwner, UpgradeService};
use crate::tls::Tls;

/// Connections that the kernel keeps while the workers are busy.
const BACKLOG: i32 = 4096;

/// A connection without a request is kept for so long.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Answers that are being written when the server stops get so long, in seconds. Every call has its
/// answer by then; connections that are only kept open hold up the end for as long.
const FAREWELL_SECONDS: u64 = 1;

/// What the HTTP workers are made from.
pub(crate) struct Workers {
    pub(crate) door: FrontDoor,
    /// One for each worker.
    pub(crate) inboxes: Vec<HubInbox>,
    pub(crate) hub_config: HubConfig,
    /// `None`: connections are plain.
    pub(crate) tls: Option<Arc<Tls>>,
    /// A head that is not complete by then is answered 408: half a handshake costs a connection no
    /// longer than that.
    pub(crate) head_time_max: Duration,
}

/// Binds the address.
///
/// # Errors
///
/// It is taken, or it is not an address of this machine.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Starts the workers. The server runs once it is polled.
///
/// # Errors
///
/// The listener cannot be registered.
pub(crate) fn start(listener: TcpListener, workers: Workers) -> io::Result<Server> {
    let Workers { door, inboxes, hub_config, tls, head_time_max } = workers;
    let count = inboxes.len();
    let inboxes = Arc::new(Mutex::new(inboxes));
    let server = Server::build()
        .workers(count)
        .disable_signals()
        .shutdown_timeout(FAREWELL_SECONDS)
        .listen("http", listener, move || {
            let inbox = inboxes
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop()
                .expect("there is an inbox for each worker, and a worker starts once");
            let hub = door.node.hubs()[usize::from(inbox.index().0)].clone();
            let owner = SocketOwner::new(door.node.clone(), hub, Arc::clone(&door.auth));
            let hub = Hub::start(inbox, hub_config.clone(), owner);
            let admission = Arc::clone(&door.admission);
            let app = App::new()
                .app_data(web::Data::new(door.clone()))
                .app_data(web::Data::new(HubOfWorker(Rc::clone(&hub))))
                .wrap(from_fn(guard))
                .configure(configure);
            let http = HttpService::build()
                .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
                .client_request_timeout(head_time_max)
                .on_connect_ext(move |connection: &Connection, data| {
                    data.insert(connection.handover());
                    data.insert(Arrival::new(&admission, head_time_max));
                })
                .upgrade(UpgradeService::new(door.clone(), hub))
                .finish(map_config(app, |_| AppConfig::default()));
            let tls = tls.clone();
            let door = door.clone();
            fn_service(move |stream: TcpStream| {
                connect(stream, tls.clone(), Arc::clone(&door.admission), head_time_max)
            })
            .and_then(http)
        })?;
    Ok(server.run())
}

/// Makes a connection of what was accepted; with TLS, after its handshake.
async fn connect(
    stream: TcpStream,
    tls: Option<Arc<Tls>>,
    admission: Arc<Admission>,
    time_max: Duration,
) -> Result<(Connection, Protocol, Option<SocketAddr>), DispatchError> {
    let peer = stream.peer_addr().ok();
    let connection = match tls {
        None => Connection::new(stream),
        Some(tls) => {
            let shaken = tokio::time::timeout(time_max, tls.accept(stream)).await;
            let stream = shaken.unwrap_or_else(|_| {
                admission.count(Refusal::HandshakeTime);
                Err(io::ErrorKind::TimedOut.into())
            });
            Connection::new(stream.map_err(|err| {
                tracing::debug!(?peer, error = &err as &dyn std::error::Error, "no TLS handshake");
                DispatchError::Io(err)
            })?)
        }
    };
    Ok((connection, Protocol::Http1, peer))
}
