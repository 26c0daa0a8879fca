//! Clients that send more than they may.

use std::num::NonZeroU64;
use std::time::Duration;

use dormouse_socket::{CloseCause, Flood, HubConfig, Rate};
use tokio::time::advance;

use crate::client::{Got, PING, PONG, TEXT, masked_frame};
use crate::rig::Rig;

const PER_SECOND: u64 = 100;

fn rate() -> Rate {
    Rate::per_second(NonZeroU64::new(PER_SECOND).unwrap())
}

#[actix_rt::test]
async fn too_many_frames_of_any_kind_close_with_1013() {
    for (first, payload) in [(TEXT, &b"x"[..]), (PING, b""), (PONG, b""), (0x00, b"x"), (0x00, b"")]
    {
        let mut rig = Rig::start(HubConfig { message_rate: rate(), ..HubConfig::default() });
        let (mut client, id) = rig.connect().await;
        // A fragment needs a message that it belongs to.
        let mut bytes = if first == 0x00 { masked_frame(0x01, b"") } else { Vec::new() };
        for _ in 0..=PER_SECOND {
            bytes.extend(masked_frame(first, payload));
        }

        tokio::time::pause();
        client.send_raw(&bytes).await;

        let closed = loop {
            match client.receive().await {
                Got::Pong(_) => {}
                other => break other,
            }
        };
        let reason = "too many messages: send less, reconnect later and resume";
        assert_eq!(closed, Got::Close(1013, reason.to_owned()), "{first:#x} {payload:?}");
        assert_eq!(rig.closed().await, (id, CloseCause::TooFast(Flood::Messages)));
        assert_eq!(rig.handle.stats().read().closed_message_rate, 1);
        tokio::time::resume();
    }
}

#[actix_rt::test]
async fn too_many_bytes_close_with_1013_and_what_came_before_is_answered() {
    let mut rig = Rig::start(HubConfig { byte_rate: rate(), ..HubConfig::default() });
    let (mut client, id) = rig.connect().await;

    tokio::time::pause();
    client.send_text("echo before").await;
    assert_eq!(client.receive_text().await, "echo before");
    client.send_text(&format!("echo {}", "x".repeat(100))).await;

    let reason = "too many bytes: send less, reconnect later and resume";
    assert_eq!(client.receive().await, Got::Close(1013, reason.to_owned()));
    assert_eq!(rig.closed().await, (id, CloseCause::TooFast(Flood::Bytes)));
    assert_eq!(rig.handle.stats().read().closed_byte_rate, 1);
}

#[actix_rt::test]
async fn a_client_that_keeps_to_its_rate_is_never_closed() {
    const ROUNDS: u64 = 20;
    let mut rig = Rig::start(HubConfig { message_rate: rate(), ..HubConfig::default() });
    let (mut client, _) = rig.connect().await;

    tokio::time::pause();
    for round in 0..ROUNDS {
        let mut bytes: Vec<u8> =
            (1..PER_SECOND).flat_map(|_| masked_frame(TEXT, b"quiet")).collect();
        bytes.extend(masked_frame(TEXT, format!("echo {round}").as_bytes()));
        client.send_raw(&bytes).await;
        assert_eq!(client.receive_text().await, format!("echo {round}"));
        advance(Duration::from_secs(1)).await;
    }

    assert_eq!(rig.handle.stats().read().messages_in, ROUNDS * PER_SECOND);
    assert_eq!(rig.handle.stats().read().closed_message_rate, 0);
}
