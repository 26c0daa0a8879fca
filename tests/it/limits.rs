//! What one client, one object and all together may take, and how what is too much is answered.

use e2e::{ClientFrame, Connection, Opcode, Request, Response, Server};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How many sockets were refused for this reason.
async fn refused(server: &Server, reason: &str) -> f64 {
    sample(server, "dormouse_sockets_refused_total", &format!("reason=\"{reason}\"")).await
}

/// The sample with this label.
async fn sample(server: &Server, name: &str, label: &str) -> f64 {
    let metrics = server.metrics().await;
    let mut samples = metrics.samples();
    let sample = samples.find(|sample| sample.name == name && sample.labels == label);
    sample.unwrap_or_else(|| panic!("no {name} with {label}")).value
}

/// Shakes hands so many times at once, on connections that stay open as long as what is given back.
async fn shake_at_once(server: &Server, target: &str, times: usize) -> Vec<(Response, Connection)> {
    let mut shaking = JoinSet::new();
    for _ in 0..times {
        let (address, request) = (server.address(), Request::handshake(target));
        shaking.spawn(async move {
            let mut connection = Connection::open(address).await.expect("the server listens");
            let response = connection.send(&request).await.expect("it answers");
            (response, connection)
        });
    }
    shaking.join_all().await
}

fn assert_told_to_come_back(response: &Response) {
    assert_eq!(response.status, 503, "{response:?}");
    assert!(response.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok()));
    assert_eq!(response.json()["error"]["code"], "SERVICE_UNAVAILABLE");
}

#[tokio::test]
async fn handshakes_that_come_together_cannot_pass_the_limit_of_the_node_together() {
    let server = Server::builder().flag("--sockets-max", "5").start().await;

    let shaken = shake_at_once(&server, "/ws/counter/a", 40).await;

    assert_eq!(shaken.iter().filter(|(response, _)| response.status == 101).count(), 5);
    for (response, _) in shaken.iter().filter(|(response, _)| response.status != 101) {
        assert_told_to_come_back(response);
    }
    assert_eq!(refused(&server, "sockets").await, 35.0);
}

#[tokio::test]
async fn an_object_with_all_its_sockets_refuses_more_and_other_objects_do_not() {
    let server = Server::builder().flag("--sockets-per-object-max", "3").start().await;

    let shaken = shake_at_once(&server, "/ws/counter/a", 20).await;

    assert_eq!(shaken.iter().filter(|(response, _)| response.status == 101).count(), 3);
    assert_eq!(refused(&server, "object").await, 17.0);
    assert_told_to_come_back(&server.get("/ws/counter/a").await);
    assert_eq!(refused(&server, "object").await, 17.0, "a plain GET asks for no socket");
    assert_eq!(server.get("/ws/counter/b").await.status, 426);
    server.connect("/ws/counter/b").await.next_of("initial").await;
    drop(shaken);
    server
        .eventually("a place to be free", async |server: &Server| {
            server.send(&Request::handshake("/ws/counter/a")).await.status == 101
        })
        .await;
}

#[tokio::test]
async fn a_place_is_given_back_however_a_handshake_ends() {
    let server = Server::builder().flag("--sockets-per-object-max", "1").start().await;

    for _ in 0..3 {
        let refused = Request::handshake("/ws/counter/a").with("Sec-WebSocket-Version", "12");
        assert_eq!(server.send(&refused).await.status, 426);
    }

    server.connect("/ws/counter/a").await.next_of("initial").await;
}

#[tokio::test]
async fn clients_of_this_machine_have_no_limit_by_address_and_cannot_claim_another() {
    let server = Server::builder().flag("--sockets-per-address-max", "1").start().await;

    let mut sockets = Vec::new();
    for _ in 0..3 {
        let claim = [("x-forwarded-for", "192.0.2.1")];
        let mut socket = server.connect_with("/ws/counter/a", &claim).await;
        socket.next_of("initial").await;
        sockets.push(socket);
    }

    assert_eq!(refused(&server, "address").await, 0.0);
}

#[tokio::test]
async fn new_sockets_have_a_rate_and_are_taken_again_later() {
    let server = Server::builder().flag("--connections-per-second-max", "1").start().await;

    let shaken = shake_at_once(&server, "/ws/counter/a", 20).await;

    assert!(shaken.iter().any(|(response, _)| response.status == 101));
    let (late, _) = shaken.iter().find(|(response, _)| response.status != 101).unwrap();
    assert_told_to_come_back(late);
    assert!(refused(&server, "connection_rate").await >= 1.0);
    server
        .eventually("the rate to allow another", async |server: &Server| {
            server.send(&Request::handshake("/ws/counter/a")).await.status == 101
        })
        .await;
}

#[tokio::test]
async fn a_flood_of_one_byte_messages_ends_with_1013_and_nobody_else_notices() {
    let server = Server::builder().flag("--messages-per-second-max", "1000").start().await;
    let mut other = server.connect("/ws/counter/a").await;
    other.next_of("initial").await;
    let mut flooding = server.connect_raw("/ws/counter/a").await;
    let flood = ClientFrame::text("x").to_bytes().repeat(20_000);

    // The server may have hung up before all of it is written.
    flooding.write(&flood).await.ok();

    let closed = loop {
        let frame = flooding.next().await.unwrap();
        if frame.opcode == Opcode::CLOSE {
            break frame;
        }
    };
    assert_eq!(closed.payload[..2], 1013_u16.to_be_bytes());
    let cause = "cause=\"message_rate\"";
    assert_eq!(sample(&server, "dormouse_sockets_closed_total", cause).await, 1.0);
    server.mutate("counter.increment", json!({"name": "a"})).await.data();
    assert_eq!(other.next_of("increment").await["value"], 1);
}

#[tokio::test]
async fn too_many_bytes_in_too_little_time_end_with_1013_and_one_large_message_does_not() {
    let server = Server::builder()
        .switch("--echo")
        .flag("--message-bytes-max", "100000")
        .flag("--bytes-per-second-max", "1024")
        .start()
        .await;
    let mut echo = server.connect("/echo").await;
    let large = json!("x".repeat(90_000));

    echo.send(&large).await;
    assert_eq!(echo.next().await, large);
    echo.send(&large).await;
    assert_eq!(echo.next().await, large);
    echo.send(&large).await;

    assert_eq!(echo.closed().await.code, 1013);
    let cause = "cause=\"byte_rate\"";
    assert_eq!(sample(&server, "dormouse_sockets_closed_total", cause).await, 1.0);
}

#[tokio::test]
async fn two_thousand_half_handshakes_delay_nobody_and_are_closed_in_time() {
    const HALVES: usize = 2_000;
    raise_descriptor_limit();
    let server = Server::builder().flag("--handshake-timeout", "3s").start().await;
    let handshake = Request::handshake("/ws/counter/a").to_bytes(server.address());
    let mut held = Vec::new();
    for _ in 0..HALVES {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(&handshake[..handshake.len() / 2]).await.unwrap();
        held.push(stream);
    }

    let mut socket = server.connect("/ws/counter/a").await;
    socket.next_of("initial").await;
    for value in 1..=20 {
        server.mutate("counter.increment", json!({"name": "a"})).await.data();
        assert_eq!(socket.next_of("increment").await["value"], value);
    }

    server
        .eventually("all halves to be closed", async |server: &Server| {
            refused(server, "handshake_time").await == 2_000.0
        })
        .await;
    assert_eq!(held.len(), HALVES, "none was closed by the client");
    assert_eq!(socket.ping().await["type"], "pong");
}

/// Lets this process open as many files as it may.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .expect("a process may raise its soft limit");
}
