//! What is published, and to whom.

use dormouse_socket::{
    Accept, Batch, BatchBuilder, EventMask, HubConfig, SocketId, To, ToHub, TopicId, text_frame,
};

use crate::client::Client;
use crate::rig::{Call, Log, Rig, TOPIC, accept, offset_of};

#[actix_rt::test]
async fn a_socket_hears_nothing_before_it_is_attached_and_everything_after() {
    let mut rig = Rig::start(HubConfig::default());
    let mut log = Log::default();
    let (mut client, id) = rig.connect().await;

    log.publish(&rig.handle, &[0, 0], 10);
    log.answer(&rig.handle, id, 0, usize::MAX);
    log.publish(&rig.handle, &[0], 10);

    assert_eq!(receive_offsets(&mut client, 3).await, [1, 2, 3]);
}

#[actix_rt::test]
async fn a_snapshot_comes_before_the_events_of_its_answer() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut client, id) = rig.connect().await;
    let mut builder = BatchBuilder::new();
    builder.log(5, 0, "5 five").log(6, 0, "6 six");

    rig.handle.send(ToHub::Attach {
        socket: id,
        topic: TOPIC,
        direct: Some(text_frame("resumed")),
        batch: builder.finish(),
        offset: 6,
        tail: true,
    });

    assert_eq!(client.receive_text().await, "resumed");
    assert_eq!(receive_offsets(&mut client, 2).await, [5, 6]);
}

#[actix_rt::test]
async fn a_long_log_is_fetched_in_parts_and_then_followed() {
    let config = HubConfig { refill_below_bytes: 0, ..HubConfig::default() };
    let mut rig = Rig::start(config);
    let mut log = Log::default();
    log.publish(&rig.handle, &[0; 100], 100);
    let (mut client, id) = rig.connect().await;

    log.answer(&rig.handle, id, 0, 3000);
    let mut received = Vec::new();
    while received.len() < 100 {
        let text = rig.receive_text(&mut client, &log, 3000).await;
        received.extend(offset_of(&text));
    }
    log.publish(&rig.handle, &[0], 100);
    received.extend(receive_offsets(&mut client, 1).await);

    assert_eq!(received, (1..=101).collect::<Vec<u64>>());
}

#[actix_rt::test]
async fn every_socket_of_a_topic_gets_the_event_and_no_other_does() {
    let mut rig = Rig::start(HubConfig::default());
    let mut log = Log::default();
    let (mut first, _) = rig.attach().await;
    let (mut second, _) = rig.attach().await;
    let elsewhere = Accept { topic: TopicId(8), ..accept() };
    let (mut other, other_id) = rig.connect_with(elsewhere, None).await;
    rig.handle.send(ToHub::Attach {
        socket: other_id,
        topic: TopicId(8),
        direct: None,
        batch: Batch::empty(),
        offset: 0,
        tail: true,
    });

    log.publish(&rig.handle, &[0], 10);
    rig.direct(other_id, "after all", 0, 0);

    assert_eq!(receive_offsets(&mut first, 1).await, [1]);
    assert_eq!(receive_offsets(&mut second, 1).await, [1]);
    assert_eq!(other.receive_text().await, "after all");
}

#[actix_rt::test]
async fn a_filter_hides_log_events_and_the_offset_moves_on() {
    let mut rig = Rig::start(HubConfig::default());
    let mut log = Log::default();
    let (mut client, _) = rig.attach().await;

    client.send_text("filter 1").await;
    assert_eq!(client.receive_text().await, "filtered 1 after 0");
    log.publish(&rig.handle, &[0, 1, 0], 10);
    log.publish(&rig.handle, &[1], 10);
    assert_eq!(receive_offsets(&mut client, 2).await, [1, 3]);
    rig.settle().await;

    client.send_text("filter 3").await;
    assert_eq!(client.receive_text().await, "filtered 3 after 4");
    log.publish(&rig.handle, &[1], 10);
    assert_eq!(receive_offsets(&mut client, 1).await, [5]);
}

#[actix_rt::test]
async fn a_filter_of_the_handshake_holds_from_the_first_event() {
    let mut rig = Rig::start(HubConfig::default());
    let mut log = Log::default();
    log.publish(&rig.handle, &[0, 1, 0, 1], 10);
    let filtered = Accept { filter: EventMask(0b10), from: 1, ..accept() };
    let (mut client, id) = rig.connect_with(filtered, None).await;

    log.answer(&rig.handle, id, 1, usize::MAX);

    assert_eq!(receive_offsets(&mut client, 2).await, [2, 4]);
}

