//! Everything is bounded, and what reaches a bound harms nobody else.

use e2e::{Client, RawSocket, Request, Server};
use serde_json::json;
use tokio::task::JoinSet;

#[tokio::test]
async fn half_a_handshake_that_is_held_open_hurts_nobody() {
    let server = Server::start().await;
    let handshake = Request::handshake("/ws/counter/a").to_bytes(server.address());
    let mut held = Vec::new();
    for cut in [1, 10, handshake.len() / 2, handshake.len() - 2, handshake.len() - 1] {
        for _ in 0..20 {
            let mut connection = server.connection().await;
            connection.write(&handshake[..cut]).await.unwrap();
            held.push(connection);
        }
    }

    let mut socket = server.connect("/ws/counter/a").await;
    socket.next_of("initial").await;
    server.mutate("counter.increment", json!({"name": "a"})).await.data();

    assert_eq!(socket.next_of("increment").await["value"], 1);
    assert_eq!(server.metric("dormouse_sockets_open").await, 1.0, "half a handshake is no socket");
    for mut connection in held {
        // Its time is limited: it is answered with 408, or closed.
        let answer = connection.read().await;
        assert!(answer.is_err() || answer.is_ok_and(|response| response.status == 408));
    }
}

#[tokio::test]
async fn who_comes_while_no_descriptor_is_left_is_served_once_there_is_one() {
    let server = Server::start().await;
    server.limit_open_files(100);
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(server.connection().await);
    }
    server
        .eventually("it says that it cannot accept", async |server| {
            server.log().contains("cannot accept")
        })
        .await;

    drop(held);

    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn half_a_frame_that_is_held_open_hurts_nobody() {
    let server = Server::start().await;
    let frame = e2e::ClientFrame::text(r#"{"type":"ping"}"#).to_bytes();
    let mut held = Vec::new();
    for cut in 1..frame.len() {
        let mut socket = server.connect_raw("/ws/counter/a").await;
        socket.write(&frame[..cut]).await.unwrap();
        // Attached from here on, so the increment below reaches it as an event.
        assert_eq!(message_type(&mut socket).await, "initial");
        held.push((socket, cut));
    }

    server.mutate("counter.increment", json!({"name": "a"})).await.data();

    for (mut socket, cut) in held {
        assert_eq!(message_type(&mut socket).await, "increment");
        socket.write(&frame[cut..]).await.unwrap();
        assert_eq!(message_type(&mut socket).await, "pong");
    }
}

async fn message_type(socket: &mut RawSocket) -> String {
    let frame = socket.next().await.expect("the socket is open");
    let message: serde_json::Value =
        serde_json::from_slice(&frame.payload).expect("the server sends JSON");
    message["type"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_head_that_never_ends_is_refused() {
    let server = Server::start().await;
    let mut connection = server.connection().await;

    let head = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n", server.address());
    connection.write(head.as_bytes()).await.unwrap();
    let filler = format!("X-Filler: {}\r\n", "x".repeat(1000));
    let mut written = Ok(());
    for _ in 0..2_000 {
        if written.is_ok() {
            written = connection.write(filler.as_bytes()).await;
        }
    }
    let answer = connection.read().await;

    // It may answer or just close; what it must not do is wait for more.
    assert!(answer.is_err() || answer.is_ok_and(|response| response.status >= 400));
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let server = Server::start().await;

    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"hello\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let mut connection = server.connection().await;
        connection.write(bytes).await.unwrap();
        connection.write(b"\r\n\r\n").await.ok();
        let answer = connection.read().await;
        assert!(
            answer.is_err() || answer.is_ok_and(|response| response.status == 400),
            "{bytes:?}"
        );
    }
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn more_objects_than_fit_in_memory_all_answer() {
    const OBJECTS: usize = 200;
    let server = Server::builder().flag("--objects-resident-max", "8").start().await;
    let address = server.address();
    let mut callers = JoinSet::new();
    for worker in 0..10 {
        callers.spawn(async move {
            let mut client = Client::open(address).await.unwrap();
            for round in 1..=3 {
                for object in (worker..OBJECTS).step_by(10) {
                    let input = json!({"name": object.to_string()});
                    let answer = client.mutate("counter.increment", &input).await.unwrap();
                    assert_eq!(answer.data()["value"], round, "{object}");
                }
            }
        });
    }

    callers.join_all().await;

    assert!(server.metric("dormouse_objects_resident").await <= 8.0);
    for object in [0, 99, 199] {
        let value = server.query("counter.getValue", json!({"name": object.to_string()})).await;
        assert_eq!(value.data()["value"], 3);
    }
}

#[tokio::test]
async fn sockets_on_more_objects_than_fit_in_memory_all_see_their_events() {
    let server = Server::builder().flag("--objects-resident-max", "4").start().await;
    let mut sockets = Vec::new();
    for object in 0..40 {
        let mut socket = server.connect(&format!("/ws/counter/{object}")).await;
        socket.next_of("initial").await;
        sockets.push(socket);
    }

    for object in 0..40 {
        server.mutate("counter.increment", json!({"name": object.to_string()})).await.data();
    }

    for socket in &mut sockets {
        assert_eq!(socket.next_of("increment").await["value"], 1);
    }
}

#[tokio::test]
async fn a_reader_that_sleeps_delays_nobody_and_misses_nothing() {
    const UPDATES: u64 = 120;
    let server = Server::start().await;
    server.mutate("note.create", json!({"id": "n", "title": "T"})).await.data();
    let mut slow = server.connect("/ws/note/n").await;
    let mut quick = server.connect("/ws/note/n").await;
    slow.next_of("initial").await;
    quick.next_of("initial").await;
    // Together far more than a socket's queue and the kernel's buffers hold.
    let blob = "x".repeat(200_000);

    for version in 2..=UPDATES {
        server.mutate("note.update", json!({"id": "n", "blob": blob})).await.data();
        assert_eq!(quick.next_of("update").await["offset"], version);
    }

    for version in 2..=UPDATES {
        let event = slow.next_of("update").await;
        assert_eq!(
            (&event["offset"], &event["data"]["version"]),
            (&json!(version), &json!(version))
        );
    }
    server.mutate("note.update", json!({"id": "n", "title": "end"})).await.data();
    assert_eq!(slow.next_of("update").await["data"]["title"], "end");
}

#[tokio::test]
async fn a_client_that_asks_and_never_reads_is_held_back_or_closed() {
    let server = Server::start().await;
    server
        .mutate("note.create", json!({"id": "n", "title": "T", "blob": "x".repeat(500_000)}))
        .await
        .data();
    let mut greedy = server.connect_raw("/ws/note/n").await;
    let mut polite = server.connect("/ws/note/n").await;
    polite.next_of("initial").await;

    // A hundred megabytes of answers are asked for. The requests are small: they fit into the
    // kernel's buffers whether the server reads them or not.
    for id in 0..200 {
        let call = json!({"type": "call", "id": id, "method": "get"}).to_string();
        if greedy.write(&e2e::ClientFrame::text(&call).to_bytes()).await.is_err() {
            break;
        }
    }
    polite.call(1, "get", json!({})).await;
    assert_eq!(polite.next_of("result").await["id"], 1);

    let mut results = 0;
    loop {
        match greedy.next().await {
            Ok(frame) if frame.opcode == e2e::Opcode::TEXT => {
                let message: serde_json::Value = serde_json::from_slice(&frame.payload).unwrap();
                results += usize::from(message["type"] == "result");
                if results == 200 {
                    break;
                }
            }
            Ok(frame) if frame.opcode == e2e::Opcode::CLOSE => {
                assert_eq!(frame.payload[..2], 1013_u16.to_be_bytes());
                break;
            }
            Ok(_) => {}
            Err(err) => panic!("the socket broke without a code: {err}"),
        }
    }
}

#[tokio::test]
async fn more_sockets_than_allowed_are_refused_with_a_time_to_come_back() {
    let server = Server::builder().flag("--sockets-max", "3").start().await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let mut socket = server.connect("/ws/counter/a").await;
        socket.next_of("initial").await;
        sockets.push(socket);
    }

    let shaken = server.send(&Request::handshake("/ws/counter/a")).await;
    let fetched = server.get("/ws/counter/a").await;

    for response in [shaken, fetched] {
        assert_eq!(response.status, 503, "{response:?}");
        assert!(response.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok()));
        assert!(response.json()["error"]["message"].is_string());
    }
    sockets.pop();
    server
        .eventually("a place to be free", async |server: &Server| {
            server.send(&Request::handshake("/ws/counter/a")).await.status == 101
        })
        .await;
}
