//! Readers that do not keep up, and what it costs the others: nothing.

use std::time::Duration;

use dormouse_socket::{
    BatchBuilder, CloseCause, CloseCode, HubConfig, SocketId, To, ToHub, text_frame,
};

use crate::client::{Client, Got};
use crate::rig::{Call, Log, Rig, TOPIC, accept, offset_of, seeded};

/// Kernel buffers so small that a reader is soon slow.
const BUFFER_BYTES: Option<u32> = Some(4096);

/// What the object sends in one answer.
const ANSWER_BYTES: usize = 16 * 1024;

fn config() -> HubConfig {
    HubConfig {
        queue_bytes_max: 32 * 1024,
        refill_below_bytes: 8 * 1024,
        direct_bytes_max: 64 * 1024,
        ..HubConfig::default()
    }
}

/// A slow reader that was attached at the tail of an empty log.
async fn attach_slow(rig: &mut Rig, log: &Log) -> (Client, SocketId) {
    let (client, id) = rig.connect_with(accept(), BUFFER_BYTES).await;
    log.answer(&rig.handle, id, 0, usize::MAX);
    (client, id)
}

/// Publishes until the slow socket has left push mode.
async fn publish_until_behind(rig: &mut Rig, log: &mut Log) {
    while rig.handle.stats().read().queue_bytes < 16 * 1024 {
        log.publish(&rig.handle, &[0], 1000);
        rig.settle().await;
    }
    while rig.handle.stats().read().queue_bytes >= 16 * 1024 {
        log.publish(&rig.handle, &[0], 1000);
        rig.settle().await;
    }
}

#[actix_rt::test]
async fn a_slow_reader_is_refilled_from_the_log_and_misses_nothing() {
    let mut rig = Rig::start(config());
    let mut log = Log::default();
    let (mut slow, _) = attach_slow(&mut rig, &log).await;
    let (mut fast, _) = rig.attach().await;

    for _ in 0..1000 {
        log.publish(&rig.handle, &[0], 1000);
        let text = fast.receive_text().await;
        assert_eq!(offset_of(&text), Some(log.tail()), "the fast reader is not held up");
        assert!(rig.handle.stats().read().queue_bytes < 64 * 1024, "memory is bounded");
    }

    for expected in 1..=log.tail() {
        let text = rig.receive_text(&mut slow, &log, ANSWER_BYTES).await;
        assert_eq!(offset_of(&text), Some(expected));
    }
    let stats = rig.handle.stats().read();
    assert!(stats.refills > 1, "{stats:?}");
    log.publish(&rig.handle, &[0], 10);
    assert_eq!(offset_of(&slow.receive_text().await), Some(log.tail()), "it is in push mode again");
}

#[actix_rt::test]
async fn direct_frames_of_a_slow_reader_keep_and_follow_their_events() {
    let mut rig = Rig::start(config());
    let mut log = Log::default();
    let (mut slow, id) = attach_slow(&mut rig, &log).await;
    let mut transient = BatchBuilder::new();
    transient.lossy(To::Everyone, "transient");
    let transient = transient.finish();

    publish_until_behind(&mut rig, &mut log).await;
    rig.handle.send(ToHub::Publish { topic: TOPIC, batch: transient });
    rig.direct(id, "at once", 0, 0);
    let after = log.tail();
    rig.direct(id, "result", after, 0);

    let seen = receive_until("result", &mut rig, &mut slow, &log).await;

    let offsets: Vec<u64> = seen.iter().filter_map(|text| offset_of(text)).collect();
    assert_eq!(offsets, (1..=after).collect::<Vec<u64>>(), "all events came before the result");
    assert!(!seen.contains(&"transient".to_owned()), "what is lossy is lost when behind");
    assert!(seen.contains(&"at once".to_owned()), "it is never dropped");
}

#[actix_rt::test]
async fn a_slow_reader_gets_the_newest_of_each_key_and_the_log_whole() {
    let mut rig = Rig::start(config());
    let mut log = Log::default();
    let (mut slow, id) = attach_slow(&mut rig, &log).await;
    let (mut fast, _) = rig.attach().await;
    let move_to = |name: &str, x: u32| {
        let mut builder = BatchBuilder::new();
        builder.latest(name.into(), To::Everyone, &format!("{name} at {x}"));
        ToHub::Publish { topic: TOPIC, batch: builder.finish() }
    };
    publish_until_behind(&mut rig, &mut log).await;

    for x in 1..=100 {
        rig.handle.send(move_to("ada", x));
        rig.handle.send(move_to("bob", x));
        log.publish(&rig.handle, &[0], 1000);
        rig.settle().await;
    }
    let tail = log.tail();
    rig.direct(id, "end", tail, 0);

    let seen = receive_until("end", &mut rig, &mut slow, &log).await;
    let offsets: Vec<u64> = seen.iter().filter_map(|text| offset_of(text)).collect();
    assert_eq!(offsets, (1..=tail).collect::<Vec<u64>>());
    // How many of the others it gets depends on how often the kernel finds room.
    for name in ["ada", "bob"] {
        let moves = moves_of(name, &seen);
        assert!(moves.is_sorted_by(|before, after| before < after), "{moves:?}");
        assert_eq!(moves.last(), Some(&100));
    }
    let mut moves = Vec::new();
    while moves.last().is_none_or(|text| text != "bob at 100") {
        moves.extend(Some(fast.receive_text().await).filter(|text| text.contains(" at ")));
    }
    assert_eq!(moves.len(), 200, "who keeps up sees every one");
}

