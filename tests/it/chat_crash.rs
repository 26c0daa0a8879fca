//! `kill -9` in the middle of a chat: what was acknowledged is there, and nobody misses or doubles
//! anything.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use e2e::{Closed, Server, Socket};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// People who write and read at the same time.
const PEOPLE: usize = 10;

/// How often the server is killed under them.
const ROUNDS: u64 = 10;

/// Somebody who writes one message after the other, and comes back where they stopped.
struct Chatter {
    name: String,
    socket: Socket,
    session: String,
    epoch: String,
    /// Every message they saw, by offset: its id and what it says.
    seen: BTreeMap<u64, (String, String)>,
    offset: u64,
    /// What was acknowledged: the ids of messages, by the client's own names for them.
    acknowledged: HashMap<String, String>,
    /// How many they have written, the last of them perhaps not acknowledged.
    written: u64,
    waits_for: Option<String>,
}

/// How many messages were acknowledged in a round.
struct Progress {
    acknowledged: AtomicU64,
    enough: u64,
    is_enough: Notify,
}

impl Chatter {
    async fn enter(server: &Server, name: String) -> Chatter {
        let member = server.enter("room", &name).await;
        let text = |field: &str| member.state[field].as_str().expect("it is text").to_owned();
        Chatter {
            session: text("session"),
            epoch: text("epoch"),
            offset: member.state["offset"].as_u64().expect("a number"),
            socket: member.socket,
            name,
            seen: BTreeMap::new(),
            acknowledged: HashMap::new(),
            written: 0,
            waits_for: None,
        }
    }

    /// Writes and reads until the server is gone.
    async fn chat(mut self, progress: Arc<Progress>) -> Chatter {
        loop {
            if self.waits_for.is_none() {
                self.written += 1;
                self.waits_for = Some(format!("{}-{}", self.name, self.written));
                if self.write().await.is_err() {
                    return self;
                }
            }
            if self.read().await.is_err() {
                return self;
            }
            if self.waits_for.is_none()
                && progress.acknowledged.fetch_add(1, Ordering::Relaxed) + 1 == progress.enough
            {
                progress.is_enough.notify_one();
            }
        }
    }

    /// Writes what is not acknowledged, perhaps again.
    async fn write(&mut self) -> Result<(), Closed> {
        let name = self.waits_for.as_ref().expect("there is something to write");
        let message = json!({"type": "message", "content": name, "clientId": name});
        self.socket.try_send(&message).await
    }

    /// Reads one frame. What is in the log must be the next of it.
    async fn read(&mut self) -> Result<(), Closed> {
        let frame = self.socket.try_next().await?;
        match frame["type"].as_str().unwrap_or_default() {
            "message" => {
                self.offset += 1;
                assert_eq!(frame["offset"], self.offset, "{} missed something", self.name);
                let text = |field: &str| frame["message"][field].as_str().map(str::to_owned);
                let (id, content) = (text("id").expect("an id"), text("content").expect("text"));
                self.seen.insert(self.offset, (id, content));
            }
            "ack" => {
                let name = frame["clientId"].as_str().expect("it has one").to_owned();
                assert_eq!(self.waits_for.take().as_ref(), Some(&name));
                let id = frame["messageId"].as_str().expect("an id").to_owned();
                self.acknowledged.insert(name, id);
            }
            "online" | "user_connected" | "user_disconnected" => {}
            other => panic!("{other:?} has no place here: {frame}"),
        }
        Ok(())
    }

    /// Comes back where they stopped, and says again what was not acknowledged.
    async fn resume(&mut self, server: &Server) {
        let Chatter { session, epoch, offset, .. } = self;
        let target = format!("/ws/channel/room?since={offset}&epoch={epoch}&session={session}");
        self.socket = server.socket_of(&target, &self.name).await;
        let resumed = self.socket.next_of("resumed").await;
        assert_eq!(
            (&resumed["epoch"], &resumed["session"]),
            (&json!(self.epoch), &json!(self.session))
        );
        if self.waits_for.is_some() {
            self.write().await.expect("the server is there");
        }
        while self.waits_for.is_some() {
            self.read().await.expect("the server is there");
        }
    }

    async fn read_to(&mut self, offset: u64) {
        while self.offset < offset {
            self.read().await.expect("the server is there");
        }
    }
}

/// Lets everybody chat until there are `enough` acknowledgements, and kills the server under them.
async fn kill_during_chat(server: &mut Server, people: Vec<Chatter>, enough: u64) -> Vec<Chatter> {
    let (acknowledged, is_enough) = (AtomicU64::new(0), Notify::new());
    let progress = Arc::new(Progress { acknowledged, enough, is_enough });
    let chats: Vec<_> = people
        .into_iter()
        .map(|chatter| tokio::spawn(chatter.chat(Arc::clone(&progress))))
        .collect();

    e2e::within("enough acknowledgements", progress.is_enough.notified()).await;
    server.kill().await;

    let mut people = Vec::new();
    for chat in chats {
        people.push(chat.await.expect("nobody misses or doubles anything"));
    }
    people
}

/// All messages of the channel, oldest first: their ids and what they say.
async fn history(reader: &mut Socket) -> Vec<(String, String)> {
    let mut messages = Vec::new();
    let mut before = Value::Null;
    loop {
        reader.call(1, "history", json!({"before": before, "limit": 200})).await;
        let result = loop {
            let frame = reader.next().await;
            if frame["type"] == "result" {
                break frame;
            }
        };
        let page = result["data"]["messages"].as_array().expect("a list");
        let text = |message: &Value, field: &str| message[field].as_str().map(str::to_owned);
        messages.extend(page.iter().map(|message| {
            (text(message, "id").expect("an id"), text(message, "content").expect("it is text"))
        }));
        match result["data"].get("next") {
            Some(next) => before = next.clone(),
            None => break,
        }
    }
    messages.reverse();
    messages
}

#[tokio::test]
async fn what_was_acknowledged_survives_ten_kills_and_nobody_misses_or_doubles_anything() {
    let mut server = Server::guarded().start().await;
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        people.push(Chatter::enter(&server, format!("person-{n}")).await);
    }

    for round in 0..ROUNDS {
        people = kill_during_chat(&mut server, people, 20 + round * 20).await;
        server.restart().await;
        for chatter in &mut people {
            chatter.resume(&server).await;
        }
    }

    let mut reader = server.enter("room", "reader").await.socket;
    let history = history(&mut reader).await;
    let written: u64 = people.iter().map(|chatter| chatter.written).sum();
    assert_eq!(
        history.len() as u64,
        written,
        "each message is there, also one that was said twice"
    );
    let ids: HashSet<&String> = history.iter().map(|(id, _)| id).collect();
    let contents: HashSet<&String> = history.iter().map(|(_, content)| content).collect();
    assert_eq!((ids.len(), contents.len()), (history.len(), history.len()), "none is there twice");
    let by_content: HashMap<&String, &String> =
        history.iter().map(|(id, content)| (content, id)).collect();
    for chatter in &mut people {
        chatter.read_to(written).await;
        let seen: Vec<(String, String)> = chatter.seen.values().cloned().collect();
        assert_eq!(seen, history, "{} saw another chat", chatter.name);
        assert_eq!(chatter.acknowledged.len() as u64, chatter.written);
        for (name, id) in &chatter.acknowledged {
            assert_eq!(by_content.get(name), Some(&id), "{name} was acknowledged as another");
        }
    }
}
