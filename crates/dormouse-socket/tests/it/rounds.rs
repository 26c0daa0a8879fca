//! Many sockets of one topic, which get what is published some at a time.

use dormouse_socket::{BatchBuilder, HubConfig, SocketId, To, ToHub};

use crate::client::Client;
use crate::rig::{Log, Rig, TOPIC, seeded};

/// More sockets than get their events in one turn of the hub, several times over.
const SOCKETS: usize = 150;

/// One socket, and how much had been published when it was attached.
struct Member {
    client: Client,
    from: usize,
}

/// An object, and everything that was published on it in order.
struct Room {
    rig: Rig,
    log: Log,
    published: Vec<String>,
    members: Vec<Member>,
}

impl Room {
    fn open() -> Room {
        let rig = Rig::start(HubConfig::default());
        Room { rig, log: Log::default(), published: Vec::new(), members: Vec::new() }
    }

    /// Connects a socket and has the object attach it, without waiting until the hub has.
    async fn join(&mut self) -> SocketId {
        let (client, id) = self.rig.connect().await;
        self.log.answer(&self.rig.handle, id, self.log.tail(), usize::MAX);
        self.members.push(Member { client, from: self.published.len() });
        id
    }

    fn publish_logged(&mut self) {
        self.log.publish(&self.rig.handle, &[0], 0);
        self.published.push(format!("{} ", self.log.tail()));
    }

    fn publish_lossy(&mut self) {
        let text = format!("lossy {}", self.published.len());
        let mut builder = BatchBuilder::new();
        builder.lossy(To::Everyone, &text);
        self.rig.handle.send(ToHub::Publish { topic: TOPIC, batch: builder.finish() });
        self.published.push(text);
    }

    /// Checks that every socket gets all that was published after it was attached, in order.
    async fn check(mut self, seed: u64) {
        self.publish_logged();
        for (index, member) in self.members.iter_mut().enumerate() {
            for expected in &self.published[member.from..] {
                let text = member.client.receive_text().await;
                assert_eq!(&text, expected, "seed {seed}, socket {index}");
            }
        }
    }
}

#[actix_rt::test]
async fn every_socket_gets_everything_in_order_while_others_come_and_go() {
    for seed in 1..=20 {
        run_random_room(seed).await;
    }
}

/// Drives a room with random publishes, joins and ends between the turns of the hub. Failures print
/// the seed, which replays the choices of the run.
async fn run_random_room(seed: u64) {
    let mut random = seeded(seed);
    let mut room = Room::open();
    for _ in 0..SOCKETS {
        room.join().await;
    }

    for _ in 0..200 {
        match random(10) {
            0..4 => room.publish_logged(),
            4 => room.publish_lossy(),
            5 => _ = room.join().await,
            6 => {
                let members = u64::try_from(room.members.len()).unwrap();
                let gone = usize::try_from(random(members)).unwrap();
                room.members.swap_remove(gone).client.hang_up();
            }
            _ => tokio::task::yield_now().await,
        }
    }

    room.check(seed).await;
}

#[actix_rt::test]
async fn a_socket_that_is_closed_gets_what_was_published_before() {
    let mut room = Room::open();
    let mut ids = Vec::new();
    for _ in 0..SOCKETS {
        ids.push(room.join().await);
    }

    room.publish_logged();
    for &socket in &ids[SOCKETS / 2..] {
        let code = dormouse_socket::CloseCode::RESTART;
        room.rig.handle.send(ToHub::Close { socket, code, reason: String::new() });
    }

    for member in &mut room.members {
        assert_eq!(member.client.receive_text().await, "1 ");
    }
}
