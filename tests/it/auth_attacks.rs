//! Tokens that must not count, whoever made them and however they are sent.

use e2e::{Folder, Request, Response, Server, Signer, in_seconds};
use serde_json::{Value, json};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

const INVALID: Option<&str> = Some("Bearer error=\"invalid_token\"");

/// A server with an RSA key named `rsa` and a secret named `secret`.
struct Target {
    server: Server,
    rsa: Signer,
    _folder: Folder,
}

impl Target {
    async fn start() -> Target {
        let folder = Folder::new();
        let rsa = Signer::rs256().named("rsa");
        let public = folder.write("public.pem", &rsa.public_key_pem());
        let secret = folder.write("secret", SECRET);
        let settings = format!(
            "[[auth.key]]\nid = \"rsa\"\nalgorithm = \"RS256\"\npublic_key_file = {public:?}\n\
             [[auth.key]]\nid = \"secret\"\nalgorithm = \"HS256\"\nsecret_file = {secret:?}\n",
        );
        let settings = folder.write("settings.toml", &settings);
        let server = Server::builder().flag("--config", settings).start().await;
        Target { server, rsa, _folder: folder }
    }

    async fn shake(&self, token: &str) -> Response {
        let request = Request::handshake("/ws/counter/a");
        let request = request.header("Authorization", &format!("Bearer {token}"));
        self.server.send(&request).await
    }

