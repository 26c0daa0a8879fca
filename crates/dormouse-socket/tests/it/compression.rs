//! permessage-deflate between a hub and clients that agreed on it.

use dormouse_socket::{
    Batch, BatchBuilder, CloseCause, HubConfig, ProtocolError, SocketId, To, ToHub,
};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::client::{Client, DEFLATED_BINARY, DEFLATED_TEXT, Got, PING, PONG, TEXT, masked_frame};
use crate::rig::{Call, Log, Rig, TOPIC, offset_of};

/// Compresses a message as a client does that takes no context over.
fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(plain.len() + 64);
    let mut stream = Compress::new(Compression::best(), false);
    stream.compress_vec(plain, &mut out, FlushCompress::Sync).unwrap();
    out.truncate(out.len() - 4);
    out
}

/// Inflates a message of the server.
fn inflate(payload: &[u8]) -> String {
    let mut out = Vec::with_capacity(4 << 20);
    let whole = [payload, &[0, 0, 0xFF, 0xFF]].concat();
    let mut stream = Decompress::new(false);
    stream.decompress_vec(&whole, &mut out, FlushDecompress::Sync).unwrap();
    assert_eq!(stream.total_in(), whole.len() as u64);
    String::from_utf8(out).unwrap()
}

/// Receives one text message. Gives whether it was compressed, too.
async fn receive(client: &mut Client) -> (String, bool) {
    match client.receive().await {
        Got::Text(text) => (text, false),
        Got::Deflated(payload) => (inflate(&payload), true),
        other => panic!("{other:?} is no text"),
    }
}

/// Says that a socket is at the tail of an empty log.
fn attach(rig: &Rig, socket: SocketId) {
    rig.handle.send(ToHub::Attach {
        socket,
        topic: TOPIC,
        direct: None,
        batch: Batch::empty(),
        offset: 0,
        tail: true,
    });
}

#[actix_rt::test]
async fn a_compressed_message_is_answered_compressed_unless_it_is_small() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut client, _) = rig.connect_deflating(None).await;
    let long = format!("echo {}", "abc ".repeat(1000));

    for text in ["echo short", &long] {
        client.send_frame(DEFLATED_TEXT, &deflate(text.as_bytes())).await;
        assert_eq!(receive(&mut client).await, (text.to_owned(), text == long));
        client.send_text(text).await;
        assert_eq!(receive(&mut client).await, (text.to_owned(), text == long), "plain");
    }
    client.send_frame(DEFLATED_BINARY, &deflate(b"\xFF\x00")).await;
    assert_eq!(client.receive().await, Got::Binary(vec![0xFF, 0x00]));
}

#[actix_rt::test]
async fn a_compressed_message_may_come_in_fragments_with_pings_between() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut client, _) = rig.connect_deflating(None).await;
    let text = format!("echo {}", "naïve 😀 ".repeat(20));
    let payload = deflate(text.as_bytes());
    let (first, rest) = payload.split_at(7);

    client.send_frame(0x41, first).await;
    client.send_frame(PING, b"between").await;
    assert_eq!(client.receive().await, Got::Pong(b"between".to_vec()));
    client.send_frame(0x00, b"").await;
    client.send_frame(PONG, b"").await;
    client.send_frame(0x80, rest).await;

    assert_eq!(receive(&mut client).await.0, text);
}

#[actix_rt::test]
async fn the_bit_of_compression_is_an_error_where_it_does_not_belong() {
    let mut rig = Rig::start(HubConfig::default());
    let payload = deflate(b"echo");
    let after_begin = |first| [masked_frame(0x41, b"\x4a"), masked_frame(first, b"")].concat();
    let cases = [
        (false, masked_frame(DEFLATED_TEXT, &payload)),
        (true, masked_frame(0xC9, b"")),
        (true, masked_frame(0xC8, b"")),
        (true, after_begin(0xC0)),
        (true, masked_frame(0xE1, &payload)),
    ];

    for (has_agreed, bytes) in cases {
        let (mut client, id) =
            if has_agreed { rig.connect_deflating(None).await } else { rig.connect().await };
        client.send_raw(&bytes).await;

        let reason = "a reserved bit is set".to_owned();
        assert_eq!(client.receive().await, Got::Close(1002, reason), "{bytes:x?}");
        let cause = CloseCause::Protocol(ProtocolError::ReservedBits);
        assert_eq!(rig.closed().await, (id, cause));
    }
}

#[actix_rt::test]
async fn what_inflates_to_too_much_or_to_nonsense_ends_its_connection_alone() {
    let mut rig = Rig::start(HubConfig { message_bytes_max: 10_000, ..HubConfig::default() });
    let (mut bystander, _) = rig.connect_deflating(None).await;
    let cases = [
        (1009, deflate(&vec![b'x'; 5 << 20])),
        (1009, deflate(&[b'x'; 10_001])),
        (1007, deflate(b"\xED\xA0\x80")),
        (1007, b"\xFF\xFF\xFF".to_vec()),
        (1007, deflate(&[b'x'; 5_000])[..9].to_vec()),
    ];

    for (code, payload) in cases {
        let (mut client, _) = rig.connect_deflating(None).await;
        client.send_frame(DEFLATED_TEXT, &payload).await;

        let got = client.receive().await;
        assert!(matches!(got, Got::Close(got, _) if got == code), "{code}: {got:?}");
        rig.closed().await;
    }
    bystander.send_frame(DEFLATED_TEXT, &deflate(b"echo still here")).await;
    assert_eq!(receive(&mut bystander).await.0, "echo still here");
}

