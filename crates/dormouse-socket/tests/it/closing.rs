//! How sockets end.

use std::time::Duration;

use dormouse_socket::{Batch, CloseCause, CloseCode, HubConfig, ToHub, Upgraded, text_frame};
use tokio::time::Instant;

use crate::client::{CLOSE, DEFLATED_TEXT, Got, PONG, close_payload};
use crate::rig::{Call, Rig, TOPIC, accept};

#[actix_rt::test]
async fn a_close_frame_is_answered_with_its_own_code_and_the_connection_ends() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut client, id) = rig.connect().await;

    client.send_frame(CLOSE, &close_payload(4001, "bye")).await;

    assert_eq!(client.receive().await, Got::Close(4001, String::new()));
    assert_eq!(client.receive().await, Got::End);
    let code = CloseCode::new(4001);
    assert_eq!(rig.call().await, Call::Closed(id, CloseCause::Peer(code)));
    assert_eq!(rig.handle.stats().read().sockets_open, 0);
}

#[actix_rt::test]
async fn an_empty_close_frame_is_answered_with_an_empty_one() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut client, id) = rig.connect().await;

    client.send_frame(CLOSE, b"").await;

    assert_eq!(client.receive().await, Got::Close(0, String::new()));
    assert_eq!(client.receive().await, Got::End);
    assert_eq!(rig.call().await, Call::Closed(id, CloseCause::Peer(None)));
}

#[actix_rt::test]
async fn a_client_that_vanishes_is_noticed() {
    let mut rig = Rig::start(HubConfig::default());
    let (client, id) = rig.connect().await;

    client.hang_up();

    assert_eq!(rig.call().await, Call::Closed(id, CloseCause::Lost));
}

#[actix_rt::test]
async fn an_owner_closes_after_what_is_queued_and_hears_of_it_once() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut client, id) = rig.connect().await;

    rig.direct(id, "last words", 0, 0);
    rig.handle.send(ToHub::Close { socket: id, code: CloseCode::POLICY, reason: "expired".into() });
    rig.direct(id, "too late", 0, 0);

    assert_eq!(client.receive_text().await, "last words");
    assert_eq!(client.receive().await, Got::Close(1008, "expired".to_owned()));
    client.send_text("echo ignored").await;
    client.send_frame(CLOSE, &close_payload(1008, "")).await;
    assert_eq!(client.receive().await, Got::End);
    assert_eq!(rig.call().await, Call::Closed(id, CloseCause::Owner(CloseCode::POLICY)));
    assert!(rig.calls.try_recv().is_err());
}

#[actix_rt::test]
async fn an_owner_may_close_while_it_handles_a_message() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut client, id) = rig.connect().await;

    client.send_text("close 4005").await;

    assert_eq!(client.receive().await, Got::Close(4005, "as you wish".to_owned()));
    let code = CloseCode::new(4005).unwrap();
    assert_eq!(rig.closed().await, (id, CloseCause::Owner(code)));
}

#[actix_rt::test]
async fn a_client_that_never_answers_a_close_frame_is_dropped_in_the_end() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut client, id) = rig.connect().await;
    rig.handle.send(ToHub::Close { socket: id, code: CloseCode::NORMAL, reason: String::new() });
    assert_eq!(client.receive().await, Got::Close(1000, String::new()));
    assert_eq!(rig.handle.stats().read().sockets_open, 1);

    tokio::time::pause();

    assert_eq!(client.receive().await, Got::End);
    assert_eq!(rig.handle.stats().read().sockets_open, 0);
}

#[actix_rt::test]
async fn messages_for_a_socket_that_is_gone_are_ignored_although_its_slot_is_used_again() {
    let mut rig = Rig::start(HubConfig::default());
    let (client, gone) = rig.connect().await;
    client.hang_up();
    rig.closed().await;
    rig.settle().await;
    let (mut client, id) = rig.connect().await;
    assert_ne!(id, gone);

    rig.direct(gone, "not for you", 0, 0);
    rig.handle.send(ToHub::Close { socket: gone, code: CloseCode::NORMAL, reason: String::new() });
    rig.handle.send(ToHub::Attach {
        socket: gone,
        topic: TOPIC,
        direct: Some(text_frame("nor this")),
        batch: Batch::empty(),
        offset: 9,
        tail: true,
    });
    rig.direct(id, "for you", 0, 0);

    assert_eq!(client.receive_text().await, "for you");
}

#[actix_rt::test]
async fn silence_between_two_pings_closes_and_any_byte_keeps_open() {
    let heartbeat = Duration::from_secs(1);
    let mut rig = Rig::start(HubConfig { heartbeat, ..HubConfig::default() });
    let (mut silent, silent_id) = rig.connect().await;
    let (mut alive, _) = rig.connect().await;

    tokio::time::pause();
    for _ in 0..3 {
        assert_eq!(alive.receive().await, Got::Ping(Vec::new()));
        alive.send_frame(PONG, b"").await;
    }

    assert_eq!(silent.receive().await, Got::Ping(Vec::new()));
    assert_eq!(silent.receive().await, Got::End, "no close frame: nobody is there to read it");
    assert_eq!(rig.call().await, Call::Closed(silent_id, CloseCause::Unresponsive));
    assert!(rig.calls.try_recv().is_err(), "the other is still open");
}