#[actix_rt::test]
async fn transient_events_pass_every_filter_but_not_the_excepted_socket() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut typist, typist_id) = rig.attach().await;
    let (mut other, _) = rig.attach().await;
    other.send_text("filter 0").await;
    other.receive_text().await;
    let mut builder = BatchBuilder::new();
    builder.lossy(To::Except(typist_id), "typing").lossy(To::Everyone, "online");

    rig.handle.send(ToHub::Publish { topic: TOPIC, batch: builder.finish() });

    assert_eq!(other.receive_text().await, "typing");
    assert_eq!(other.receive_text().await, "online");
    assert_eq!(typist.receive_text().await, "online");
}

#[actix_rt::test]
async fn a_result_waits_for_the_event_it_must_follow() {
    let mut rig = Rig::start(HubConfig::default());
    let mut log = Log::default();
    let (mut client, id) = rig.connect().await;

    // The call is answered before the socket is attached.
    log.publish(&rig.handle, &[0, 0], 10);
    rig.direct(id, "result of 2", 2, 1);
    rig.direct(id, "error at 0", 0, 1);
    rig.direct(id, "result of 3", 3, 1);
    log.answer(&rig.handle, id, 0, usize::MAX);
    log.publish(&rig.handle, &[0], 10);

    assert_eq!(receive_offsets(&mut client, 2).await, [1, 2]);
    assert_eq!(client.receive_text().await, "result of 2");
    assert_eq!(client.receive_text().await, "error at 0", "answers keep their order");
    assert_eq!(receive_offsets(&mut client, 1).await, [3]);
    assert_eq!(client.receive_text().await, "result of 3");
}

#[actix_rt::test]
async fn a_result_whose_event_is_filtered_comes_once_the_event_has_passed() {
    let mut rig = Rig::start(HubConfig::default());
    let mut log = Log::default();
    let (mut client, id) = rig.attach().await;
    client.send_text("filter 2").await;
    assert_eq!(client.receive_text().await, "filtered 2 after 0");

    rig.direct(id, "result of 1", 1, 0);
    rig.settle().await;
    log.publish(&rig.handle, &[0], 10);

    assert_eq!(client.receive_text().await, "result of 1");
}

#[actix_rt::test]
async fn a_hole_in_what_is_published_is_filled_from_the_log() {
    let mut rig = Rig::start(HubConfig::default());
    let mut log = Log::default();
    let (mut client, id) = rig.attach().await;
    let (unheard, _inbox) = dormouse_socket::hub_channel(dormouse_socket::HubIndex(0));

    log.publish(&unheard, &[0, 0], 10);
    log.publish(&rig.handle, &[0], 10);

    assert_eq!(rig.call().await, Call::Refill(id, 0));
    log.answer(&rig.handle, id, 0, usize::MAX);
    log.publish(&rig.handle, &[0], 10);
    assert_eq!(receive_offsets(&mut client, 4).await, [1, 2, 3, 4]);
}

#[actix_rt::test]
async fn an_event_that_the_socket_knows_is_not_sent_again() {
    let mut rig = Rig::start(HubConfig::default());
    let mut log = Log::default();
    let (unheard, _inbox) = dormouse_socket::hub_channel(dormouse_socket::HubIndex(0));
    log.publish(&unheard, &[0, 0, 0], 10);
    let (mut client, id) = rig.connect().await;

    log.answer(&rig.handle, id, 0, usize::MAX);
    log.answer(&unheard, id, 0, usize::MAX);
    let mut doubled = BatchBuilder::new();
    doubled.log(3, 0, "3 again").log(4, 0, "4 new");
    rig.handle.send(ToHub::Publish { topic: TOPIC, batch: doubled.finish() });

    assert_eq!(receive_offsets(&mut client, 3).await, [1, 2, 3]);
    assert_eq!(client.receive_text().await, "4 new");
}

#[actix_rt::test]
async fn sockets_that_leave_do_not_disturb_those_that_stay() {
    let mut rig = Rig::start(HubConfig::default());
    let mut log = Log::default();
    let mut clients: Vec<(Client, SocketId)> = Vec::new();
    for _ in 0..20 {
        clients.push(rig.attach().await);
    }

    while clients.len() > 1 {
        let (gone, id) = clients.remove(clients.len() / 2);
        gone.hang_up();
        assert_eq!(rig.closed().await.0, id);
        log.publish(&rig.handle, &[0], 10);
        for (client, _) in &mut clients {
            assert_eq!(receive_offsets(client, 1).await, [log.tail()]);
        }
    }
}

/// Receives that many events and gives their offsets.
async fn receive_offsets(client: &mut Client, count: usize) -> Vec<u64> {
    let mut offsets = Vec::new();
    for _ in 0..count {
        let text = client.receive_text().await;
        offsets.push(offset_of(&text).expect("an event says its offset"));
    }
    offsets
}
