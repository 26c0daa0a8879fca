//! RFC 6455 at the level of frames: what breaks the protocol, and what only looks like it.

use e2e::{ClientFrame, Opcode, RawSocket, Server};
use serde_json::{Value, json};

const PING: &str = r#"{"type":"ping"}"#;

/// A socket of a counter that has had its `initial`.
async fn open(server: &Server) -> RawSocket {
    let mut socket = server.connect_raw("/ws/counter/a").await;
    assert_eq!(next_json(&mut socket).await["type"], "initial");
    socket
}

async fn next_json(socket: &mut RawSocket) -> Value {
    let frame = socket.next().await.expect("the socket is open");
    assert_eq!((frame.opcode, frame.is_final), (Opcode::TEXT, true), "{frame:?}");
    serde_json::from_slice(&frame.payload).expect("text is JSON")
}

async fn assert_pong(socket: &mut RawSocket) {
    assert_eq!(next_json(socket).await["type"], "pong");
}

/// What closes a socket with 1002, as a list of frames.
fn violations() -> Vec<(&'static str, Vec<ClientFrame>)> {
    let begun = || ClientFrame::new(Opcode::TEXT, "{").unfinished();
    let close = |payload: &[u8]| vec![ClientFrame::new(Opcode::CLOSE, payload)];
    vec![
        ("a frame without a mask", vec![ClientFrame::text(PING).unmasked()]),
        ("a ping without a mask", vec![ClientFrame::new(Opcode::PING, "").unmasked()]),
        ("reserved bit 1, as if compressed", vec![ClientFrame::text(PING).reserved(4)]),
        ("reserved bit 2", vec![ClientFrame::text(PING).reserved(2)]),
        ("reserved bit 3", vec![ClientFrame::text(PING).reserved(1)]),
        ("an opcode that means nothing", vec![ClientFrame::new(Opcode(3), "")]),
        ("a control opcode that means nothing", vec![ClientFrame::new(Opcode(11), "")]),
        ("a continuation of nothing", vec![ClientFrame::new(Opcode::CONTINUATION, PING)]),
        ("a message inside a message", vec![begun(), ClientFrame::text(PING)]),
        ("a binary message inside a message", vec![begun(), ClientFrame::new(Opcode::BINARY, "")]),
        ("a ping in pieces", vec![ClientFrame::new(Opcode::PING, "a").unfinished()]),
        ("a ping of 126 bytes", vec![ClientFrame::new(Opcode::PING, [0; 126])]),
        ("a close of one byte", close(&[3])),
        ("a close with code 999", close(&999_u16.to_be_bytes())),
        ("a close with code 1005", close(&1005_u16.to_be_bytes())),
        ("a close with code 1006", close(&1006_u16.to_be_bytes())),
        ("a close with code 2000", close(&2000_u16.to_be_bytes())),
        ("a close with code 65535", close(&u16::MAX.to_be_bytes())),
    ]
}

#[tokio::test]
async fn whatever_breaks_the_protocol_closes_with_1002_and_nobody_else_notices() {
    let server = Server::start().await;
    let mut bystander = server.connect("/ws/counter/a").await;
    bystander.next_of("initial").await;

    for (what, frames) in violations() {
        let mut socket = open(&server).await;
        for frame in frames {
            socket.send(&frame).await;
        }
        assert_eq!(socket.closed().await.code, 1002, "{what}");
    }
    assert_eq!(bystander.ping().await["offset"], 0);
}

#[tokio::test]
async fn text_that_is_not_utf_8_closes_with_1007() {
    let server = Server::start().await;
    let euro = "€".as_bytes();
    let cases: [Vec<ClientFrame>; 6] = [
        vec![ClientFrame::new(Opcode::TEXT, [0xff])],
        vec![ClientFrame::new(Opcode::TEXT, [b'a', 0xc3, 0x28])],
        // A surrogate, an overlong form, and a code point past the last one.
        vec![ClientFrame::new(Opcode::TEXT, [0xed, 0xa0, 0x80])],
        vec![ClientFrame::new(Opcode::TEXT, [0xc0, 0xaf])],
        vec![ClientFrame::new(Opcode::TEXT, [0xf4, 0x90, 0x80, 0x80])],
        // A character that is begun and never finished.
        vec![
            ClientFrame::new(Opcode::TEXT, &euro[..2]).unfinished(),
            ClientFrame::new(Opcode::CONTINUATION, ""),
        ],
    ];

    for frames in cases {
        let mut socket = open(&server).await;
        for frame in &frames {
            socket.send(frame).await;
        }
        assert_eq!(socket.closed().await.code, 1007, "{frames:?}");
    }
}

#[tokio::test]
async fn a_reason_that_is_not_utf_8_closes_with_1007() {
    let server = Server::start().await;
    let mut socket = open(&server).await;

    socket.send(&ClientFrame::new(Opcode::CLOSE, [0x03, 0xe8, 0xff])).await;

    assert_eq!(socket.closed().await.code, 1007);
}

#[tokio::test]
async fn a_binary_frame_closes_with_1003() {
    let server = Server::start().await;
    let mut socket = open(&server).await;

    socket.send(&ClientFrame::new(Opcode::BINARY, PING)).await;

    assert_eq!(socket.closed().await.code, 1003);
}

