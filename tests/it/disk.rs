//! Disks that are full, read-only or broken. Nothing acknowledged is ever lost, and whoever may
//! write is told so before anything happened.

use e2e::{Answer, DataFolder, FailingDisk, Fault, Server, SmallDisk};
use serde_json::{Value, json};

/// Mutations of one object on a disk that has become full: more than its WAL holds, so that it wants to
/// be moved into the database.
const MUTATIONS: usize = 100;

/// Room for the journal of a new folder and some objects.
const DISK_MIB: u32 = 288;

/// So much is taken that no segment of the journal fits into the rest of [`DISK_MIB`].
const TAKEN_MIB: usize = 240;

/// The process ended by itself, and says so.
const FAILURE: Option<i32> = Some(1);

async fn increment(server: &Server, name: &str) -> Answer {
    server.mutate("counter.increment", json!({"name": name})).await
}

async fn value(server: &Server, name: &str) -> Value {
    server.query("counter.getValue", json!({"name": name})).await.data()["value"].clone()
}

/// Increments on a full disk. What the journal has room for is stored, all else refused. Gives what was
/// acknowledged.
async fn increment_on_a_full_disk(server: &Server, name: &str, mut acknowledged: u64) -> u64 {
    for _ in 0..MUTATIONS {
        let answer = increment(server, name).await;
        if answer.is_data() {
            acknowledged += 1;
            assert_eq!(answer.data()["value"], acknowledged);
        } else {
            assert_eq!(answer.error().code, "SERVICE_UNAVAILABLE", "{answer:?}");
            assert_eq!(answer.response.status, 503);
        }
    }
    acknowledged
}

/// Waits until an increment is stored. Gives what is acknowledged after it.
async fn increment_until_stored(server: &Server, name: &str, acknowledged: u64) -> u64 {
    server
        .eventually("writing to resume", async |server: &Server| {
            let answer = increment(server, name).await;
            if answer.is_data() {
                assert_eq!(answer.data()["value"], acknowledged + 1, "refusals changed nothing");
            } else {
                assert_eq!(answer.error().code, "SERVICE_UNAVAILABLE", "{answer:?}");
            }
            answer.is_data()
        })
        .await;
    acknowledged + 1
}

/// What must hold on a disk that becomes full under a running server and has space again later.
async fn assert_reads_go_on_and_writes_resume(
    mut server: Server,
    fill: impl Fn(),
    give_back: impl Fn(),
) {
    for name in ["awake", "asleep"] {
        increment(&server, name).await.data();
    }
    server.all_asleep().await;
    fill();

    let acknowledged = increment_on_a_full_disk(&server, "awake", 1).await;
    let created = increment_on_a_full_disk(&server, "new", 0).await;

    assert_eq!(value(&server, "awake").await, acknowledged);
    assert_eq!(value(&server, "new").await, created);
    assert_eq!(value(&server, "asleep").await, 1, "an object can be opened to be read");
    assert_eq!(value(&server, "never written").await, 0, "and one that does not exist");
    assert_eq!(server.get("/readyz").await.status, 200, "it still answers queries");

    give_back();
    let acknowledged = increment_until_stored(&server, "awake", acknowledged).await;
    let created = increment_until_stored(&server, "new", created).await;
    server.kill().await;
    server.restart().await;

    assert_eq!(value(&server, "awake").await, acknowledged);
    assert_eq!(value(&server, "asleep").await, 1);
    assert_eq!(value(&server, "new").await, created);
}

/// A disk that is really small, if this machine lets us mount one. Where it does not, the tests
/// with a pretended one have to do.
#[expect(clippy::print_stderr, reason = "a test that proves less must say so")]
fn small_disk(data: &DataFolder) -> Option<SmallDisk> {
    SmallDisk::mount(data, DISK_MIB)
        .inspect_err(|err| eprintln!("NOT TESTED on a real small disk: cannot mount one: {err}"))
        .ok()
}

