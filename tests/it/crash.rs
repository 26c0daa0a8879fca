//! `kill -9` in the middle of load: what was acknowledged is there, and nothing is half there.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use e2e::{Client, Process, Seen, Server, Watcher, dormouse_program};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Counters that are changed at the same time.
const COUNTERS: [&str; 4] = ["a", "b", "c", "d"];

/// Connections that change each counter.
const WRITERS_PER_COUNTER: usize = 3;

/// Sockets that watch each counter.
const WATCHERS_PER_COUNTER: usize = 2;

/// What the writers of all rounds were told.
#[derive(Default)]
struct Acknowledged {
    /// By counter and value after the increment, which is the event's offset too.
    events: BTreeMap<(&'static str, u64), Value>,
    /// Increments that were sent, by counter: no more than so many may be stored.
    sent: BTreeMap<&'static str, u64>,
}

/// Counts answers over all writers, and says when there are enough to kill the server.
struct Progress {
    answers: AtomicU64,
    enough: u64,
    is_enough: Notify,
}

/// One writer: increments until its connection breaks, and keeps every answer.
async fn write(
    address: SocketAddr,
    name: &'static str,
    progress: Arc<Progress>,
) -> (&'static str, Vec<Value>, u64) {
    let mut client = Client::open(address).await.expect("the server listens");
    let mut answers = Vec::new();
    let mut sent = 0;
    loop {
        sent += 1;
        match client.mutate("counter.increment", &json!({"name": name})).await {
            Ok(answer) => answers.push(answer.data().clone()),
            Err(_) => return (name, answers, sent),
        }
        if progress.answers.fetch_add(1, Ordering::Relaxed) + 1 == progress.enough {
            progress.is_enough.notify_one();
        }
    }
}

/// Lets all writers work until there are `answers` answers, and kills the server under them.
async fn kill_during_load(
    server: &mut Server,
    watchers: Vec<Watcher>,
    answers: u64,
    acknowledged: &mut Acknowledged,
) -> Vec<Watcher> {
    let progress = Arc::new(Progress {
        answers: AtomicU64::new(0),
        enough: answers,
        is_enough: Notify::new(),
    });
    let address = server.address();
    let writers: Vec<JoinHandle<_>> = COUNTERS
        .into_iter()
        .flat_map(|name| std::iter::repeat_n(name, WRITERS_PER_COUNTER))
        .map(|name| tokio::spawn(write(address, name, Arc::clone(&progress))))
        .collect();
    let readers: Vec<JoinHandle<Watcher>> = watchers
        .into_iter()
        .map(|mut watcher| {
            tokio::spawn(async move {
                watcher.read_to_end().await;
                watcher
            })
        })
        .collect();

    e2e::within("enough answers", progress.is_enough.notified()).await;
    server.kill().await;

    for writer in writers {
        let (name, answers, sent) = writer.await.expect("no writer panics");
        *acknowledged.sent.entry(name).or_default() += sent;
        for answer in answers {
            let value = answer["value"].as_u64().expect("it counts up from zero");
            let doubled = acknowledged.events.insert((name, value), answer);
            assert!(doubled.is_none(), "{name} was answered {value} twice");
        }
    }
    let mut watchers = Vec::new();
    for reader in readers {
        watchers.push(reader.await.expect("no watcher panics"));
    }
    watchers
}

/// Every operation of a counter, oldest first, read page by page.
async fn whole_history(server: &Server, name: &str) -> Vec<Value> {
    let mut client = server.client().await;
    let mut operations = Vec::new();
    let mut before = Value::Null;
    loop {
        let input = json!({"name": name, "before": before, "limit": 200});
        let page = client.query("counter.getHistory", &input).await.expect("it is answered");
        operations.extend(page.data()["operations"].as_array().expect("a list").iter().cloned());
        match page.data().get("next") {
            Some(next) => before = next.clone(),
            None => break,
        }
    }
    operations.reverse();
    operations
}

/// State, count and log agree with each other, and with everything that any client was told.
async fn assert_whole(server: &Server, acknowledged: &Acknowledged) {
    for name in COUNTERS {
        let metadata =
            server.query("counter.getMetadata", json!({"name": name})).await.data().clone();
        let operations = whole_history(server, name).await;
        let stored = operations.len() as u64;

        assert_eq!(metadata["value"], stored, "{name}: {metadata}");
        assert_eq!(metadata["operationCount"], stored, "{name}: {metadata}");
        let sent = acknowledged.sent.get(name).copied().unwrap_or(0);
        assert!(stored <= sent, "{name}: {stored} stored, {sent} sent");
        for (operation, offset) in operations.iter().zip(1..) {
            let expected = json!({"offset": offset, "type": "increment", "value": offset,
                                  "previousValue": offset - 1, "timestamp": operation["timestamp"]});
            assert_eq!(operation, &expected, "{name}");
        }
        for ((_, value), answer) in acknowledged.events.range((name, 0)..=(name, u64::MAX)) {
            let index = usize::try_from(value - 1).expect("it is small");
            let operation = operations
                .get(index)
                .unwrap_or_else(|| panic!("{name}: {value} was acknowledged and lost"));
            assert_eq!(operation["timestamp"], answer["timestamp"], "{name}: {value} is another");
        }
    }
}

/// What a watcher saw, over all its sockets, is what was acknowledged.
fn assert_saw_what_was_acknowledged(
    watcher: &Watcher,
    name: &'static str,
    acknowledged: &Acknowledged,
) {
    for Seen { offset, event } in watcher.seen() {
        if let Some(answer) = acknowledged.events.get(&(name, *offset)) {
            let mut event = event.clone();
            event.as_object_mut().expect("an event is an object").remove("offset");
            assert_eq!(&event, answer, "{name}: {offset} has two stories");
        }
    }
}

/// Kills a server again and again, and looks at everything after each time.
async fn survive(rounds: u64, settings_of: impl Fn(u64) -> Vec<(&'static str, &'static str)>) {
    let mut server = Server::start().await;
    let mut acknowledged = Acknowledged::default();
    let mut watchers = Vec::new();
    for name in COUNTERS.into_iter().flat_map(|name| [name; WATCHERS_PER_COUNTER]) {
        watchers.push(Watcher::connect(&server, &format!("/ws/counter/{name}")).await);
    }

    for round in 0..rounds {
        // From a handful of answers, so that files are just being made, to hundreds.
        let answers = 10 + round * 40;
        watchers = kill_during_load(&mut server, watchers, answers, &mut acknowledged).await;
        server.restart_with(&settings_of(round)).await;
        assert_whole(&server, &acknowledged).await;
        for watcher in &mut watchers {
            watcher.resume(&server).await;
        }
    }

    for (index, watcher) in watchers.iter().enumerate() {
        let name = COUNTERS[index / WATCHERS_PER_COUNTER];
        let stored =
            server.query("counter.getValue", json!({"name": name})).await.data()["value"].clone();
        assert_eq!(stored, watcher.offset(), "{name}: the watcher is at the tail");
        assert_saw_what_was_acknowledged(watcher, name, &acknowledged);
    }
    assert!(acknowledged.events.len() as u64 >= rounds * 10);
}

#[tokio::test]
async fn no_acknowledged_increment_is_lost_in_twenty_rounds_of_kill_nine() {
    survive(20, |_| Vec::new()).await;
}

#[tokio::test]
async fn nothing_is_lost_while_objects_sleep_and_wake_between_kills() {
    survive(8, |_| vec![("--objects-resident-max", "2"), ("--idle-timeout", "50ms")]).await;
}

#[tokio::test]
async fn the_page_cache_is_enough_to_survive_the_end_of_the_process() {
    survive(6, |_| vec![("--durability", "os")]).await;
}

#[tokio::test]
async fn a_note_is_never_half_updated_by_a_kill() {
    let mut server = Server::start().await;
    server.mutate("note.create", json!({"id": "n", "title": "0"})).await.data();
    let mut acknowledged = 1;

    for round in 1..=6_u64 {
        let mut client = server.client().await;
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let writer = tokio::spawn(async move {
            let mut newest = 0;
            loop {
                // Several pages in one transaction: version, event, summary.
                let blob = "x".repeat(20_000);
                let input = json!({"id": "n", "title": newest.to_string(), "blob": blob});
                match client.mutate("note.update", &input).await {
                    Ok(answer) => newest = answer.data()["version"].as_u64().expect("a number"),
                    Err(_) => return newest,
                }
                // The test has stopped counting; the writer goes on until its connection breaks.
                _ = tell.send(());
            }
        });
        for _ in 0..round * 5 {
            e2e::within("an answer", told.recv()).await.expect("the writer works");
        }
        server.kill().await;
        acknowledged = writer.await.expect("the writer does not panic").max(acknowledged);
        server.restart().await;

        let note = server.query("note.get", json!({"id": "n"})).await.data().clone();
        let version = note["version"].as_u64().expect("a number");
        assert!(version >= acknowledged, "{version} is left of {acknowledged}");
        let history =
            server.query("note.history", json!({"id": "n", "limit": 200})).await.data().clone();
        assert_eq!(history["versions"].as_array().expect("a list").len() as u64, version);
        assert_eq!(history["versions"][0], note);
        let initial = server.connect("/ws/note/n").await.next_of("initial").await;
        assert_eq!((&initial["offset"], &initial["data"]), (&json!(version), &note));
        let listed = server.query("note.list", json!({})).await.data()["notes"].clone();
        assert_eq!(
            listed,
            json!([{"id": "n", "title": note["title"], "version": version, "updatedAt": note["updatedAt"]}])
        );
    }
}

#[tokio::test]
async fn a_recovery_that_is_killed_is_carried_out_by_the_next_start() {
    let mut server = Server::start().await;
    let mut acknowledged = Acknowledged::default();

    for round in 0..4 {
        kill_during_load(&mut server, Vec::new(), 100, &mut acknowledged).await;
        for _ in 0..=round {
            kill_while_starting(&server).await;
        }
        server.restart().await;
        assert_whole(&server, &acknowledged).await;
    }
}

/// Starts a server on the same data, and kills it as soon as it has the folder.
async fn kill_while_starting(server: &Server) {
    let data = server.data().path();
    let args = ["serve", "--listen", "127.0.0.1:0", "--data"].map(OsString::from);
    let args: Vec<OsString> = args.into_iter().chain([data.clone().into_os_string()]).collect();
    let mut process = Process::start(&dormouse_program(), &args, &[]);
    let pid = process.id().expect("it was just started").to_string();

    server
        .eventually("the new process to have the folder", async |_: &Server| {
            std::fs::read_to_string(data.join("lock")).is_ok_and(|lock| lock.trim() == pid)
        })
        .await;

    process.kill().await;
}
