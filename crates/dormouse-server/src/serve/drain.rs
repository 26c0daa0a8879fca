//! How the server stops: nobody new, sockets told to come back, calls answered, objects asleep.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_server::ServerHandle;
use dormouse_socket::ToHub;
use tokio::time::timeout;

use crate::http::FrontDoor;

/// Sockets that do not read get so long to take their close frame.
const SOCKETS_CLOSE_MAX: Duration = Duration::from_secs(5);

/// Objects get so long to finish what they have. What is acknowledged is durable all the same.
const OBJECTS_SLEEP_MAX: Duration = Duration::from_secs(20);

/// Stops serving. `window` is over how much time clients should spread their return.
pub(super) async fn drain(door: &FrontDoor, handle: &ServerHandle, window: Duration) {
    tracing::info!("stopping");
    door.is_draining.store(true, Ordering::Release);
    handle.pause().await;

    let reason = format!(r#"{{"withinMs":{}}}"#, window.as_millis());
    for hub in door.node.hubs() {
        hub.send(ToHub::Drain { reason: reason.clone(), within: SOCKETS_CLOSE_MAX });
    }
    for hub in door.node.hubs() {
        // The hub closes what is left by itself; the time on top is for a thread that hangs.
        if timeout(SOCKETS_CLOSE_MAX * 2, hub.finished()).await.is_err() {
            tracing::warn!(hub = hub.index().0, "a hub did not close its sockets in time");
        }
    }
    if timeout(OBJECTS_SLEEP_MAX, door.node.shut_down()).await.is_err() {
        tracing::warn!("some objects did not come to rest in time; the next start recovers them");
    }
    handle.stop(true).await;
}