#[actix_rt::test]
async fn an_event_by_key_that_found_the_kernel_full_is_replaced_by_the_next() {
    let mut rig = Rig::start(config());
    let (mut slow, _) = attach_slow(&mut rig, &Log::default()).await;
    let filler = "x".repeat(1000);
    let mut sent = 0;
    while rig.handle.stats().read().queue_bytes == 0 {
        sent += 1;
        let mut builder = BatchBuilder::new();
        builder.lossy(To::Everyone, &filler).latest(
            "ada".into(),
            To::Everyone,
            &format!("ada at {sent}"),
        );
        rig.handle.send(ToHub::Publish { topic: TOPIC, batch: builder.finish() });
        rig.settle().await;
    }

    for x in sent + 1..=sent + 50 {
        let mut builder = BatchBuilder::new();
        builder.latest("ada".into(), To::Everyone, &format!("ada at {x}"));
        rig.handle.send(ToHub::Publish { topic: TOPIC, batch: builder.finish() });
        rig.settle().await;
    }

    let mut seen = Vec::new();
    let last = format!("ada at {}", sent + 50);
    while seen.last() != Some(&last) {
        seen.push(slow.receive_text().await);
    }
    let moves = moves_of("ada", &seen);
    assert!(moves.is_sorted_by(|before, after| before < after), "{moves:?}");
}

#[actix_rt::test]
async fn a_close_comes_after_what_waited_by_key() {
    let mut rig = Rig::start(config());
    let mut log = Log::default();
    let (mut slow, id) = attach_slow(&mut rig, &log).await;
    publish_until_behind(&mut rig, &mut log).await;
    let mut builder = BatchBuilder::new();
    builder.latest("ada".into(), To::Everyone, "ada at 1");

    rig.handle.send(ToHub::Publish { topic: TOPIC, batch: builder.finish() });
    rig.handle.send(ToHub::Close { socket: id, code: CloseCode::RESTART, reason: String::new() });

    let mut last_text = String::new();
    let end = loop {
        match slow.receive().await {
            Got::Text(text) => last_text = text,
            other => break other,
        }
    };
    assert_eq!(end, Got::Close(1012, String::new()));
    assert_eq!(last_text, "ada at 1");
}

#[actix_rt::test]
async fn answers_that_nobody_reads_close_with_1013() {
    let mut rig = Rig::start(config());
    let (mut slow, id) = rig.connect_with(accept(), BUFFER_BYTES).await;

    for _ in 0..200 {
        rig.direct(id, &"x".repeat(1000), 0, 0);
        rig.settle().await;
    }

    assert_eq!(rig.call().await, Call::Closed(id, CloseCause::TooSlow));
    let last = loop {
        match slow.receive().await {
            Got::Text(text) => assert_eq!(text.len(), 1000, "frames are whole"),
            other => break other,
        }
    };
    assert_eq!(last, Got::Close(1013, "too slow: reconnect and resume".to_owned()));
    assert_eq!(slow.receive().await, Got::End);
    assert_eq!(rig.handle.stats().read().queue_bytes, 0);
}

#[actix_rt::test]
async fn one_frame_that_is_larger_than_the_queue_is_sent_all_the_same() {
    let mut rig = Rig::start(config());
    let mut log = Log::default();
    let (mut client, id) = rig.attach().await;

    log.publish(&rig.handle, &[0], 3_000_000);
    assert_eq!(client.receive_text().await.len(), 3_000_000);
    rig.handle.send(ToHub::Direct {
        socket: id,
        frames: text_frame(&"x".repeat(3_000_000)),
        after: 1,
        settles: 0,
    });
    assert_eq!(client.receive_text().await.len(), 3_000_000);
}

#[actix_rt::test]
async fn a_reader_that_stays_behind_is_closed_with_1013() {
    let mut rig = Rig::start(HubConfig { behind_max: Duration::from_secs(5), ..config() });
    let mut log = Log::default();
    let (mut slow, id) = attach_slow(&mut rig, &log).await;
    publish_until_behind(&mut rig, &mut log).await;

    tokio::time::pause();

    assert_eq!(rig.closed().await, (id, CloseCause::TooSlow));
    let mut last = slow.receive().await;
    while let Got::Text(_) = last {
        last = slow.receive().await;
    }
    assert_eq!(last, Got::Close(1013, "too slow: reconnect and resume".to_owned()));
}

