//! A kind of your own in one file: a poll that everybody watches while votes come in.
//!
//! ```text
//! cargo run -p custom-kind
//! curl -X POST localhost:8094/rpc/poll.vote -H 'content-type: application/json' \
//!   -d '{"id":"lunch","choice":"soup"}'
//! ```
//!
//! Sockets at `/ws/poll/lunch` see `{"type":"voted",…}`; `/rpc/poll.results` answers anytime.

use std::collections::BTreeMap;
use std::process::ExitCode;

use dormouse::{Cx, Empty, Error, Kinds, Methods, Object, Session};
use dormouse_kinds::{Counter, Note};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest name of a choice, in characters.
const CHOICE_CHARS_MAX: usize = 80;

/// Most choices of one poll: all of them are in every `initial`.
const CHOICES_MAX: usize = 100;

/// The poll in memory: a cache of its table.
struct Poll {
    votes: BTreeMap<String, u64>,
}

/// What the sockets of a poll receive.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
enum PollEvent {
    Initial { votes: BTreeMap<String, u64> },
    Voted { choice: String, votes: u64 },
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Vote {
    choice: String,
}

#[derive(Serialize, JsonSchema)]
struct Results {
    votes: BTreeMap<String, u64>,
}

impl Object for Poll {
    const KIND: &'static str = "poll";
    type Event = PollEvent;
    const MIGRATIONS: &'static [&'static str] =
        &["CREATE TABLE poll (choice TEXT PRIMARY KEY, votes INTEGER NOT NULL) STRICT"];

    fn methods() -> Methods<Self> {
        Methods::new().mutation("vote", Self::vote).query("results", Self::results)
    }

    fn wake(cx: &Cx<Self>) -> Result<Self, Error> {
        let rows = cx
            .sql()
            .rows("SELECT choice, votes FROM poll", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Poll { votes: rows.into_iter().collect() })
    }

    fn initial(&self, _: &Cx<Self>, _: &Session) -> Result<Option<PollEvent>, Error> {
        Ok(Some(PollEvent::Initial { votes: self.votes.clone() }))
    }
}

impl Poll {
    fn vote(&mut self, cx: &mut Cx<Self>, input: Vote) -> Result<Results, Error> {
        let choice = input.choice;
        if choice.is_empty() || choice.chars().count() > CHOICE_CHARS_MAX {
            return Err(Error::bad_request(format!(
                "a choice has 1 to {CHOICE_CHARS_MAX} characters"
            )));
        }
        if self.votes.len() >= CHOICES_MAX && !self.votes.contains_key(&choice) {
            return Err(Error::conflict(format!("a poll has at most {CHOICES_MAX} choices")));
        }
        let votes = self.votes.get(&choice).map_or(1, |votes| votes + 1);
        cx.sql().execute(
            "INSERT INTO poll (choice, votes) VALUES (?1, ?2)
             ON CONFLICT (choice) DO UPDATE SET votes = ?2",
            (&choice, votes),
        )?;
        cx.broadcast(&PollEvent::Voted { choice: choice.clone(), votes })?;
        self.votes.insert(choice, votes);
        Ok(Results { votes: self.votes.clone() })
    }

    fn results(&self, _: &Cx<Self>, _: Empty) -> Result<Results, Error> {
        Ok(Results { votes: self.votes.clone() })
    }
}

fn main() -> ExitCode {
    let kinds = Kinds::new()
        .register::<Counter>()
        .and_then(Kinds::register::<Note>)
        .and_then(Kinds::register::<Poll>)
        .expect("the kinds are valid: the test below registers the new one");
    dormouse_server::run(kinds)
}

#[cfg(test)]
mod tests {
    use dormouse::{ErrorCode, TestObject};
    use serde_json::json;

    use super::*;

    #[test]
    fn votes_add_up_and_survive_sleep_and_crash() {
        let mut poll = TestObject::<Poll>::new("lunch");

        poll.call("vote", json!({"choice": "soup"})).unwrap();
        poll.sleep();
        poll.call("vote", json!({"choice": "soup"})).unwrap();
        poll.crash();
        poll.call("vote", json!({"choice": "salad"})).unwrap();

        let results = poll.call("results", json!({})).unwrap();
        assert_eq!(results, json!({"votes": {"salad": 1, "soup": 2}}));
        assert_eq!(poll.connect()[0]["votes"], results["votes"]);
    }

    #[test]
    fn a_choice_without_a_name_is_refused_and_tells_nobody() {
        let mut poll = TestObject::<Poll>::new("lunch");

        let err = poll.call("vote", json!({"choice": ""})).unwrap_err();

        assert_eq!(err.code(), ErrorCode::BadRequest);
        assert!(poll.take_events().is_empty());
        assert!(!poll.has_file());
    }
}
