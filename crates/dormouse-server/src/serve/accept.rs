//! The listener.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Connections that the kernel keeps while the workers are busy.
const BACKLOG: i32 = 4096;

/// Connections that are accepted before others on the thread have their turn.
const ACCEPTED_AT_ONCE: usize = 32;

/// How long nobody is accepted after the system had no room for a connection.
const PAUSE: Duration = Duration::from_millis(500);

/// Binds the address.
///
/// # Errors
///
/// It is taken, or it is not an address of this machine.
pub(crate) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Hands connections over until it is stopped. The listener is closed then, and who waits in its backlog
/// refused: they would wait for an answer that never comes.
pub(super) async fn accept_until(
    stop: CancellationToken,
    listener: TcpListener,
    mut take: impl FnMut(TcpStream, SocketAddr),
) {
    let accepting = async {
        loop {
            for _ in 0..ACCEPTED_AT_ONCE {
                match listener.accept().await {
                    Ok((stream, peer)) => take(stream, peer),
                    Err(err) if concerns_one(&err) => {}
                    Err(err) => {
                        let error = &err as &dyn std::error::Error;
                        tracing::error!(error, "cannot accept; next try in {PAUSE:?}");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
            tokio::task::yield_now().await;
        }
    };
    stop.run_until_cancelled(accepting).await;
}

/// Whether an error says that a client has gone before it was accepted.
fn concerns_one(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
