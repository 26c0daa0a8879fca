//! Keys: of every algorithm, from files and sets, exchanged while the server runs.

use e2e::{Certificate, Folder, KeyServer, Request, Server, Signer};
use serde_json::json;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER_SECRET: &str = "fedcba9876543210fedcba9876543210";

/// One `[[auth.key]]`.
fn key(id: &str, algorithm: &str, source: &str, place: &str) -> String {
    format!("[[auth.key]]\nid = {id:?}\nalgorithm = {algorithm:?}\n{source} = {place:?}\n")
}

async fn start(folder: &Folder, settings: &str) -> Server {
    let settings = folder.write("settings.toml", settings);
    Server::builder().flag("--config", settings).start().await
}

/// The status of a handshake with a token of this signer.
async fn status(server: &Server, signer: &Signer) -> u16 {
    let token = signer.token_of("alice", &["read"]);
    server.send(&Request::handshake(format!("/ws/counter/a?token={token}"))).await.status
}

#[tokio::test]
async fn every_algorithm_is_spoken_from_files_and_from_sets() {
    let folder = Folder::new();
    let signers = [
        Signer::rs256().named("in-set-1"),
        Signer::es256().named("in-set-2"),
        Signer::eddsa().named("in-set-3"),
    ];
    let in_files = [Signer::rs256(), Signer::es256(), Signer::eddsa(), Signer::hs256(SECRET)];
    let set = json!({"keys": signers.iter().map(Signer::jwk).collect::<Vec<_>>()}).to_string();
    let set = folder.write("keys.json", &set);
    let mut settings = String::new();
    for signer in &in_files[..3] {
        let algorithm = signer.algorithm();
        let path = folder.write(&format!("{algorithm}.pem"), &signer.public_key_pem());
        settings += &key(algorithm, algorithm, "public_key_file", &path);
        let id = format!("set of {algorithm}");
        settings += &key(&id, algorithm, "jwks", &set);
    }
    let path = folder.write("secret", &format!("{SECRET}\n"));
    settings += &key("secret", "HS256", "secret_file", &path);

    let server = start(&folder, &settings).await;

    for signer in signers.iter().chain(&in_files) {
        assert_eq!(status(&server, signer).await, 101, "{signer:?}");
    }
    for stranger in [Signer::rs256(), Signer::es256(), Signer::eddsa()] {
        assert_eq!(status(&server, &stranger).await, 401, "{stranger:?}");
    }
}

#[tokio::test]
async fn a_secret_that_was_exchanged_counts_without_a_restart() {
    let folder = Folder::new();
    let secret = folder.write("secret", SECRET);
    let server = start(&folder, &key("k", "HS256", "secret_file", &secret)).await;
    let (old, new) = (Signer::hs256(SECRET), Signer::hs256(OTHER_SECRET));
    let token = old.token_of("alice", &["read"]);
    let mut socket = server.connect(&format!("/ws/counter/a?token={token}")).await;
    socket.next_of("initial").await;

    folder.write("secret", OTHER_SECRET);
    server.ask_to_reload();
    server
        .eventually("the new secret", async |server: &Server| status(server, &new).await == 101)
        .await;

    assert_eq!(status(&server, &old).await, 401);
    socket.ping().await;
}

#[tokio::test]
async fn a_set_in_a_file_is_read_again_when_it_changed() {
    let folder = Folder::new();
    let (old, new) = (Signer::es256().named("old"), Signer::es256().named("new"));
    let set = |signers: &[&Signer]| {
        json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()}).to_string()
    };
    let path = folder.write("keys.json", &set(&[&old]));
    let server = start(&folder, &key("k", "ES256", "jwks", &path)).await;
    assert_eq!((status(&server, &old).await, status(&server, &new).await), (101, 401));

    folder.write("keys.json", &set(&[&old, &new]));
    server
        .eventually("the new key", async |server: &Server| status(server, &new).await == 101)
        .await;

    assert_eq!(status(&server, &old).await, 101, "both are active");
}

