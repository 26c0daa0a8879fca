//! TLS on the server's port, and certificates that are exchanged while it runs.

use std::net::SocketAddr;
use std::path::Path;

use e2e::{Certificate, Request, Server, ServerBuilder, within};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

type Stream = TlsStream<TcpStream>;

/// A server whose certificate is in a folder.
async fn start(certificate: &Certificate) -> (Server, TempDir) {
    let folder = TempDir::new().expect("there is room for a folder");
    let server = builder(certificate, folder.path()).start().await;
    (server, folder)
}

fn builder(certificate: &Certificate, folder: &Path) -> ServerBuilder {
    let (path, key) = certificate.install(folder);
    Server::builder().flag("--tls-certificate", path).flag("--tls-key", key)
}

/// Sends a request and reads what comes until the text ends with this.
async fn exchange(stream: &mut Stream, request: &Request, until: &str) -> String {
    let address = SocketAddr::from(([127, 0, 0, 1], 443));
    stream.write_all(&request.to_bytes(address)).await.expect("the server reads");
    read_to(stream, until).await
}

async fn read_to(stream: &mut Stream, until: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(until.as_bytes()) {
        bytes.push(within("a byte", stream.read_u8()).await.expect("more comes"));
    }
    String::from_utf8(bytes).expect("it is text")
}

async fn open(stream: Stream, target: &str) -> WebSocketStream<Stream> {
    let url = format!("wss://localhost{target}");
    let shaken = Box::pin(client_async(url, stream));
    within("a handshake", shaken).await.expect("the socket opens").0
}