#[actix_rt::test]
async fn a_reader_that_stopped_is_closed_although_little_waits_for_it() {
    let mut rig = Rig::start(HubConfig { behind_max: Duration::from_secs(5), ..config() });
    let mut log = Log::default();
    let (_slow, id) = attach_slow(&mut rig, &log).await;
    while rig.handle.stats().read().queue_bytes == 0 {
        log.publish(&rig.handle, &[0], 1000);
        rig.settle().await;
    }

    tokio::time::pause();

    assert_eq!(rig.closed().await, (id, CloseCause::TooSlow));
    assert_eq!(rig.handle.stats().read().refills, 0, "it never left push mode");
}

#[actix_rt::test]
async fn what_a_client_gets_is_exact_under_every_seeded_interleaving() {
    for seed in 1..=40 {
        run_random_reader(seed).await;
    }
}

/// Drives one socket with random publishes, results, filters and pauses in reading, and checks what
/// it received against the log: the events that its filters let through, once each and in order, and
/// every result after its event.
///
/// Failures print the seed, which replays the choices of the run.
async fn run_random_reader(seed: u64) {
    let mut random = seeded(seed);
    let mut rig = Rig::start(config());
    let mut log = Log::default();
    let (mut client, id) = attach_slow(&mut rig, &log).await;
    let mut seen = Vec::new();

    for _ in 0..400 {
        match random(12) {
            0..5 => {
                let types: Vec<u8> = (0..=random(3)).map(|_| u8::from(random(2) == 0)).collect();
                let bytes = usize::try_from(200 + random(3000)).unwrap();
                log.publish(&rig.handle, &types, bytes);
            }
            5 => rig.direct(id, &format!("result {}", log.tail()), log.tail(), 0),
            6 => client.send_text(&format!("filter {}", 1 + random(3))).await,
            7 => rig.settle().await,
            8..10 => refill_all(&mut rig, &log),
            _ => {
                if rig.handle.stats().read().bytes_out > bytes_of(&seen) {
                    seen.push(client.receive_text().await);
                }
            }
        }
    }
    // The last answer must come after that to the last filter.
    client.send_text("last message").await;
    loop {
        match rig.call().await {
            Call::Refill(id, after) => log.answer(&rig.handle, id, after, ANSWER_BYTES),
            Call::Message(_, text) if text == "last message" => break,
            _ => {}
        }
    }
    rig.direct(id, "end", log.tail(), 0);
    seen.extend(receive_until("end", &mut rig, &mut client, &log).await);

    check_exact(seed, &log, &seen);
    assert!(rig.handle.stats().read().refills > 0, "seed {seed} tests no slow reader");
}

/// Everything that a client receives up to this text, while the object answers the hub.
async fn receive_until(last: &str, rig: &mut Rig, client: &mut Client, log: &Log) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    while seen.last().is_none_or(|text| text != last) {
        seen.push(rig.receive_text(client, log, ANSWER_BYTES).await);
    }
    seen
}

/// Where a name was seen, in order.
fn moves_of(name: &str, seen: &[String]) -> Vec<u32> {
    let at = |text: &String| text.strip_prefix(name)?.strip_prefix(" at ")?.parse().ok();
    seen.iter().filter_map(at).collect()
}

/// Answers the refills that were asked for, as the object would.
fn refill_all(rig: &mut Rig, log: &Log) {
    while let Ok(call) = rig.calls.try_recv() {
        if let Call::Refill(id, after) = call {
            log.answer(&rig.handle, id, after, ANSWER_BYTES);
        }
    }
}

/// Bytes on the wire of what was received.
fn bytes_of(seen: &[String]) -> u64 {
    seen.iter().map(|text| text.len() as u64 + if text.len() < 126 { 2 } else { 4 }).sum()
}

/// Checks what a client received against what the log and its own filters say it must receive.
fn check_exact(seed: u64, log: &Log, seen: &[String]) {
    let filters: Vec<(u64, u128)> = seen.iter().filter_map(|text| filter_of(text)).collect();
    let wanted = |&(offset, type_index): &(u64, u8)| {
        // Of the filters that hold for this offset, the one that was asked for last.
        let filter = filters.iter().rev().find(|(after, _)| *after < offset);
        filter.is_none_or(|(_, mask)| mask & (1 << type_index) != 0)
    };
    let expected: Vec<u64> = log.types().filter(wanted).map(|(offset, _)| offset).collect();
    let received: Vec<u64> = seen.iter().filter_map(|text| offset_of(text)).collect();
    assert_eq!(received, expected, "seed {seed}");

    let mut results_after = 0;
    for (at, text) in seen.iter().enumerate() {
        let Some(after) = text.strip_prefix("result ") else { continue };
        let after: u64 = after.parse().unwrap();
        let is_early = seen[at..].iter().filter_map(|text| offset_of(text)).any(|o| o <= after);
        assert!(!is_early, "seed {seed}: result {after} came before its event");
        assert!(after >= results_after, "seed {seed}: results out of order");
        results_after = after;
    }
}

/// What the answer to a filter says: the offset after which it holds, and its mask.
fn filter_of(text: &str) -> Option<(u64, u128)> {
    let (mask, after) = text.strip_prefix("filtered ")?.split_once(" after ")?;
    Some((after.parse().ok()?, mask.parse().ok()?))
}
