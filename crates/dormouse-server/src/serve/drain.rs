//! How the server stops: nobody new, sockets told to come back, calls answered, objects asleep.

use std::sync::atomic::Ordering;
use std::time::Duration;

use dormouse_socket::ToHub;
use tokio::time::timeout;

use crate::http::FrontDoor;
use crate::serve::workers::Workers;

/// A socket whose turn has come, and that does not read, gets so long to take its close frame.
const SOCKETS_CLOSE_MAX: Duration = Duration::from_secs(5);

/// Objects get so long to finish what they have. What is acknowledged is durable all the same.
const OBJECTS_SLEEP_MAX: Duration = Duration::from_secs(20);

/// Stops serving. Sockets are closed spread over `window`, and their clients told to spread their
/// return over as much.
///
/// Both, because either alone is a storm: clients that spread only their return lose their sockets at
/// one moment, and clients that do not spread it come back as they were closed.
pub(super) async fn drain(door: &FrontDoor, workers: Workers, window: Duration) {
    tracing::info!("stopping");
    door.is_draining.store(true, Ordering::Release);
    workers.stop_accepting();

    let reason = format!(r#"{{"withinMs":{}}}"#, window.as_millis());
    let within = window.saturating_add(SOCKETS_CLOSE_MAX);
    for hub in door.node.hubs() {
        hub.send(ToHub::Drain { reason: reason.clone(), spread: window, within });
    }
    for hub in door.node.hubs() {
        // The hub closes what is left by itself; the time on top is for a thread that hangs.
        let hangs_after = within.saturating_add(SOCKETS_CLOSE_MAX);
        if timeout(hangs_after, hub.finished()).await.is_err() {
            tracing::warn!(hub = hub.index().0, "a hub did not close its sockets in time");
        }
    }
    if timeout(OBJECTS_SLEEP_MAX, door.node.shut_down()).await.is_err() {
        tracing::warn!("some objects did not come to rest in time; the next start recovers them");
    }
    workers.stop().await;
}