async fn next(socket: &mut WebSocketStream<Stream>) -> Value {
    loop {
        match within("a message", socket.next()).await {
            Some(Ok(Message::Text(text))) => {
                return serde_json::from_str(&text).expect("it is JSON");
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            other => panic!("{other:?} instead of a message"),
        }
    }
}

async fn call(socket: &mut WebSocketStream<Stream>, method: &str, params: &Value) {
    let call = json!({"type": "call", "id": 1, "method": method, "params": params});
    socket.send(Message::text(call.to_string())).await.expect("the socket is open");
}

async fn assert_pong(socket: &mut WebSocketStream<Stream>) {
    socket.send(Message::text(r#"{"type":"ping"}"#)).await.expect("the socket is open");
    assert_eq!(next(socket).await["type"], "pong");
}

#[tokio::test]
async fn calls_sockets_and_event_streams_are_on_the_same_port() {
    let certificate = Certificate::new();
    let (server, _folder) = start(&certificate).await;
    let connect = async || server.connect_tls(&[&certificate]).await.unwrap();
    let mut socket = open(connect().await, "/ws/counter/a").await;
    assert_eq!(next(&mut socket).await["type"], "initial");
    let mut events = connect().await;
    exchange(&mut events, &Request::get("/sse/counter/a"), "}\n\n").await;

    let increment = Request::post_json("/rpc/counter.increment", r#"{"name":"a"}"#);
    let answer = exchange(&mut connect().await, &increment, "}}}").await;

    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(next(&mut socket).await["value"], 1);
    let event = read_to(&mut events, "}\n\n").await;
    assert!(event.contains("\ndata: {\"type\":\"increment\",\"value\":1,"), "{event}");
    call(&mut socket, "increment", &json!({})).await;
    assert_eq!(next(&mut socket).await["type"], "increment");
    assert_eq!(next(&mut socket).await["type"], "result");
    socket.close(None).await.unwrap();
    assert!(within("the end", socket.next()).await.is_some_and(|end| end.is_ok()));
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_old_ones_go_on() {
    let (old, new) = (Certificate::new(), Certificate::new());
    let (server, folder) = start(&old).await;
    let trusted = [&old, &new];
    let stream = server.connect_tls(&trusted).await.unwrap();
    assert!(old.is_of(&stream));
    let mut socket = open(stream, "/ws/counter/a").await;
    next(&mut socket).await;

    new.install(folder.path());
    server.ask_to_reload();
    server
        .eventually("the new certificate", async |server: &Server| {
            new.is_of(&server.connect_tls(&trusted).await.unwrap())
        })
        .await;

    assert_pong(&mut socket).await;
    assert!(server.connect_tls(&[&old]).await.is_err(), "the old one is not shown any more");
}

#[tokio::test]
async fn a_file_that_changed_is_noticed_without_a_word() {
    let (old, new) = (Certificate::new(), Certificate::new());
    let (server, folder) = start(&old).await;

    new.install(folder.path());

    server
        .eventually("the new certificate", async |server: &Server| {
            new.is_of(&server.connect_tls(&[&old, &new]).await.unwrap())
        })
        .await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_leaves_the_one_before_in_force() {
    let certificate = Certificate::new();
    let (server, folder) = start(&certificate).await;

    std::fs::write(folder.path().join("key.pem"), Certificate::new().key_pem()).unwrap();
    server.ask_to_reload();
    server
        .eventually("the failure to be logged", async |server: &Server| {
            server.log().contains("the one before stays")
        })
        .await;

    let stream = server.connect_tls(&[&certificate]).await.unwrap();
    assert!(certificate.is_of(&stream));
}

#[tokio::test]
async fn what_is_wrong_with_certificate_or_key_is_said_at_start() {
    let certificate = Certificate::new();
    let folder = TempDir::new().unwrap();
    let (path, key) = certificate.install(folder.path());
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let none = write("none.pem", "");
    let other_key = write("other.pem", Certificate::new().key_pem());
    let absent = folder.path().join("absent.pem");

    for (certificate, key, said) in [
        (Some(&path), None, "`tls_certificate` is set and `tls_key` is not"),
        (None, Some(&key), "`tls_key` is set and `tls_certificate` is not"),
        (Some(&absent), Some(&key), "cannot read the certificate from "),
        (Some(&none), Some(&key), "there is no certificate in "),
        (Some(&path), Some(&absent), "cannot read the private key from "),
        (Some(&path), Some(&none), "cannot read the private key from "),
        (Some(&path), Some(&other_key), "cannot be used with the key in "),
    ] {
        let mut builder = Server::builder();
        if let Some(path) = certificate {
            builder = builder.flag("--tls-certificate", path);
        }
        if let Some(path) = key {
            builder = builder.flag("--tls-key", path);
        }
        let finished = builder.refuse().await;

        assert!(finished.stderr.contains(said), "{said}: {}", finished.stderr);
        assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    }
}

#[tokio::test]
async fn who_does_not_speak_tls_is_hung_up_on_and_hurts_nobody() {
    let certificate = Certificate::new();
    let (server, _folder) = start(&certificate).await;
    let mut silent = TcpStream::connect(server.address()).await.unwrap();
    let mut plain = TcpStream::connect(server.address()).await.unwrap();

    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // An alert, or a reset because there was more to read.
    _ = within("the end", plain.read_to_end(&mut answer)).await;

    assert!(!answer.starts_with(b"HTTP"));
    let mut stream = server.connect_tls(&[&certificate]).await.unwrap();
    exchange(&mut stream, &Request::get("/healthz"), "}").await;
    _ = within("the end of a handshake without words", silent.read_to_end(&mut answer)).await;
}

#[tokio::test]
async fn a_reader_that_sleeps_misses_nothing() {
    const UPDATES: u64 = 60;
    let certificate = Certificate::new();
    let (server, _folder) = start(&certificate).await;
    let connect = async || server.connect_tls(&[&certificate]).await.unwrap();
    let mut slow = open(connect().await, "/ws/note/n").await;
    let mut quick = open(connect().await, "/ws/note/n").await;
    call(&mut quick, "create", &json!({"title": "T"})).await;
    assert_eq!(next(&mut quick).await["type"], "create");
    assert_eq!(next(&mut quick).await["type"], "result");
    let blob = "x".repeat(200_000);

    for offset in 2..=UPDATES {
        call(&mut quick, "update", &json!({"blob": blob})).await;
        assert_eq!(next(&mut quick).await["offset"], offset);
        assert_eq!(next(&mut quick).await["type"], "result");
    }

    let first = next(&mut slow).await;
    let first = first["offset"].as_u64().expect("it has seen an event of the log, or its snapshot");
    assert_eq!(first, 1);
    for offset in 2..=UPDATES {
        assert_eq!(next(&mut slow).await["offset"], offset);
    }
}

#[tokio::test]
async fn sockets_are_told_to_come_back_when_the_server_stops() {
    let certificate = Certificate::new();
    let (mut server, _folder) = start(&certificate).await;
    let mut socket =
        open(server.connect_tls(&[&certificate]).await.unwrap(), "/ws/counter/a").await;
    next(&mut socket).await;

    server.ask_to_end();
    let closed = within("the close", socket.next()).await;

    match closed {
        Some(Ok(Message::Close(Some(frame)))) => assert_eq!(u16::from(frame.code), 1012),
        other => panic!("{other:?} instead of a close"),
    }
    assert!(within("the end", socket.next()).await.is_none());
    assert_eq!(server.ended().await, Some(0), "{}", server.log());
}
