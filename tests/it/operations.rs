//! What the people who run a server see: health, metrics, the page, the echo, `dormouse objects`.

use std::collections::BTreeSet;
use std::ffi::OsString;

use e2e::{DataFolder, Finished, Process, Request, Server, dormouse_program};
use serde_json::{Value, json};

/// Runs `dormouse objects` on a data folder.
async fn objects(data: &DataFolder, args: &[&str]) -> Finished {
    let mut all: Vec<OsString> = vec!["objects".into()];
    all.extend(args.iter().map(OsString::from));
    all.extend(["--data".into(), data.path().into_os_string()]);
    Process::run(&dormouse_program(), &all, &[]).await
}

/// The JSON lines of a command that succeeded.
fn lines(finished: &Finished) -> Vec<Value> {
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect()
}

/// The names in a list of objects.
fn names(objects: &[Value]) -> BTreeSet<String> {
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    objects
        .iter()
        .map(|object| format!("{}/{}", text(&object["kind"]), text(&object["id"])))
        .collect()
}

/// A server with two counters and a note.
async fn furnished() -> Server {
    let server = Server::start().await;
    server.mutate("counter.increment", json!({"name": "a"})).await.data();
    server.mutate("counter.increment", json!({"name": "b/🦔"})).await.data();
    server.mutate("note.create", json!({"id": "n", "title": "T"})).await.data();
    server
}

#[tokio::test]
async fn health_says_what_an_answer_promises() {
    let server = Server::start().await;

    let health = server.get("/healthz").await;
    let readiness = server.get("/readyz").await;

    assert_eq!((health.status, &health.json()["durability"]), (200, &json!("fsync")));
    assert!(health.json()["version"].is_string());
    assert_eq!(readiness.status, 200);
}

#[tokio::test]
async fn metrics_are_described_and_name_no_object() {
    let server = furnished().await;
    let mut socket = server.connect("/ws/counter/a").await;
    socket.next_of("initial").await;

    let response = server.get("/metrics").await;
    let metrics = server.metrics().await;

    assert!(response.header("content-type").unwrap().starts_with("text/plain"), "{response:?}");
    for (name, value) in [
        ("dormouse_objects_resident", 3.0),
        ("dormouse_sockets_open", 1.0),
        ("dormouse_object_wakes_total", 3.0),
        ("dormouse_hibernations_total", 0.0),
    ] {
        assert_eq!(metrics.get(name), Some(value), "{name}");
        assert!(metrics.is_described(name), "{name}");
    }
    assert!(metrics.get("dormouse_handlers_total").unwrap() >= 4.0);
    for sample in metrics.samples() {
        assert!(sample.name.starts_with("dormouse_"), "{sample:?}");
        for id in ["\"a\"", "🦔", "\"n\""] {
            assert!(!sample.labels.contains(id), "{sample:?}");
        }
    }
}

#[tokio::test]
async fn the_journal_says_how_it_groups_transactions_and_how_long_a_sync_takes() {
    let server = Server::start().await;
    let before = server.metrics().await;
    for _ in 0..20 {
        server.mutate("counter.increment", json!({"name": "a"})).await.data();
    }

    let after = server.metrics().await;

    let grown = |name: &str| after.get(name).unwrap() - before.get(name).unwrap();
    for histogram in [
        "dormouse_journal_batch_transactions",
        "dormouse_journal_batch_bytes",
        "dormouse_journal_sync_seconds",
    ] {
        assert!(after.is_described(histogram), "{histogram}");
        let count = grown(&format!("{histogram}_count"));
        assert!(count >= 20.0, "each answer waited for a sync: {histogram} {count}");
        assert!(grown(&format!("{histogram}_sum")) > 0.0, "{histogram}");
        let bucket = format!("{histogram}_bucket");
        let buckets: Vec<f64> = after
            .samples()
            .filter(|sample| sample.name == bucket)
            .map(|sample| sample.value)
            .collect();
        assert!(buckets.len() > 5 && buckets.is_sorted(), "{histogram}: {buckets:?}");
        assert_eq!(buckets.last().copied(), after.get(&format!("{histogram}_count")));
    }
    let transactions = grown("dormouse_journal_batch_transactions_sum");
    assert_eq!(grown("dormouse_journal_appended_position"), transactions);
    assert_eq!(grown("dormouse_journal_durable_position"), transactions);
    assert!(after.is_described("dormouse_journal_checkpointed_position"));
}