#[tokio::test]
async fn on_a_full_disk_reads_go_on_and_writes_resume_when_there_is_space() {
    let data = DataFolder::new();
    let Some(disk) = small_disk(&data) else { return };
    let server = Server::builder().data(&data).flag("--idle-timeout", "100ms").start().await;
    server
        .eventually("the journal's segments to be ready", async |server: &Server| {
            server.metric("dormouse_journal_segments_ready").await >= 2.0
        })
        .await;

    assert_reads_go_on_and_writes_resume(server, || disk.fill(), || disk.free()).await;
}

#[tokio::test]
async fn on_a_disk_that_says_it_is_full_reads_go_on_and_writes_resume() {
    let data = DataFolder::new();
    let disk = FailingDisk::below(&data);
    let server = disk.under(Server::builder().data(&data)).flag("--idle-timeout", "100ms");
    let server = server.start().await;

    let full = Fault::Full("/data/");
    assert_reads_go_on_and_writes_resume(server, || disk.fail(full), || disk.mend()).await;
}

#[tokio::test]
async fn without_room_in_the_journal_no_handler_that_may_write_begins() {
    let data = DataFolder::new();
    let disk = FailingDisk::below(&data);
    disk.fail(Fault::Full("/journal/"));
    let mut server = disk.under(Server::builder().data(&data)).start().await;

    let refused = increment(&server, "a").await;

    assert_eq!(refused.error().code, "SERVICE_UNAVAILABLE", "{refused:?}");
    assert_eq!(value(&server, "a").await, 0, "queries are answered");
    disk.mend();
    let acknowledged = increment_until_stored(&server, "a", 0).await;
    server.kill().await;
    server.restart().await;
    assert_eq!(value(&server, "a").await, acknowledged);
}

/// A folder that was closed cleanly needs nothing of its journal; without it there is no room to write.
#[tokio::test]
async fn a_channel_is_entered_where_nothing_can_be_written() {
    let data = DataFolder::new();
    let disk = FailingDisk::below(&data);
    let mut server = disk.under(Server::guarded().data(&data)).start().await;
    let said = server.enter("a", "ann").await.write("hi").await;
    server.terminate().await;
    data.remove_journal();
    disk.fail(Fault::Full("/journal/"));
    server.restart().await;

    let mut bob = server.enter("a", "bob").await;
    let refused =
        server.mutate_as("bob", "channel.post", &json!({"id": "a", "content": "?"})).await;

    assert_eq!(bob.state["messages"][0]["id"], said);
    assert_eq!(refused.error().code, "SERVICE_UNAVAILABLE", "{refused:?}");
    bob.socket.send(&json!({"type": "message", "content": "?"})).await;
    assert_eq!(bob.socket.next_of("error").await["code"], "SERVICE_UNAVAILABLE");
}

#[tokio::test]
async fn a_server_starts_on_a_small_full_disk_and_writes_when_there_is_space() {
    let data = DataFolder::new();
    let Some(disk) = small_disk(&data) else { return };
    disk.take_mib(TAKEN_MIB);
    let mut server = Server::builder().data(&data).start().await;

    assert_eq!(increment(&server, "a").await.error().code, "SERVICE_UNAVAILABLE");
    assert_eq!(value(&server, "a").await, 0);
    disk.free();
    let acknowledged = increment_until_stored(&server, "a", 0).await;

    server.kill().await;
    server.restart().await;
    assert_eq!(value(&server, "a").await, acknowledged);
}

#[tokio::test]
async fn a_server_does_not_start_on_a_read_only_disk_and_loses_nothing() {
    let data = DataFolder::new();
    let Some(disk) = small_disk(&data) else { return };
    let mut server = Server::builder().data(&data).start().await;
    increment(&server, "a").await.data();
    server.kill().await;
    disk.set_read_only(true);

    let refused = Server::builder().data(&data).refuse().await;

    assert_eq!(refused.code, FAILURE, "{refused:?}");
    let reason = refused.stderr.lines().last().unwrap_or_default();
    assert!(reason.starts_with("error: ") && reason.contains("Read-only"), "{refused:?}");
    disk.set_read_only(false);
    server.restart().await;
    assert_eq!(value(&server, "a").await, 1);
}