#[actix_rt::test]
async fn a_drained_hub_answers_what_it_took_says_1012_and_ends() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut idle, _) = rig.connect().await;
    let (mut busy, busy_id) = rig.connect().await;
    busy.send_text("call 1").await;
    assert!(matches!(rig.call().await, Call::Message(..)));
    let reason = r#"{"withinMs":5000}"#;

    let within = Duration::from_secs(10);
    rig.handle.send(ToHub::Drain { reason: reason.to_owned(), spread: Duration::ZERO, within });
    assert_eq!(idle.receive().await, Got::Close(1012, reason.to_owned()));
    idle.send_frame(CLOSE, &close_payload(1012, "")).await;
    assert_eq!(idle.receive().await, Got::End);
    busy.send_text("echo not taken any more").await;
    rig.direct(busy_id, "answer 1", 0, 1);

    assert_eq!(busy.receive_text().await, "answer 1");
    assert_eq!(busy.receive().await, Got::Close(1012, reason.to_owned()));
    busy.send_frame(CLOSE, &close_payload(1012, "")).await;
    rig.handle.finished().await;
    assert_eq!(rig.handle.stats().read().closed_drained, 2);
    assert_eq!(rig.handle.stats().read().sockets_open, 0);
}

#[actix_rt::test]
async fn a_drain_spreads_its_closes_and_a_socket_works_until_its_turn() {
    const SOCKETS: u32 = 10;
    let spread = Duration::from_secs(10);
    let mut rig = Rig::start(HubConfig::default());
    let mut clients = Vec::new();
    for _ in 0..SOCKETS {
        clients.push(rig.connect().await.0);
    }

    tokio::time::pause();
    let begun = Instant::now();
    rig.handle.send(ToHub::Drain { reason: "soon".to_owned(), spread, within: spread * 2 });

    for (turn, client) in (0..).zip(&mut clients) {
        if turn > 0 {
            client.send_text("echo still here").await;
            assert_eq!(client.receive_text().await, "echo still here");
        }
        assert_eq!(client.receive().await, Got::Close(1012, "soon".to_owned()));
        let (early, late) = (spread * turn / SOCKETS, spread * (turn + 1) / SOCKETS);
        assert!((early..late).contains(&begun.elapsed()), "turn {turn}: {:?}", begun.elapsed());
        client.send_frame(CLOSE, &close_payload(1012, "")).await;
        assert_eq!(client.receive().await, Got::End);
    }
    rig.handle.finished().await;
    assert_eq!(rig.handle.stats().read().closed_drained, u64::from(SOCKETS));
}

#[actix_rt::test]
async fn a_drain_ends_at_its_deadline_whoever_is_left() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut stuck, _) = rig.connect().await;
    stuck.send_text("call 1").await;
    assert!(matches!(rig.call().await, Call::Message(..)));
    let within = Duration::from_secs(3);

    tokio::time::pause();
    rig.handle.send(ToHub::Drain { reason: "soon".to_owned(), spread: Duration::ZERO, within });
    rig.handle.finished().await;

    assert_eq!(stuck.receive().await, Got::Close(1012, "soon".to_owned()));
    assert_eq!(stuck.receive().await, Got::End);
    assert_eq!(rig.closed().await.1, CloseCause::Drained);
}

#[actix_rt::test]
async fn a_socket_that_arrives_while_the_hub_drains_is_turned_away() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut stuck, id) = rig.connect_with(accept(), None).await;
    stuck.send_text("call 1").await;
    assert!(matches!(rig.call().await, Call::Message(..)));
    let within = Duration::from_secs(10);
    rig.handle.send(ToHub::Drain { reason: "soon".to_owned(), spread: Duration::ZERO, within });
    rig.settle().await;

    let mut late = rig.connect_late(text_frame("head")).await;

    assert_eq!(late.receive_text().await, "head");
    assert_eq!(late.receive().await, Got::Close(1012, "soon".to_owned()));
    assert_eq!(late.receive().await, Got::End);
    rig.direct(id, "answer", 0, 1);
    assert_eq!(rig.call().await, Call::Closed(id, CloseCause::Drained), "the other is not told of");
}

#[actix_rt::test]
async fn who_fails_before_being_greeted_gets_the_end_of_the_handshake_first() {
    let mut rig = Rig::start(HubConfig::default());
    let with_head = |upgraded: Upgraded| upgraded.with_head(text_frame("head"));
    let (mut client, _) = rig.connect_upgraded(accept(), None, with_head).await;

    client.send_frame(DEFLATED_TEXT, b"").await;

    assert_eq!(client.receive_text().await, "head");
    assert!(matches!(client.receive().await, Got::Close(1002, _)));
}