#[tokio::test]
async fn a_frame_that_announces_too_much_closes_with_1009_before_it_arrives() {
    let server = Server::start().await;

    for length in [(1 << 20) + 1, 1 << 32, (1 << 63) - 1] {
        let mut socket = open(&server).await;
        socket.send(&ClientFrame::text("").announcing(length)).await;
        assert_eq!(socket.closed().await.code, 1009, "{length}");
    }
}

#[tokio::test]
async fn a_length_with_its_highest_bit_set_is_refused() {
    let server = Server::start().await;
    let mut socket = open(&server).await;

    socket.send(&ClientFrame::text("").announcing(u64::MAX)).await;

    assert!(matches!(socket.closed().await.code, 1002 | 1009));
}

#[tokio::test]
async fn pieces_that_add_up_to_too_much_close_with_1009() {
    let server = Server::builder().flag("--message-bytes-max", "1000").start().await;
    let mut socket = open(&server).await;

    socket.send(&ClientFrame::new(Opcode::TEXT, [b' '; 600]).unfinished()).await;
    socket.send(&ClientFrame::new(Opcode::CONTINUATION, [b' '; 600]).unfinished()).await;

    assert_eq!(socket.closed().await.code, 1009);
}

#[tokio::test]
async fn a_message_in_pieces_with_pings_between_them_is_one_message() {
    let server = Server::start().await;
    let mut socket = open(&server).await;
    let (head, tail) = PING.split_at(5);

    socket.send(&ClientFrame::text(head).unfinished()).await;
    socket.send(&ClientFrame::new(Opcode::PING, "between")).await;
    let pong = socket.next().await.unwrap();
    socket.send(&ClientFrame::new(Opcode::CONTINUATION, "").unfinished()).await;
    socket.send(&ClientFrame::new(Opcode::CONTINUATION, tail)).await;

    assert_eq!((pong.opcode, &pong.payload[..]), (Opcode::PONG, &b"between"[..]));
    assert_pong(&mut socket).await;
}

#[tokio::test]
async fn a_character_may_be_split_between_pieces() {
    let server = Server::start().await;
    let mut socket = open(&server).await;
    let text = r#"{"type":"ping","note":"🦔€"}"#.as_bytes();

    for at in 1..text.len() {
        let (head, tail) = text.split_at(at);
        socket.send(&ClientFrame::new(Opcode::TEXT, head).unfinished()).await;
        socket.send(&ClientFrame::new(Opcode::CONTINUATION, tail)).await;
        assert_pong(&mut socket).await;
    }
}

#[tokio::test]
async fn a_frame_may_come_byte_by_byte_and_many_frames_may_come_at_once() {
    let server = Server::start().await;
    let mut socket = open(&server).await;
    let ping = ClientFrame::text(PING).to_bytes();

    for byte in &ping {
        socket.write(&[*byte]).await.unwrap();
    }
    assert_pong(&mut socket).await;
    socket.write(&ping.repeat(100)).await.unwrap();
    for _ in 0..100 {
        assert_pong(&mut socket).await;
    }
}

#[tokio::test]
async fn every_form_of_a_length_is_read() {
    let server = Server::start().await;
    let mut socket = open(&server).await;

    for bytes in [15, 125, 126, 127, 65_535, 65_536, 1 << 20] {
        let padded = format!("{PING}{}", " ".repeat(bytes - PING.len()));
        socket.send(&ClientFrame::text(&padded)).await;
        assert_pong(&mut socket).await;
    }
}

#[tokio::test]
async fn a_pong_that_nobody_asked_for_is_ignored() {
    let server = Server::start().await;
    let mut socket = open(&server).await;

    socket.send(&ClientFrame::new(Opcode::PONG, "unasked")).await;
    socket.send(&ClientFrame::text(PING)).await;

    assert_pong(&mut socket).await;
}

#[tokio::test]
async fn a_close_is_answered_with_its_code_and_ends_the_connection() {
    let server = Server::start().await;

    for (code, reason) in [(1000, "bye"), (1001, ""), (3000, "library"), (4999, "application")] {
        let mut socket = open(&server).await;
        socket.send(&ClientFrame::close(code, reason)).await;
        assert_eq!(socket.closed().await.code, code);
    }
    let mut socket = open(&server).await;
    socket.send(&ClientFrame::new(Opcode::CLOSE, "")).await;
    assert!(matches!(socket.closed().await.code, 1000 | 1005), "a close without a code");
}

#[tokio::test]
async fn nothing_is_carried_out_after_a_close() {
    let server = Server::start().await;
    let mut socket = open(&server).await;
    let call = json!({"type": "call", "id": 1, "method": "increment"}).to_string();

    let mut bytes = ClientFrame::close(1000, "").to_bytes();
    bytes.extend(ClientFrame::text(&call).to_bytes());
    socket.write(&bytes).await.unwrap();
    socket.closed().await;

    let value = server.query("counter.getValue", json!({"name": "a"})).await;
    assert_eq!(value.data(), &json!({"value": 0}));
}

#[tokio::test]
async fn random_bytes_never_harm_the_server() {
    let server = Server::start().await;

    for seed in 1..=100_u64 {
        let mut socket = open(&server).await;
        let mut random = e2e::Random::seeded(seed);
        let noise = std::iter::repeat_with(|| random.next_u64().to_le_bytes()[3]);
        let bytes: Vec<u8> = noise.take(512).collect();
        // The server may close while the noise is still being written.
        _ = socket.write(&bytes).await;
    }

    let mut socket = open(&server).await;
    socket.send(&ClientFrame::text(PING)).await;
    assert_pong(&mut socket).await;
}
