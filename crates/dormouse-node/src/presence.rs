//! What sockets are told of who is present: in the words that all kinds have in common, and in those of
//! their own.

use dormouse::{Error, Kind, Online, OnlineUser};
use serde_json::{Value, json};

/// One change.
pub(crate) struct Words {
    /// In the kind's own words, if it has any.
    pub(crate) events: Option<String>,
    /// For sockets with `?presence=1`.
    pub(crate) watchers: String,
}

/// Somebody came.
pub(crate) fn arrived(kind: &Kind, user: &OnlineUser) -> Words {
    let events = kind.presence().map(|words| words.arrived(user)).and_then(logged);
    Words { events, watchers: diff(&[user], &[]) }
}

/// Somebody left.
pub(crate) fn departed(kind: &Kind, user: &OnlineUser) -> Words {
    let events = kind.presence().map(|words| words.departed(user)).and_then(logged);
    Words { events, watchers: diff(&[], &[user]) }
}

/// Who is present, for a watcher. With `total` where those are not all.
pub(crate) fn state(online: &Online) -> String {
    let mut state = json!({ "type": "presence_state", "users": online.users });
    if online.users.len() < online.total {
        state["total"] = Value::from(online.total);
    }
    state.to_string()
}

/// How many are present, for a watcher that was shown only some of them.
pub(crate) fn count(online: &Online) -> String {
    json!({ "type": "presence_diff", "joins": [], "leaves": [], "total": online.total }).to_string()
}

/// What a kind says, unless it cannot: that is a mistake of its author, who finds it in the log.
pub(crate) fn logged(words: Result<String, Error>) -> Option<String> {
    words
        .inspect_err(|err| {
            tracing::error!(
                error = err as &dyn std::error::Error,
                "an event of presence is no JSON"
            );
        })
        .ok()
}

fn diff(joins: &[&OnlineUser], leaves: &[&OnlineUser]) -> String {
    json!({ "type": "presence_diff", "joins": joins, "leaves": leaves }).to_string()
}
