//! What clients send, and what becomes of it.

use dormouse_socket::{Accept, CloseCause, HubConfig, ProtocolError, SocketId};

use crate::client::{BINARY, Client, Got, PING, PONG, TEXT, close_payload, masked_frame};
use crate::rig::{Call, Rig, accept};

#[actix_rt::test]
async fn text_comes_back_whole_however_it_was_cut() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut client, _) = rig.connect().await;
    let long = format!("echo {}", "ü".repeat(100_000));

    client.send_text("echo short").await;
    assert_eq!(client.receive_text().await, "echo short");

    client.send_text(&long).await;
    assert_eq!(client.receive_text().await, long);

    client.send_frame(0x01, b"echo fr").await;
    client.send_frame(PING, b"between").await;
    client.send_frame(0x00, b"agm").await;
    assert_eq!(client.receive().await, Got::Pong(b"between".to_vec()));
    client.send_frame(0x80, b"ents").await;
    assert_eq!(client.receive_text().await, "echo fragments");
}

#[actix_rt::test]
async fn messages_that_arrive_together_are_answered_in_order() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut client, _) = rig.connect().await;
    let texts: Vec<String> = (0..500).map(|n| format!("echo {n}")).collect();
    let bytes: Vec<u8> = texts.iter().flat_map(|t| masked_frame(TEXT, t.as_bytes())).collect();

    client.send_raw(&bytes).await;

    for text in texts {
        assert_eq!(client.receive_text().await, text);
    }
}

#[actix_rt::test]
async fn bytes_read_together_with_the_handshake_are_not_lost() {
    let mut rig = Rig::start(HubConfig::default());
    let first = masked_frame(TEXT, b"echo one");
    let second = masked_frame(TEXT, b"echo two");

    let mut client = rig.connect_read_ahead(&[&first[..], &second[..5]].concat()).await;
    client.send_raw(&second[5..]).await;

    assert_eq!(client.receive_text().await, "echo one");
    assert_eq!(client.receive_text().await, "echo two");
}

#[actix_rt::test]
async fn binary_messages_are_taken_only_where_they_were_allowed() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut client, _) = rig.connect_with(Accept { binary: true, ..accept() }, None).await;
    let (mut other, other_id) = rig.connect().await;

    client.send_frame(BINARY, &[0, 255]).await;
    other.send_frame(BINARY, &[0, 255]).await;

    assert_eq!(client.receive().await, Got::Binary(vec![0, 255]));
    let refused = refusal(&mut rig, &mut other).await;
    assert_eq!(refused, (1003, other_id, ProtocolError::Binary));
}

#[actix_rt::test]
async fn a_message_over_the_limit_closes_with_1009() {
    let config = HubConfig { message_bytes_max: 1000, ..HubConfig::default() };
    let mut rig = Rig::start(config);
    let (mut client, id) = rig.connect().await;

    client.send_text(&format!("echo {}", "x".repeat(995))).await;
    assert_eq!(client.receive_text().await.len(), 1000);
    client.send_text(&"x".repeat(1001)).await;

    assert_eq!(refusal(&mut rig, &mut client).await, (1009, id, ProtocolError::TooLarge));
}

#[actix_rt::test]
async fn a_frame_without_a_mask_closes_with_1002() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut client, id) = rig.connect().await;

    client.send_raw(&[TEXT, 2, b'h', b'i']).await;

    assert_eq!(refusal(&mut rig, &mut client).await, (1002, id, ProtocolError::Unmasked));
}

#[actix_rt::test]
async fn text_that_is_not_utf8_closes_with_1007() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut client, id) = rig.connect().await;

    client.send_frame(TEXT, b"\xED\xA0\x80").await;

    assert_eq!(refusal(&mut rig, &mut client).await, (1007, id, ProtocolError::InvalidUtf8));
}

#[actix_rt::test]
async fn a_close_frame_with_a_forbidden_code_closes_with_1002() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut client, id) = rig.connect().await;

    client.send_frame(0x88, &close_payload(1005, "")).await;

    assert_eq!(refusal(&mut rig, &mut client).await, (1002, id, ProtocolError::Close));
}