/// Writes until the disk has failed: the process has to stop and to say why, in one line with all of
/// `words`. On a good disk everything acknowledged is there, and at most the one call that was
/// not answered.
async fn assert_stops_and_keeps_its_promise(fault: Fault, words: &[&str]) {
    let data = DataFolder::new();
    let disk = FailingDisk::below(&data);
    let mut server = disk.under(Server::builder().data(&data)).start().await;
    increment(&server, "a").await.data();
    disk.fail(fault);

    let mut client = server.client().await;
    let mut acknowledged = 1;
    // An object's file is not written at once.
    while acknowledged <= MUTATIONS as u64
        && let Ok(answer) = client.mutate("counter.increment", &json!({"name": "a"})).await
        && answer.is_data()
    {
        acknowledged += 1;
    }

    assert!(acknowledged <= MUTATIONS as u64, "{fault:?} went unnoticed");
    assert_eq!(server.ended().await, FAILURE, "{}", server.log());
    let log = server.log();
    let reasons: Vec<&str> = log.lines().filter(|line| line.starts_with("error: ")).collect();
    let &[reason] = &reasons[..] else { panic!("not one line that says why: {log}") };
    assert!(words.iter().all(|word| reason.contains(word)), "{words:?} are not in {reason:?}");
    assert!(!log.contains("panicked"), "{log}");

    disk.mend();
    server.restart().await;
    let stored = value(&server, "a").await.as_u64();
    let is_kept = stored.is_some_and(|n| (acknowledged..=acknowledged + 1).contains(&n));
    assert!(is_kept, "{acknowledged} were acknowledged, {stored:?} are stored");
    assert_eq!(increment(&server, "a").await.data()["value"].as_u64(), stored.map(|n| n + 1));
}

#[tokio::test]
async fn a_journal_that_cannot_be_synced_stops_the_process() {
    let words = ["commit journal", "Input/output error"];
    assert_stops_and_keeps_its_promise(Fault::Sync("/journal/"), &words).await;
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_stops_the_process() {
    let words = ["commit journal", "Input/output error"];
    assert_stops_and_keeps_its_promise(Fault::Write("/journal/"), &words).await;
}

#[tokio::test]
async fn a_journal_that_has_become_read_only_stops_the_process() {
    let words = ["commit journal", "Read-only file system"];
    assert_stops_and_keeps_its_promise(Fault::ReadOnly("/journal/"), &words).await;
}

#[tokio::test]
async fn a_disk_that_has_become_read_only_stops_the_process() {
    let words = ["commit journal", "Read-only file system"];
    assert_stops_and_keeps_its_promise(Fault::ReadOnly("/data/"), &words).await;
}

#[tokio::test]
async fn an_object_that_cannot_be_written_stops_the_process() {
    let words = ["counter/a", "disk"];
    assert_stops_and_keeps_its_promise(Fault::Write("/objects/"), &words).await;
}

#[tokio::test]
async fn a_new_object_whose_file_cannot_be_made_stops_the_process_and_is_kept() {
    for fault in [Fault::Write("/objects/"), Fault::ReadOnly("/objects/")] {
        let data = DataFolder::new();
        let disk = FailingDisk::below(&data);
        let server = disk.under(Server::builder().data(&data)).flag("--idle-timeout", "100ms");
        let mut server = server.start().await;
        disk.fail(fault);

        // The journal has it, and the file is made when it falls asleep.
        increment(&server, "a").await.data();

        assert_eq!(server.ended().await, FAILURE, "{}", server.log());
        let log = server.log();
        let is_reason = |line: &str| line.starts_with("error: ") && line.contains("counter/a");
        assert!(log.lines().any(is_reason), "{log}");
        disk.mend();
        server.restart().await;
        assert_eq!(value(&server, "a").await, 1);
    }
}