#[tokio::test]
async fn the_page_is_inside_the_binary_and_loads_nothing_from_elsewhere() {
    let server = Server::start().await;

    let page = server.get("/").await;

    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    let text = page.text();
    assert!(text.contains("<!doctype html>") || text.contains("<!DOCTYPE html>"));
    for attribute in ["src=\"", "href=\""] {
        for reference in text.split(attribute).skip(1) {
            let target = reference.split('"').next().unwrap();
            let is_elsewhere =
                ["http:", "https:", "//"].iter().any(|start| target.starts_with(start));
            assert!(!is_elsewhere, "{target}");
            if target.starts_with('/') && target.len() > 1 {
                assert_eq!(server.get(target).await.status, 200, "{target}");
            }
        }
    }
}

#[tokio::test]
async fn there_is_no_echo_unless_it_is_asked_for() {
    let without = Server::start().await;
    let with = Server::builder().switch("--echo").start().await;

    assert_eq!(without.get("/echo").await.status, 404);
    assert_eq!(without.send(&Request::handshake("/echo")).await.status, 404);
    let mut echo = with.connect("/echo").await;
    for text in ["\"\"", "{\"type\":\"ping\"}", "\"🦔\""] {
        echo.send_text(text).await;
        assert_eq!(echo.next().await.to_string(), text);
    }
    let mut raw = with.connect_raw("/echo").await;
    raw.send(&e2e::ClientFrame::new(e2e::Opcode::BINARY, [0, 255, 128])).await;
    let frame = raw.next().await.unwrap();
    assert_eq!((frame.opcode, &frame.payload[..]), (e2e::Opcode::BINARY, &[0, 255, 128][..]));
}

#[tokio::test]
async fn addresses_that_come_later_are_not_found_in_json() {
    let server = Server::start().await;

    for address in [
        "/nowhere",
        "/api/auth/me",
        "/api/users",
        "/api/messages",
        "/api/files/tree",
        "/ws",
        "/%ff",
        "/..%2f..%2fetc/passwd",
    ] {
        let response = server.get(address).await;
        assert_eq!(response.status, 404, "{address}");
        let error = response.json()["error"].clone();
        assert!(error["code"].is_string() && error["message"].is_string(), "{address}: {error}");
    }
}

#[tokio::test]
async fn the_documents_describe_every_kind_and_pages_of_this_machine_may_read_them() {
    let server = Server::start().await;
    let read = async |path: &str| {
        let request = Request::get(path).header("Origin", "http://localhost:3014");
        let response = server.send(&request).await;
        assert_eq!(
            (response.status, response.header("content-type")),
            (200, Some("application/json"))
        );
        assert_eq!(response.header("access-control-allow-origin"), Some("http://localhost:3014"));
        response.json()
    };

    let openapi = read("/openapi.json").await;
    let asyncapi = read("/asyncapi.json").await;

    for path in
        ["/rpc/counter.increment", "/rpc/note.events", "/api/v1/listNotes", "/sse/note/{id}"]
    {
        assert!(openapi["paths"][path].is_object(), "{path}");
    }
    assert_eq!(asyncapi["channels"]["counter"]["address"], "/ws/counter/{id}");
    assert_eq!(asyncapi["channels"]["note.stream"]["address"], "/sse/note/{id}");
}

