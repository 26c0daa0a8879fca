//! What is known about stored objects, as JSON.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use dormouse::{Clock, Kinds, Surroundings, SystemClock, Timestamp};
use dormouse_node::{Node, Reply};
use dormouse_store::{CatalogEntry, Key, Store};
use serde::Serialize;
use serde_json::Value;

use crate::objects::control::Request;

/// Messages that were given up and are shown with an object, at most.
const DEAD_LETTERS_SHOWN: usize = 20;

/// How long a busy object is waited for.
const DEAD_LETTERS_WAIT: Duration = Duration::from_secs(5);

/// One object, as `dormouse objects` prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    kind: String,
    id: String,
    created_at: Timestamp,
    last_active_at: Timestamp,
    size_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    /// Only a running server knows the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    resident: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockets: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queued: Option<usize>,
    /// Messages to other objects that were given up, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dead_letters: Vec<Value>,
}

/// Answers a request; the error is a sentence. Blocks on the catalog.
pub(super) fn answer(
    store: &Store,
    kinds: &Kinds,
    node: Option<&Node>,
    request: &Request,
) -> Result<Vec<Value>, String> {
    match request {
        Request::List { kind, after, limit } => {
            let names: Vec<&str> = match kind {
                Some(kind) => vec![kind.as_str()],
                None => kinds.names().collect(),
            };
            let mut objects = Vec::new();
            for name in names {
                let rows = store
                    .catalog()
                    .list(name, after.as_deref(), *limit, false)
                    .map_err(|err| err.to_string())?;
                for row in rows {
                    let key = Key::new(name, row.id).map_err(|err| err.to_string())?;
                    objects.push(json(&describe(node, &key, row.entry))?);
                }
            }
            Ok(objects)
        }
        Request::Show { kind, id } => {
            let key = Key::new(kind.as_str(), id.as_str()).map_err(|err| err.to_string())?;
            let entry = store
                .catalog()
                .get(&key)
                .map_err(|err| err.to_string())?
                .ok_or_else(|| format!("there is no object {key}"))?;
            let epoch = store.epoch(&key, 0).to_string();
            // Said before the next line wakes it.
            let found = describe(node, &key, entry);
            let dead_letters = dead_letters(store, kinds, node, &key)?;
            Ok(vec![json(&Description { epoch: Some(epoch), dead_letters, ..found })?])
        }
    }
}

/// Messages of an object that were given up. An object whose kind this program does not know has
/// none that it could read.
fn dead_letters(
    store: &Store,
    kinds: &Kinds,
    node: Option<&Node>,
    key: &Key,
) -> Result<Vec<Value>, String> {
    let Some(kind) = kinds.get(key.kind()) else { return Ok(Vec::new()) };
    let json = match node {
        Some(node) => {
            let (sender, receiver) = mpsc::channel();
            // The receiver is gone if it has waited too long.
            let reply = Reply::new(move |answered| _ = sender.send(answered.result));
            node.dead_letters(&node.object(kind, key), DEAD_LETTERS_SHOWN, reply);
            receiver
                .recv_timeout(DEAD_LETTERS_WAIT)
                .map_err(|_| format!("{key} does not answer"))?
                .map_err(|err| err.to_string())?
        }
        None => {
            let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
            let mut instance = kind
                .open(store, key, Surroundings::without_sessions(&clock))
                .map_err(|err| err.to_string())?;
            let letters = instance.dead_letters(DEAD_LETTERS_SHOWN).result;
            let letters = letters.map_err(|err| err.to_string())?;
            serde_json::to_string(&letters).map_err(|err| err.to_string())?
        }
    };
    serde_json::from_str(&json).map_err(|err| err.to_string())
}

fn describe(node: Option<&Node>, key: &Key, entry: CatalogEntry) -> Description {
    let status = node.map(|node| node.status(key));
    Description {
        kind: key.kind().to_owned(),
        id: key.id().to_owned(),
        created_at: entry.created_at,
        last_active_at: entry.last_active_at,
        size_bytes: entry.size_bytes,
        summary: entry.summary.and_then(|summary| serde_json::from_str(&summary).ok()),
        epoch: None,
        resident: status.map(|status| status.is_resident),
        sockets: status.map(|status| status.sessions),
        queued: status.map(|status| status.queued),
        dead_letters: Vec::new(),
    }
}

