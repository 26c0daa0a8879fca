//! Ids can be anything a person or an attacker types: contract section 1.

use e2e::{Request, Server, percent_encode};
use serde_json::json;

/// Ids that are odd and allowed.
const ALLOWED: [&str; 14] = [
    "../../etc/passwd",
    "..",
    ".",
    "/",
    "a/b",
    "🦔",
    " ",
    "%00",
    "a%2Fb",
    "'; DROP TABLE counter; --",
    "C:\\Windows\\System32",
    "<script>alert(1)</script>",
    "a?b#c",
    "con.db-wal",
];

#[tokio::test]
async fn an_odd_id_names_an_object_like_any_other() {
    let server = Server::start().await;

    for id in ALLOWED {
        let mut socket = server.connect(&format!("/ws/counter/{}", percent_encode(id))).await;
        let initial = socket.next_of("initial").await;
        assert_eq!(initial["metadata"]["name"], id);

        let answer = server.mutate("counter.increment", json!({"name": id})).await;

        assert_eq!(answer.data()["metadata"]["name"], id);
        assert_eq!(socket.next_of("increment").await["value"], 1, "{id}");
    }
    let names = server.data().files_around();
    assert!(names.iter().all(|path| path.starts_with(server.data().path())), "{names:?}");
}

#[tokio::test]
async fn file_names_never_contain_anything_of_an_id() {
    let mut server = Server::start().await;
    for id in ["passwd", "../passwd", "pass\\wd"] {
        server.mutate("counter.increment", json!({"name": id})).await.data();
    }

    let files = server.files_once_stopped().await;

    assert!(!files.is_empty());
    for file in files {
        let text = file.to_str().unwrap();
        let stem = file.file_stem().unwrap().to_str().unwrap();
        assert!(!text.contains("pass"), "{text}");
        assert!(stem.len() == 32 && stem.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
    }
}

#[tokio::test]
async fn ids_that_are_not_allowed_are_refused_everywhere_with_a_reason() {
    let mut server = Server::start().await;
    let (too_long, long_emoji) = ("x".repeat(257), "🦔".repeat(257));
    let refused = ["", "\0", "a\nb", "\u{7f}", "\u{85}", &too_long, &long_emoji];

    for id in refused {
        let called = server.mutate("counter.increment", json!({"name": id})).await.error();
        let target = format!("/ws/counter/{}", percent_encode(id));
        let shaken = server.send(&Request::handshake(&*target)).await;
        let fetched = server.get(&target).await;

        assert_eq!(called.code, "BAD_REQUEST", "{id:?}");
        assert!(called.message.contains("id"), "{called:?}");
        assert_eq!((shaken.status, fetched.status), (400, 400), "{id:?}: {shaken:?}");
        assert!(shaken.json()["error"]["message"].is_string());
    }
    assert_eq!(server.files_once_stopped().await, Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn an_id_has_at_most_256_characters_however_many_bytes_they_take() {
    let server = Server::start().await;

    for id in ["x".repeat(256), "🦔".repeat(256)] {
        let mut socket = server.connect(&format!("/ws/counter/{}", percent_encode(&id))).await;
        assert_eq!(socket.next_of("initial").await["metadata"]["name"], id);
        assert_eq!(
            server.mutate("counter.increment", json!({"name": id})).await.data()["value"],
            1
        );
    }
}

#[tokio::test]
async fn an_id_of_ten_kilobytes_is_refused_and_the_server_serves_on() {
    let server = Server::start().await;
    let id = "x".repeat(10 * 1024);

    let called = server.mutate("counter.increment", json!({"name": id})).await;
    let queried = server.query("counter.getValue", json!({"name": id})).await;
    let shaken = server.send(&Request::handshake(format!("/ws/counter/{id}"))).await;

    assert_eq!((called.code(), queried.code()), ("BAD_REQUEST".into(), "BAD_REQUEST".into()));
    assert_eq!(shaken.status, 400);
    assert!(server.query("counter.getValue", json!({"name": "a"})).await.is_data());
}

#[tokio::test]
async fn an_id_that_is_not_utf_8_is_a_bad_request() {
    let server = Server::start().await;

    for target in ["/ws/counter/%FF", "/ws/counter/%C3%28", "/ws/counter/a%ED%A0%80"] {
        let shaken = server.send(&Request::handshake(target)).await;
        assert_eq!(shaken.status, 400, "{target}: {shaken:?}");
    }
}

#[tokio::test]
async fn a_percent_sign_that_encodes_nothing_does_no_harm() {
    let server = Server::start().await;

    for target in ["/ws/counter/%", "/ws/counter/%zz", "/ws/counter/%4"] {
        let shaken = server.send(&Request::handshake(target)).await;
        assert!(matches!(shaken.status, 101 | 400), "{target}: {shaken:?}");
    }
}

#[tokio::test]
async fn an_address_with_more_parts_than_an_object_has_is_not_found() {
    let server = Server::start().await;

    for target in ["/ws/counter/a/b", "/ws/counter/../../etc/passwd", "/ws//a", "/ws/counter/a/"] {
        let shaken = server.send(&Request::handshake(target)).await;
        assert!(matches!(shaken.status, 400 | 404), "{target}: {shaken:?}");
    }
}

#[tokio::test]
async fn two_spellings_of_one_id_are_one_object_and_two_ids_are_two() {
    let server = Server::start().await;
    server.mutate("counter.increment", json!({"name": "a b"})).await.data();

    let mut spaced = server.connect("/ws/counter/a%20b").await;
    let mut spelled_out = server.connect("/ws/counter/%61%20%62").await;
    let mut plus = server.connect("/ws/counter/a+b").await;
    let mut upper = server.connect("/ws/counter/A%20B").await;

    assert_eq!(spaced.next_of("initial").await["value"], 1);
    assert_eq!(spelled_out.next_of("initial").await["value"], 1);
    assert_eq!(plus.next_of("initial").await["metadata"]["name"], "a+b");
    assert_eq!(upper.next_of("initial").await["value"], 0);
}