    /// Asserts that a token opens nothing, whichever way it is sent, and says why not.
    async fn assert_refused(&self, token: &str, claim: &str) {
        let call = Request::post_json("/rpc/counter.increment", r#"{"name":"a"}"#)
            .header("Authorization", &format!("Bearer {token}"));
        for response in [self.shake(token).await, self.server.send(&call).await] {
            assert_eq!(response.status, 401, "{claim}: {response:?}");
            assert_eq!(response.header("www-authenticate"), INVALID, "{claim}: {response:?}");
            let body = response.text();
            assert!(body.contains("UNAUTHORIZED"), "{claim}: {body}");
            assert!(token.len() < 20 || !body.contains(token), "{claim}: {body}");
        }
    }
}

fn secret() -> Signer {
    Signer::hs256(SECRET)
}

fn claims() -> Value {
    json!({"sub": "mallory", "permissions": ["read", "write"], "exp": in_seconds(600)})
}

#[tokio::test]
async fn the_right_tokens_are_taken() {
    let target = Target::start().await;

    for signer in [&target.rsa, &secret(), &secret().named("secret")] {
        let token = signer.token_of("alice", &["read"]);
        assert_eq!(target.shake(&token).await.status, 101);
    }
}

#[tokio::test]
async fn a_token_of_another_time_is_refused() {
    let target = Target::start().await;

    for (claim, changed) in [
        ("it expired", json!({"exp": in_seconds(-60)})),
        ("it expired long ago", json!({"exp": 0})),
        ("it begins later", json!({"nbf": in_seconds(60)})),
        ("it never expires", json!({"exp": null})),
    ] {
        target.assert_refused(&secret().token(changed), claim).await;
    }
}

#[tokio::test]
async fn a_token_of_another_key_is_refused() {
    let target = Target::start().await;

    for other in [
        Signer::hs256("another secret of thirty-two bytes."),
        Signer::hs256(""),
        Signer::rs256(),
        Signer::rs256().named("rsa"),
        Signer::es256(),
        Signer::es256().named("rsa"),
        Signer::eddsa().named("secret"),
    ] {
        target.assert_refused(&other.token_of("alice", &["read"]), other.algorithm()).await;
    }
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused() {
    let target = Target::start().await;
    let claims = claims().to_string();

    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let signed = secret().sign(&json!({"alg": alg}), &claims);
        let stripped = signed.rsplit_once('.').unwrap().0;
        target.assert_refused(&format!("{stripped}."), &format!("{alg:?} with nothing")).await;
        target.assert_refused(stripped, &format!("{alg:?} with two parts")).await;
        target.assert_refused(&signed, &format!("{alg:?} with a signature")).await;
    }
    for header in [json!({"alg": "HS256"}), json!({"alg": "RS256"})] {
        let signed = secret().sign(&header, &claims);
        let stripped = signed.rsplit_once('.').unwrap().0;
        target.assert_refused(&format!("{stripped}."), "its signature was taken away").await;
    }
}

#[tokio::test]
async fn the_public_key_is_not_a_secret() {
    let target = Target::start().await;
    let pem = target.rsa.public_key_pem();
    let claims = claims().to_string();

    for text in [pem.as_str(), pem.trim_end(), &pem.replace('\n', "\r\n")] {
        let forger = Signer::hs256(text);
        for header in [
            json!({"alg": "HS256"}),
            json!({"alg": "HS256", "kid": "rsa"}),
            json!({"alg": "RS256", "kid": "rsa"}),
            json!({"alg": "HS256", "kid": "secret"}),
        ] {
            target.assert_refused(&forger.sign(&header, &claims), &header.to_string()).await;
        }
    }
}

#[tokio::test]
async fn the_key_decides_on_the_algorithm() {
    let target = Target::start().await;
    let claims = claims().to_string();

    for alg in ["hs256", "HS384", "HS512", "RS256", "PS256", "HS256 "] {
        let token = secret().sign(&json!({"alg": alg, "kid": "secret"}), &claims);
        target.assert_refused(&token, alg).await;
    }
    for alg in ["RS384", "PS256", "HS256", "ES256"] {
        let token = target.rsa.sign(&json!({"alg": alg, "kid": "rsa"}), &claims);
        target.assert_refused(&token, alg).await;
    }
}

#[tokio::test]
async fn a_key_id_finds_a_key_and_nothing_else() {
    let target = Target::start().await;
    let claims = claims().to_string();

    for kid in [
        json!("../../../../etc/passwd"),
        json!("/dev/null"),
        json!("secret\u{0}"),
        json!("' OR 1=1 --"),
        json!("'; DROP TABLE keys; --"),
        json!("https://evil.example/jwks.json"),
        json!(""),
        json!("x".repeat(4000)),
        json!(7),
        json!(["secret"]),
        json!({"id": "secret"}),
    ] {
        let empty = Signer::hs256("");
        let header = json!({"alg": "HS256", "kid": kid});
        target.assert_refused(&secret().sign(&header, &claims), &kid.to_string()).await;
        target.assert_refused(&empty.sign(&header, &claims), &kid.to_string()).await;
    }
}

#[tokio::test]
async fn keys_that_a_token_brings_along_mean_nothing() {
    let target = Target::start().await;
    let (claims, forger) = (claims().to_string(), Signer::rs256().named("rsa"));

    for (field, value) in [
        ("jwk", forger.jwk()),
        ("jku", json!("http://127.0.0.1:1/jwks.json")),
        ("x5u", json!("http://127.0.0.1:1/certificate.pem")),
        ("x5c", json!(["MIIB"])),
    ] {
        let mut header = forger.header();
        header[field] = value;
        target.assert_refused(&forger.sign(&header, &claims), field).await;
    }
}

#[tokio::test]
async fn claims_of_other_types_are_refused() {
    let target = Target::start().await;

    for changed in [
        json!({"sub": null}),
        json!({"sub": 7}),
        json!({"sub": ""}),
        json!({"sub": "a\u{7}"}),
        json!({"sub": "x".repeat(257)}),
        json!({"exp": "tomorrow"}),
        json!({"permissions": "read write"}),
        json!({"permissions": {"read": true}}),
        json!({"permissions": vec!["p"; 65]}),
        json!({"objects": "counter/*"}),
        json!({"objects": ["../*/x"]}),
        json!({"avatar": "javascript:alert(1)"}),
        json!({"username": "x".repeat(257)}),
    ] {
        target.assert_refused(&secret().token(changed.clone()), &changed.to_string()).await;
    }
    for text in [
        r#"{"sub":"a","exp":99999999999,"sub":"b"}"#,
        r#"{"sub":"a","exp":1,"exp":99999999999}"#,
        r#"["sub","a"]"#,
        "null",
        "",
        "{",
    ] {
        target.assert_refused(&secret().sign(&secret().header(), text), text).await;
    }
    let twice = secret().token(json!({"x": 1}));
    assert_eq!(target.shake(&twice).await.status, 403, "unknown claims are fine; it may not read");
}

#[tokio::test]
async fn extensions_that_are_not_understood_are_refused() {
    let target = Target::start().await;
    let header = json!({"alg": "HS256", "crit": ["b64"], "b64": false});

    target.assert_refused(&secret().sign(&header, &claims().to_string()), "crit").await;
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let target = Target::start().await;
    let token = secret().token_of("alice", &["read"]);

    for wrong in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "a.b.c.d",
        &format!("{token}."),
        &format!(".{token}"),
        &format!("{token}.{token}"),
        &format!("{token}=="),
        &token.replace('.', " "),
        "e30.e30.",
        "e30.e30.e30",
        "%00.%00.%00",
    ] {
        target.assert_refused(wrong, wrong).await;
    }
    let huge = secret().token(json!({"padding": "x".repeat(10_000)}));
    target.assert_refused(&huge, "10 kB").await;
    target.assert_refused(&"x".repeat(60_000), "60 kB").await;
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused() {
    let target = Target::start().await;
    let token = secret().token_of("alice", &["read"]);

    let mut connection = target.server.connection().await;
    let request = Request::get("/ws/counter/a").header("Authorization", "Bearer XX");
    let mut bytes = request.to_bytes(target.server.address());
    let at = bytes.windows(2).position(|pair| pair == b"XX").unwrap();
    bytes.splice(at..at + 2, [0xff, 0xfe]);
    connection.write(&bytes).await.unwrap();
    assert_eq!(connection.read().await.unwrap().status, 401);

    let broken = Request::get(format!("/ws/counter/a?token={token}%FF"));
    assert_eq!(target.server.send(&broken).await.status, 401);
}

#[tokio::test]
async fn two_tokens_are_none() {
    let target = Target::start().await;
    let token = secret().token_of("alice", &["read"]);
    let bearer = format!("Bearer {token}");

    for request in [
        Request::get("/ws/counter/a")
            .header("Authorization", &bearer)
            .header("Authorization", &bearer),
        Request::get(format!("/ws/counter/a?token={token}&token={token}")),
    ] {
        assert_eq!(target.server.send(&request).await.status, 401);
    }
}

#[tokio::test]
async fn another_scheme_is_no_token() {
    let target = Target::start().await;

    let request = Request::get("/ws/counter/a").header("Authorization", "Basic YWxpY2U6c2VjcmV0");
    let response = target.server.send(&request).await;

    assert_eq!(response.status, 401);
    assert_eq!(response.header("www-authenticate"), Some("Bearer"), "there is no token");
}

#[tokio::test]
async fn no_token_reaches_the_log() {
    let mut server =
        Server::builder().env("DORMOUSE_AUTH_SECRET", SECRET).flag("--log", "trace").start().await;
    let good = secret().token_of("alice", &["read", "write"]);
    let bad = Signer::rs256().token_of("alice", &["read"]);

    for token in [&good, &bad] {
        server.get(&format!("/ws/counter/a?token={token}")).await;
        server.get(&format!("/nowhere?token={token}")).await;
        server.get(&format!("/rpc/note.list?token={token}")).await;
        let in_protocol = Request::handshake("/ws/counter/a")
            .header("Sec-WebSocket-Protocol", &format!("dormouse, bearer.{token}"));
        server.send(&in_protocol).await;
        let in_header = Request::handshake(format!("/ws/counter/a?token={token}"))
            .header("Authorization", &format!("Bearer {token}"));
        server.send(&in_header).await;
    }
    let mut socket = server.connect(&format!("/ws/counter/a?token={good}")).await;
    for token in [&good, &bad] {
        socket.send(&json!({"type": "auth", "token": token})).await;
        socket.send(&json!({"type": "auth", "token": token, "more": 1})).await;
    }
    socket.send(&json!({"type": "ping"})).await;
    while socket.next().await["type"] != "pong" {}
    server.terminate().await;

    let log = server.log();
    assert!(log.len() > 1000, "it says a lot: {log}");
    for token in [&good, &bad] {
        for part in token.split('.') {
            assert!(!log.contains(part), "a part of a token is in the log");
        }
    }
    assert!(!log.contains(SECRET));
}