#[tokio::test]
async fn objects_are_listed_beside_a_running_server() {
    let server = furnished().await;
    let mut socket = server.connect("/ws/counter/a").await;
    socket.next_of("initial").await;

    let all = lines(&objects(server.data(), &["list", "--json"]).await);
    let counters = lines(&objects(server.data(), &["list", "--kind", "counter", "--json"]).await);
    let shown = lines(&objects(server.data(), &["show", "counter/a", "--json"]).await);

    assert_eq!(names(&all), ["counter/a", "counter/b/🦔", "note/n"].map(str::to_owned).into());
    assert_eq!(names(&counters), ["counter/a", "counter/b/🦔"].map(str::to_owned).into());
    assert_eq!(shown.len(), 1);
    assert_eq!((&shown[0]["resident"], &shown[0]["sockets"]), (&json!(true), &json!(1)));
    assert!(shown[0]["createdAt"].is_string() && shown[0]["epoch"].is_string(), "{}", shown[0]);
    assert!(server.mutate("counter.increment", json!({"name": "a"})).await.is_data());
}

#[tokio::test]
async fn objects_are_listed_without_a_server_too() {
    let mut server = furnished().await;
    let beside = names(&lines(&objects(server.data(), &["list", "--json"]).await));
    server.terminate().await;

    let all = objects(server.data(), &["list", "--json"]).await;
    let for_people = objects(server.data(), &["list"]).await;
    let shown = objects(server.data(), &["show", "counter/b/🦔"]).await;

    assert_eq!(names(&lines(&all)), beside);
    for name in &beside {
        assert!(for_people.stdout.contains(name.as_str()), "{name}: {for_people:?}");
    }
    assert_eq!(shown.code, Some(0));
    assert!(shown.stdout.contains("counter/b/🦔"), "{shown:?}");
    server.restart().await;
    assert_eq!(server.query("counter.getValue", json!({"name": "a"})).await.data()["value"], 1);
}

#[tokio::test]
async fn objects_are_listed_after_a_kill() {
    let mut server = furnished().await;
    server.kill().await;

    let all = lines(&objects(server.data(), &["list", "--json"]).await);

    assert_eq!(all.len(), 3, "{all:?}");
    server.restart().await;
    assert_eq!(server.query("note.get", json!({"id": "n"})).await.data()["title"], "T");
}

#[tokio::test]
async fn what_is_not_there_is_one_line_and_a_failure() {
    let server = furnished().await;
    let nowhere = DataFolder::new();

    for finished in [
        objects(server.data(), &["show", "counter/absent"]).await,
        objects(server.data(), &["show", "bird/a"]).await,
        objects(server.data(), &["show", "nonsense"]).await,
        objects(&nowhere, &["list"]).await,
    ] {
        assert_eq!((finished.code, &*finished.stdout), (Some(1), ""), "{finished:?}");
        assert!(finished.stderr.starts_with("error: "), "{finished:?}");
        assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
    }
    assert!(!nowhere.path().exists(), "looking creates nothing");
}

#[tokio::test]
async fn looking_at_an_object_creates_nothing_and_says_how_it_was_found() {
    let server = Server::builder().flag("--idle-timeout", "100ms").start().await;
    server.mutate("counter.increment", json!({"name": "a"})).await.data();
    server.all_asleep().await;
    let (files, wakes) =
        (server.data().object_files(), server.metric("dormouse_object_wakes_total").await);

    let listed = lines(&objects(server.data(), &["list", "--json"]).await);
    objects(server.data(), &["show", "counter/absent"]).await;

    assert_eq!(listed[0]["resident"], false);
    assert_eq!(server.metric("dormouse_object_wakes_total").await, wakes, "neither wakes anything");
    // Its messages that were given up are in its file, which only its actor reads.
    let shown = lines(&objects(server.data(), &["show", "counter/a", "--json"]).await);
    assert_eq!(shown[0]["resident"], false);
    server.all_asleep().await;
    assert_eq!(server.data().object_files(), files);
}