#[actix_rt::test]
async fn a_message_may_be_as_large_as_the_limit_however_badly_it_compresses() {
    let mut rig = Rig::start(HubConfig { message_bytes_max: 10_000, ..HubConfig::default() });
    let (mut client, _) = rig.connect_deflating(None).await;
    let mut state = 1_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let noise: Vec<u8> = (0..10_000).map(|_| random()).collect();
    // Stored blocks of one byte each are the worst there is within reason; these are of 100.
    let blocks = noise.chunks(100).flat_map(|chunk| {
        let length = u16::try_from(chunk.len()).unwrap();
        [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes(), chunk].concat()
    });
    let payload: Vec<u8> = blocks.chain([0]).collect();
    assert!(payload.len() > noise.len());

    client.send_frame(DEFLATED_BINARY, &payload).await;

    assert_eq!(client.receive().await, Got::Binary(noise));
}

#[actix_rt::test]
async fn an_event_is_the_same_for_all_and_compressed_only_for_those_who_agreed() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut plain, plain_id) = rig.connect().await;
    let (mut first, first_id) = rig.connect_deflating(None).await;
    let (mut second, second_id) = rig.connect_deflating(None).await;
    for id in [plain_id, first_id, second_id] {
        attach(&rig, id);
    }
    let large = format!("1 {}", "large ".repeat(100));
    let mut batch = BatchBuilder::new();
    batch.log(1, 0, &large).log(2, 0, "2 small").lossy(To::Except(first_id), "0 not for the first");

    rig.handle.send(ToHub::Publish { topic: TOPIC, batch: batch.finish() });

    assert_eq!(receive(&mut plain).await, (large.clone(), false));
    assert_eq!(receive(&mut first).await, (large.clone(), true));
    assert_eq!(receive(&mut second).await, (large, true));
    for client in [&mut plain, &mut first, &mut second] {
        assert_eq!(receive(client).await, ("2 small".to_owned(), false));
    }
    rig.direct(first_id, "the end", 0, 0);
    assert_eq!(receive(&mut first).await.0, "the end");
    assert_eq!(receive(&mut second).await.0, "0 not for the first");
}

#[actix_rt::test]
async fn a_slow_reader_of_compressed_events_misses_none() {
    let config =
        HubConfig { queue_bytes_max: 16 * 1024, refill_below_bytes: 1024, ..HubConfig::default() };
    let mut rig = Rig::start(config);
    let (mut client, id) = rig.connect_deflating(Some(4096)).await;
    attach(&rig, id);
    let mut log = Log::default();

    for _ in 0..400 {
        // Events compress to about a hundredth, so they must be large to fill a queue.
        log.publish(&rig.handle, &[0], 40_000);
        rig.settle().await;
    }

    let mut next = 1;
    while next <= log.tail() {
        tokio::select! {
            (text, is_deflated) = receive(&mut client) => {
                assert!(is_deflated);
                assert_eq!(offset_of(&text), Some(next));
                next += 1;
            }
            Some(call) = rig.calls.recv() => {
                if let Call::Refill(id, after) = call {
                    log.answer(&rig.handle, id, after, 256 * 1024);
                }
            }
        }
    }
    assert!(rig.handle.stats().read().refills > 0, "it did fall behind");
}

#[actix_rt::test]
async fn many_messages_that_inflate_to_much_are_handled_in_order_and_let_others_in() {
    let mut rig = Rig::start(HubConfig::default());
    let (mut heavy, heavy_id) = rig.connect_deflating(None).await;
    let (mut light, light_id) = rig.connect().await;
    let count = 40;
    let bytes: Vec<u8> = (0..count)
        .flat_map(|n| {
            let text = format!("{n} {}", " ".repeat(900_000));
            masked_frame(DEFLATED_TEXT, &deflate(text.as_bytes()))
        })
        .chain(masked_frame(TEXT, b"the last"))
        .collect();
    assert!(bytes.len() < 64 * 1024, "all of it fits into one read");

    heavy.send_raw(&bytes).await;
    light.send_text("light").await;

    let (mut heavy_before_light, mut heavy_seen, mut light_seen) = (0, 0, false);
    while heavy_seen <= count || !light_seen {
        let Call::Message(id, text) = rig.call().await else { panic!("only messages are sent") };
        if id == light_id {
            (light_seen, heavy_before_light) = (true, heavy_seen);
            continue;
        }
        assert_eq!(id, heavy_id);
        let expected = if heavy_seen == count { "the last" } else { &heavy_seen.to_string() };
        assert_eq!(text.trim_end(), expected);
        heavy_seen += 1;
    }
    assert!(heavy_before_light < count, "the other socket had its turn in between");
}
