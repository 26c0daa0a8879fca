//! Presence of many: crowds, watchers that fall behind, and many changes at random.

use e2e::{Picture, Random, Server, Socket};
use serde_json::json;

/// How many of a crowd are shown by name.
const SAMPLE: usize = 20;

/// Bytes of one update of a note.
const BLOB_BYTES: usize = 100_000;

/// Updates: together twice what a stalled socket's queue and the kernel's buffers hold.
const UPDATES: u64 = 240;

/// Objects, users and changes of the test with changes at random.
const OBJECTS: [&str; 3] = ["counter/a", "counter/b", "note/c"];
const USERS: usize = 30;
const CHANGES: u64 = 200;
const SEED: u64 = 0x5eed_0f5e_5510_0006;

async fn watch(server: &Server, target: &str, user: &str) -> (Socket, Picture) {
    let mut socket = server.socket_of(&format!("/ws/{target}?presence=1"), user).await;
    let mut first = socket.next().await;
    if first["type"] == "initial" {
        first = socket.next().await;
    }
    let picture = Picture::shown(&first);
    (socket, picture)
}

fn user(n: usize) -> String {
    format!("user-{n:02}")
}

#[tokio::test]
async fn of_a_crowd_a_watcher_is_told_how_many_and_of_few_again_who() {
    let server = Server::guarded().flag("--presence-users-max", "22").start().await;
    let (mut first, mut picture) = watch(&server, "counter/a", &user(0)).await;
    let mut sockets = Vec::new();
    for n in 1..25 {
        let mut socket = server.socket_of("/ws/counter/a", &user(n)).await;
        socket.next_of("initial").await;
        sockets.push(socket);
    }

    while picture.total() != Some(25) {
        picture.apply(&first.next().await);
    }
    assert_eq!(picture.ids().len(), SAMPLE, "a sample takes the place of the names");
    let (mut late, mut late_picture) = watch(&server, "counter/a", &user(24)).await;
    assert_eq!(late_picture, picture);
    // Two of the sample leave: others take their places.
    for (n, total) in [(1, 24), (2, 23)] {
        sockets.remove(0).close().await;
        while picture.total() != Some(total) {
            picture.apply(&first.next().await);
        }
        assert!(!picture.ids().contains(&user(n).as_str()), "{picture:?}");
        assert_eq!(picture.ids().len(), SAMPLE);
    }
    // With the next they are few.
    sockets.remove(0).close().await;

    let left: Vec<String> = [0].into_iter().chain(4..25).map(user).collect();
    let left: Vec<&str> = left.iter().map(String::as_str).collect();
    picture.until(&mut first, &left).await;
    late_picture.until(&mut late, &left).await;
    let (_, newest) = watch(&server, "counter/a", &user(24)).await;
    assert_eq!(picture, newest);
    assert_eq!(late_picture, newest);
    sockets.remove(0).close().await;
    picture.until(&mut first, &[&left[..1], &left[2..]].concat()).await;
}

#[tokio::test]
async fn a_watcher_that_fell_far_behind_knows_the_truth_in_the_end() {
    let server = Server::guarded().start().await;
    let note = json!({"id": "n", "title": "T"});
    server.mutate_as("ann", "note.create", &note).await.data();
    let (mut slow, mut picture) = watch(&server, "note/n", "ann").await;

    let mut stay = Vec::new();
    let mut present = vec!["ann".to_owned()];
    for version in 2..=UPDATES {
        let update = json!({"id": "n", "blob": "x".repeat(BLOB_BYTES)});
        let updated = server.mutate_as("ann", "note.update", &update).await;
        assert_eq!(updated.data()["version"], version);
        if version % 20 == 0 {
            let user = format!("user-{version:03}");
            let (socket, _) = watch(&server, "note/n", &user).await;
            if version % 40 == 0 {
                socket.close().await;
            } else {
                stay.push(socket);
                present.push(user);
            }
        }
    }

    let (mut offset, mut states) = (1, 0);
    // What it is shown when it has caught up comes after the last update.
    while offset < UPDATES || states == 0 || picture.ids() != present {
        let frame = slow.next().await;
        if frame["type"] == "update" {
            offset += 1;
            assert_eq!(frame["offset"], offset);
        } else {
            states += usize::from(frame["type"] == "presence_state");
            picture.apply(&frame);
        }
    }
    slow.ping().await;
}

#[tokio::test]
async fn every_watcher_knows_the_truth_after_many_changes_at_random() {
    let server = Server::guarded().flag("--presence-grace", "300ms").start().await;
    let mut random = Random::seeded(SEED);
    let mut pick = |below: usize| {
        usize::try_from(random.next_u64() % below as u64).expect("it is below a small number")
    };
    let mut watchers = Vec::new();
    for target in OBJECTS {
        for n in 0..2 {
            let (socket, picture) = watch(&server, target, &format!("watcher-{n}")).await;
            watchers.push((target, socket, picture));
        }
    }
    let mut sockets: Vec<(usize, usize, Socket)> = Vec::new();

    for _ in 0..CHANGES {
        // More come than go at first, and then as many.
        if sockets.len() < 20 || pick(2) == 0 {
            let (object, who) = (pick(OBJECTS.len()), pick(USERS));
            let (socket, _) = watch(&server, OBJECTS[object], &user(who)).await;
            sockets.push((object, who, socket));
            continue;
        }
        let place = pick(sockets.len());
        let (_, _, socket) = sockets.swap_remove(place);
        match pick(3) {
            0 => drop(socket),
            1 => socket.close_with(1001).await,
            _ => socket.close().await,
        }
    }

    for (n, (target, socket, picture)) in watchers.iter_mut().enumerate() {
        let mut present: Vec<String> = sockets
            .iter()
            .filter(|(object, ..)| OBJECTS[*object] == *target)
            .map(|(_, who, _)| user(*who))
            .chain([0, 1].map(|n| format!("watcher-{n}")))
            .collect();
        present.sort();
        present.dedup();
        let newcomer = format!("zoe-{n}");
        let (newest, last) = settled(&server, target, &newcomer, &present).await;
        // The newcomer is in no picture of before.
        while *picture != newest {
            picture.apply(&socket.next().await);
        }
        last.close().await;
        picture.apply(&socket.next().await);
        assert_eq!(picture.ids(), present, "{target}");
        socket.ping().await;
    }
}

/// Waits until those whose connections broke have left. Gives the picture and the socket of somebody who
/// came last and sees that.
async fn settled(
    server: &Server,
    target: &str,
    newcomer: &str,
    present: &[String],
) -> (Picture, Socket) {
    let mut visits = 0;
    loop {
        visits += 1;
        let zoe = format!("{newcomer}-{visits}");
        let (socket, picture) = watch(server, target, &zoe).await;
        let others = picture.ids().into_iter().filter(|id| *id != zoe);
        if others.eq(present.iter().map(String::as_str)) {
            return (picture, socket);
        }
        socket.close().await;
    }
}