#[actix_rt::test]
async fn nothing_that_follows_an_error_is_handled() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut client, id) = rig.connect().await;
    let mut bytes = masked_frame(TEXT, b"echo before");
    bytes.extend_from_slice(&masked_frame(0x83, b""));
    bytes.extend_from_slice(&masked_frame(TEXT, b"echo after"));

    client.send_raw(&bytes).await;

    assert_eq!(client.receive_text().await, "echo before", "what came before it is answered");
    assert_eq!(client.receive().await, Got::Close(1002, "opcode 0x3 is reserved".to_owned()));
    assert_eq!(rig.call().await, Call::Message(id, "echo before".to_owned()));
    assert!(matches!(rig.call().await, Call::Closed(..)));
    assert_eq!(client.receive().await, Got::End);
}

#[actix_rt::test]
async fn an_unasked_pong_is_ignored() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut client, _) = rig.connect().await;

    client.send_frame(PONG, b"unasked").await;
    client.send_text("echo still here").await;

    assert_eq!(client.receive_text().await, "echo still here");
}

#[actix_rt::test]
async fn a_socket_with_too_many_calls_in_flight_is_not_read_until_some_are_answered() {
    let config = HubConfig { in_flight_max: 2, ..HubConfig::default() };
    let mut rig = Rig::start(config);
    let (mut client, id) = rig.connect().await;
    let message = |text: &str| Call::Message(id, text.to_owned());
    let bytes: Vec<u8> = ["call 1", "call 2", "call 3", "call 4", "echo 5"]
        .iter()
        .flat_map(|text| masked_frame(TEXT, text.as_bytes()))
        .collect();

    client.send_raw(&bytes).await;
    assert_eq!(rig.call().await, message("call 1"));
    assert_eq!(rig.call().await, message("call 2"));
    rig.settle().await;
    assert!(rig.calls.try_recv().is_err(), "the third call waits");

    rig.direct(id, "answer 1", 0, 1);
    assert_eq!(rig.call().await, message("call 3"));
    rig.settle().await;
    assert!(rig.calls.try_recv().is_err(), "the fourth call waits");

    rig.direct(id, "answers 2 and 3", 0, 2);
    assert_eq!(rig.call().await, message("call 4"));
    assert_eq!(rig.call().await, message("echo 5"));
    for text in ["answer 1", "answers 2 and 3", "echo 5"] {
        assert_eq!(client.receive_text().await, text);
    }
}

#[actix_rt::test]
async fn a_client_that_does_not_read_its_answers_is_not_read_either() {
    let config = HubConfig { direct_bytes_max: 64 * 1024, ..HubConfig::default() };
    let mut rig = Rig::start(config);
    let (mut client, _) = rig.connect_with(accept(), Some(4096)).await;
    let text = format!("echo {}", "x".repeat(1000));
    let frame = masked_frame(TEXT, text.as_bytes());
    let count = 2000;

    let mut received = 0;
    for _ in 0..count {
        // Never waits for the server to read more than the client has read.
        client.send_raw(&frame).await;
        if rig.handle.stats().read().queue_bytes > 16 * 1024 {
            assert_eq!(client.receive_text().await, text);
            received += 1;
        }
    }

    for _ in received..count {
        assert_eq!(client.receive_text().await, text);
    }
    assert_eq!(rig.handle.stats().read().closed_too_slow, 0);
}

/// Receives the close frame and the end, and what the owner was told.
async fn refusal(rig: &mut Rig, client: &mut Client) -> (u16, SocketId, ProtocolError) {
    let Got::Close(code, _) = client.receive().await else { panic!("a close frame comes first") };
    assert_eq!(client.receive().await, Got::End, "the server hangs up first");
    match rig.closed().await {
        (id, CloseCause::Protocol(error)) => (code, id, error),
        other => panic!("{other:?}"),
    }
}