fn json(description: &Description) -> Result<Value, String> {
    serde_json::to_value(description).map_err(|err| err.to_string())
}

#[cfg(test)]
mod tests {
    use dormouse::{Caller, Effect, Random, Request as Call, Resolved};
    use dormouse::{
        Cx, Empty, Error, Instance, Methods, Object, Outcome, Parcel, Session, TestClock,
    };
    use dormouse_store::StoreOptions;
    use schemars::JsonSchema;
    use serde::Deserialize;
    use tempfile::TempDir;

    use super::*;

    /// More than any wait between two tries of a message.
    const LONG: Duration = Duration::from_secs(600);

    /// Sends a message that nobody takes.
    struct Sender;

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(tag = "type")]
    enum Nothing {
        Nothing {},
    }

    impl Object for Sender {
        const KIND: &'static str = "sender";
        type Event = Nothing;
        const MIGRATIONS: &'static [&'static str] = &[];

        fn methods() -> Methods<Self> {
            Methods::new().mutation("send", |_: &mut Self, cx: &mut Cx<Self>, _: Empty| {
                cx.send_to(&Key::new("sender", "b").expect("the id is allowed"), &"hello")
            })
        }

        fn wake(_: &Cx<Self>) -> Result<Self, Error> {
            Ok(Sender)
        }

        fn initial(&self, _: &Cx<Self>, _: &Session) -> Result<Option<Nothing>, Error> {
            Ok(None)
        }
    }

    fn send(kinds: &Kinds, instance: &mut Instance) -> Outcome<String> {
        let params = Some(serde_json::json!({"id": "a"}));
        let call =
            Call { method: "send", params, bound: None, caller: Caller::default(), key: None };
        let mut new_id = (Timestamp::EPOCH, Random::seeded(1));
        match kinds.get("sender").unwrap().resolve(call, &mut new_id).unwrap() {
            Resolved::Object { call, .. } => instance.call(call),
            Resolved::Listing(_) => panic!("it is a mutation"),
        }
    }

    fn parcel<T>(outcome: Outcome<T>) -> Option<Parcel> {
        outcome.effects.into_iter().find_map(|effect| match effect {
            Effect::Send(parcel) => Some(parcel),
            Effect::Broadcast { .. }
            | Effect::Direct { .. }
            | Effect::Close { .. }
            | Effect::Split
            | Effect::Job(_) => None,
        })
    }

    #[test]
    fn a_message_that_was_given_up_is_shown_with_its_sender() {
        let folder = TempDir::new().unwrap();
        let clock = Arc::new(TestClock::new());
        let store = Store::open(StoreOptions::new(folder.path())).unwrap();
        let (rises, risen) = mpsc::channel();
        // Nobody listens any more once the test has seen enough.
        store.commit_log().watch(Box::new(move |position| _ = rises.send(position)));
        let kinds = Kinds::new().register::<Sender>().unwrap();
        let kind = kinds.get("sender").unwrap();
        let key = kind.key("a").unwrap();
        let clock_of_objects: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let mut instance =
            kind.open(&store, &key, Surroundings::without_sessions(&clock_of_objects)).unwrap();

        let mut sent = parcel(send(&kinds, &mut instance));
        while let Some(parcel) = sent {
            let refused = parcel.refused(Error::not_found("nobody is here"));
            instance.settle(&parcel.receiver, &refused).result.unwrap();
            clock.advance(LONG);
            sent = self::parcel(instance.send_due());
        }
        let position = instance.position();
        drop(instance);
        while store.commit_log().durable() < position {
            risen.recv().unwrap();
        }
        let show = Request::Show { kind: "sender".to_owned(), id: "a".to_owned() };
        let shown = answer(&store, &kinds, None, &show).unwrap();

        let letter = &shown[0]["deadLetters"][0];
        assert_eq!(letter["receiver"], "sender/b");
        assert_eq!(letter["message"], r#""hello""#);
        assert_eq!(letter["error"], "NOT_FOUND: nobody is here");
    }
}
