//! From HTTP to WebSocket, through the upgrade service of `actix_http`.

use std::rc::Rc;
use std::time::Duration;

use actix_codec::Framed;
use actix_http::body::BoxBody;
use actix_http::{HttpService, Protocol, Request, Response, StatusCode, h1};
use actix_service::{Service as _, ServiceFactory as _, fn_service};
use dormouse_socket::{
    Accept, Batch, CloseCause, Connection, EventMask, Handshake, Hub, HubConfig, HubHandle,
    HubIndex, OriginRules, Owner, SocketCx, SocketId, ToHub, TopicId, hub_channel, refuse,
    switch_protocols, text_frame,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::client::{Client, TEXT, masked_frame};

/// A request as a browser sends it, without the empty line at its end.
const REQUEST: &str = "GET /ws/counter/a HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nOrigin: http://localhost:3014\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: dormouse, bearer.abc\r\n";

const TOPIC: TopicId = TopicId(1);

/// How the owner greets a new socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Greeting {
    /// It says from the start that it does not.
    None,
    /// With this event.
    Text(&'static str),
    /// It would, but is busy with something else.
    Late,
}

/// Greets, and sends every message back.
struct Echo {
    hub: HubHandle,
    greeting: Greeting,
}

impl Owner for Echo {
    type Session = ();

    fn opened(&self, socket: SocketId, _session: &mut ()) {
        if let Greeting::Text(text) = self.greeting {
            let (direct, batch) = (Some(text_frame(text)), Batch::empty());
            self.hub.send(ToHub::Attach {
                socket,
                topic: TOPIC,
                direct,
                batch,
                offset: 0,
                tail: true,
            });
        }
    }

    fn message(&self, socket: &mut SocketCx<'_, ()>, text: &str) {
        socket.send(text_frame(text));
    }

    fn refill(&self, _socket: SocketId, _session: &(), _topic: TopicId, _after: u64) {}

    fn closed(&self, _socket: SocketId, _session: (), _cause: CloseCause) {}
}

/// Serves one connection the way a server does, and gives the client's end of it.
async fn connect() -> TcpStream {
    connect_to(Greeting::None, HubConfig::default()).await
}

async fn connect_to(greeting: Greeting, config: HubConfig) -> TcpStream {
    let (handle, inbox) = hub_channel(HubIndex(0));
    let hub = Hub::start(inbox, config, Echo { hub: handle, greeting });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();

    actix_rt::spawn(async move {
        let service = HttpService::build()
            .client_request_timeout(Duration::from_secs(2))
            .upgrade(fn_service(move |(request, framed)| {
                let hub = Rc::clone(&hub);
                async move {
                    // An error is what the client made of its connection; its side is what counts.
                    _ = upgrade(&hub, greeting != Greeting::None, request, framed).await;
                    Ok::<_, actix_http::Error>(())
                }
            }))
            .finish(fn_service(|_| async {
                Ok::<_, actix_http::Error>(Response::<BoxBody>::not_found())
            }));
        let service = service.new_service(()).await.expect("the service starts");
        let (stream, _) = listener.accept().await.unwrap();
        _ = service.call((Connection::new(stream), Protocol::Http1, None)).await;
    });

    TcpStream::connect(address).await.unwrap()
}

async fn upgrade(
    hub: &Hub<Echo>,
    greeted: bool,
    request: Request,
    framed: Framed<Connection, h1::Codec>,
) -> std::io::Result<()> {
    let origin = OriginRules::loopback().check(request.head());
    let handshake = Handshake::check(request.head());
    let (status, sentence) = match (&origin, &handshake) {
        (Err(err), _) => (err.status(), err.to_string()),
        (_, Err(err)) => (err.status(), err.to_string()),
        (Ok(()), Ok(handshake)) => {
            let subprotocol = handshake.subprotocols().find(|name| *name == "dormouse");
            let upgraded = switch_protocols(framed, handshake, subprotocol, handshake.deflate())?;
            let (topic, filter) = (TOPIC, EventMask::ALL);
            hub.accept(
                upgraded,
                Accept {
                    topic,
                    filter,
                    from: 0,
                    binary: false,
                    watches: false,
                    greeted,
                    session: (),
                },
            );
            return Ok(());
        }
    };
    let mut answer = Response::build(status);
    for header in handshake.err().map_or(&[][..], |err| err.headers()) {
        answer.insert_header(*header);
    }
    refuse(framed, answer.body(sentence).map_into_boxed_body()).await
}

/// Reads the head of an answer.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("the head is complete"));
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

/// Sends a request and reads everything until the server hangs up.
async fn ask(request: &str) -> String {
    let mut stream = connect().await;
    stream.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[actix_rt::test]
async fn a_browser_is_switched_over_and_its_first_message_may_come_with_the_request() {
    let mut stream = connect().await;
    let mut bytes = format!("{REQUEST}\r\n").into_bytes();
    bytes.extend_from_slice(&masked_frame(TEXT, b"early"));

    stream.write_all(&bytes).await.unwrap();

    let head = read_head(&mut stream).await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
    assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
    assert!(head.contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
    assert!(head.contains("\r\nsec-websocket-protocol: dormouse\r\n"), "{head}");
    let mut client = Client::new(stream);
    assert_eq!(client.receive_text().await, "early");
    client.send_text("late").await;
    assert_eq!(client.receive_text().await, "late");
}

#[actix_rt::test]
async fn a_greeting_comes_in_one_piece_with_the_end_of_the_handshake() {
    let mut stream = connect_to(Greeting::Text("welcome"), HubConfig::default()).await;
    stream.write_all(format!("{REQUEST}\r\n").as_bytes()).await.unwrap();

    let mut bytes = [0; 1024];
    let read = stream.read(&mut bytes).await.unwrap();

    assert!(bytes.starts_with(b"HTTP/1.1 101 "));
    assert!(bytes[..read].ends_with(b"welcome"), "{:?}", bytes[..read].escape_ascii());
}

#[actix_rt::test]
async fn a_handshake_ends_although_nobody_has_time_to_greet() {
    let config = HubConfig { heartbeat: Duration::from_secs(1), ..HubConfig::default() };
    let mut stream = connect_to(Greeting::Late, config).await;
    stream.write_all(format!("{REQUEST}\r\n").as_bytes()).await.unwrap();

    let head = timeout(Duration::from_secs(30), read_head(&mut stream)).await.unwrap();

    assert!(head.starts_with("http/1.1 101 "), "{head}");
}

#[actix_rt::test]
async fn another_version_is_told_which_one_is_spoken() {
    let answer = ask(&REQUEST.replace("Version: 13", "Version: 8")).await;

    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(answer.contains("\r\nsec-websocket-version: 13\r\n"), "{answer}");
    assert!(answer.contains("\r\nupgrade: websocket\r\n"), "{answer}");
    assert!(answer.ends_with("no other version is spoken here"), "{answer}");
}

#[actix_rt::test]
async fn a_foreign_page_is_refused_before_its_handshake_is_judged() {
    let answer = ask(&REQUEST.replace("http://localhost:3014", "https://evil.example")).await;

    assert!(
        answer.starts_with(&format!("HTTP/1.1 {} ", StatusCode::FORBIDDEN.as_u16())),
        "{answer}"
    );
    assert!(answer.contains("pages of https://evil.example may not use this server"), "{answer}");
    assert!(!answer.contains("sec-websocket-accept"), "{answer}");
}

#[actix_rt::test]
async fn a_key_that_is_none_is_refused() {
    let answer = ask(&REQUEST.replace("dGhlIHNhbXBsZSBub25jZQ==", "short")).await;

    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[actix_rt::test]
async fn half_a_handshake_gets_no_socket_and_is_cut_off() {
    let mut stream = connect().await;

    stream.write_all(&REQUEST.as_bytes()[..REQUEST.len() / 2]).await.unwrap();

    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}