#[tokio::test]
async fn a_key_that_cannot_be_used_leaves_the_one_before_in_force() {
    let folder = Folder::new();
    let secret = folder.write("secret", SECRET);
    let server = start(&folder, &key("k", "HS256", "secret_file", &secret)).await;

    folder.write("secret", "short");
    server.ask_to_reload();
    server
        .eventually("the failure to be logged", async |server: &Server| {
            server.log().contains("the one before stays")
        })
        .await;

    assert_eq!(status(&server, &Signer::hs256(SECRET)).await, 101);
}

#[tokio::test]
async fn what_is_wrong_with_a_key_is_said_at_start() {
    let folder = Folder::new();
    let path = |name: &str| folder.path(name);
    folder.write("short", "short");
    folder.write("no.pem", "nothing");
    folder.write("rsa.pem", &Signer::rs256().public_key_pem());
    folder.write(
        "private.pem",
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n",
    );
    folder.write("empty.json", r#"{"keys":[]}"#);

    for (settings, said) in [
        (key("k", "HS256", "secret_file", &path("absent")), "cannot read"),
        (key("k", "HS256", "secret_file", &path("short")), "fewer than 32 bytes"),
        (key("k", "RS256", "public_key_file", &path("no.pem")), "no public key for RS256"),
        (key("k", "ES256", "public_key_file", &path("rsa.pem")), "no public key for ES256"),
        (key("k", "EdDSA", "public_key_file", &path("private.pem")), "private key"),
        (key("k", "EdDSA", "jwks", &path("empty.json")), "none of its keys"),
        (key("k", "EdDSA", "jwks", "http://id.example/keys"), "https://"),
        (key("k", "none", "secret_file", &path("short")), "unknown variant"),
        (key("k", "HS256", "public_key_file", &path("rsa.pem")), "`secret_file`"),
        ("[auth.kinds]\nnote = \"token\"\n".to_owned(), "no key is configured"),
        ("auth = \"open\"\n".to_owned(), "[auth]"),
    ] {
        let file = folder.write("settings.toml", &settings);
        let finished = Server::builder().flag("--config", file).refuse().await;

        assert!(finished.stderr.contains(said), "{said}: {}", finished.stderr);
        assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    }
    let file = folder.write("settings.toml", "[auth.kinds]\nnotes = \"token\"\n");
    let finished =
        Server::builder().env("DORMOUSE_AUTH_SECRET", SECRET).flag("--config", file).refuse().await;
    assert!(finished.stderr.contains("\"notes\", which is no kind"), "{}", finished.stderr);
}

/// A server whose keys are at an address.
async fn start_with(keys: &KeyServer, folder: &Folder) -> Server {
    start(folder, &key("issuer", "ES256", "jwks", keys.url())).await
}

#[tokio::test]
async fn keys_at_an_address_are_there_from_the_start() {
    let folder = Folder::new();
    let signer = Signer::es256().named("one");
    let keys = KeyServer::start(&[&signer]).await;

    let server = start_with(&keys, &folder).await;

    assert_eq!(status(&server, &signer).await, 101);
    assert_eq!(status(&server, &Signer::es256().named("one")).await, 401);
    assert_eq!(keys.requests(), 1, "a wrong signature fetches nothing");
    assert_eq!(server.metric("dormouse_jwks_fetches_total").await, 1.0);
}

#[tokio::test]
async fn an_unknown_key_has_the_set_fetched_once_and_not_again_soon() {
    let folder = Folder::new();
    let (old, new) = (Signer::es256().named("old"), Signer::es256().named("new"));
    let keys = KeyServer::start(&[&old]).await;
    let server = start_with(&keys, &folder).await;
    keys.give(&[&new]);

    assert_eq!(status(&server, &old).await, 101, "it is cached");
    assert_eq!(status(&server, &new).await, 101, "and fetched again for a new one");
    assert_eq!(status(&server, &old).await, 401, "which the old one did not survive");
    for other in 0..20 {
        let stranger = Signer::es256().named(&format!("stranger-{other}"));
        assert_eq!(status(&server, &stranger).await, 401);
    }
    assert_eq!(keys.requests(), 2);
}

#[tokio::test]
async fn an_address_that_fails_leaves_the_keys_from_before_and_is_logged_once() {
    let folder = Folder::new();
    let signer = Signer::es256().named("one");
    let keys = KeyServer::start(&[&signer]).await;
    let server = start_with(&keys, &folder).await;
    let failures = |server: &Server| server.log().matches("keys cannot be fetched").count();

    let nothing = "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n";
    let moved = "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n";
    let no_set = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    for (round, answer) in (1_u32..).zip([nothing, moved, no_set, "no HTTP at all\r\n\r\n"]) {
        keys.answer_with(answer);
        server.ask_to_reload();
        server
            .eventually("the next fetch", async |server: &Server| {
                let failed = server.metrics().await;
                let failed = failed.samples().find(|sample| {
                    sample.name == "dormouse_jwks_fetches_total"
                        && sample.labels == "result=\"failed\""
                });
                failed.is_some_and(|sample| sample.value == f64::from(round))
            })
            .await;
        assert_eq!(status(&server, &signer).await, 101, "{answer}");
    }
    assert_eq!(failures(&server), 1, "{}", server.log());
    keys.give(&[&signer]);
    server.ask_to_reload();
    server
        .eventually("the recovery to be logged", async |server: &Server| {
            server.log().matches("keys fetched").count() == 2
        })
        .await;
}

#[tokio::test]
async fn a_server_starts_without_the_one_that_gives_out_its_keys() {
    let folder = Folder::new();
    let signer = Signer::es256().named("one");
    let keys = KeyServer::start(&[&signer]).await;
    keys.answer_with("");

    let server = start_with(&keys, &folder).await;
    assert_eq!(status(&server, &Signer::es256()).await, 401);
    keys.give(&[&signer]);
    server.ask_to_reload();

    server
        .eventually("the keys", async |server: &Server| status(server, &signer).await == 101)
        .await;
}

#[tokio::test]
async fn a_socket_may_be_renewed_with_a_key_that_has_to_be_fetched() {
    let folder = Folder::new();
    let (old, new) = (Signer::es256().named("old"), Signer::es256().named("new"));
    let keys = KeyServer::start(&[&old]).await;
    let server = start_with(&keys, &folder).await;
    let token = old.token_of("alice", &["read"]);
    let mut socket = server.connect(&format!("/ws/counter/a?token={token}")).await;
    socket.next_of("initial").await;
    keys.give(&[&new]);

    let newer = new.token_of("alice", &["read", "write"]);
    socket.send(&json!({"type": "auth", "token": newer})).await;
    socket.next_of("authorized").await;
    socket.call(1, "increment", json!({})).await;
    socket.next_of("increment").await;
    socket.next_of("result").await;
    let stranger = Signer::es256().named("stranger").token_of("alice", &["read"]);
    socket.send(&json!({"type": "auth", "token": stranger})).await;
    assert_eq!(socket.next_of("error").await["code"], "UNAUTHORIZED");

    assert_eq!(keys.requests(), 2);
}

#[tokio::test]
async fn an_address_must_prove_that_it_is_what_it_says() {
    let folder = Folder::new();
    let signer = Signer::es256().named("one");
    let certificate = Certificate::new();
    let keys = KeyServer::start_tls(&[&signer], &certificate).await;
    let settings = folder.write("settings.toml", &key("issuer", "ES256", "jwks", keys.url()));
    let trusted = folder.write("trusted.pem", certificate.pem());
    let other = folder.write("other.pem", Certificate::new().pem());
    let start = async |trusted: &str| {
        let server = Server::builder().flag("--config", &settings);
        server.env("SSL_CERT_FILE", trusted).start().await
    };

    let trusting = start(&trusted).await;
    let wary = start(&other).await;

    assert_eq!(status(&trusting, &signer).await, 101);
    assert_eq!(status(&wary, &signer).await, 401);
    wary.eventually("the failure to be logged", async |server: &Server| {
        server.log().contains("keys cannot be fetched")
    })
    .await;
}
