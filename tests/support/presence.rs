//! Who is present, as a watcher knows it from what it was told.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::socket::Socket;

/// What a watcher knows. Every frame is checked to fit what it knew before.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    users: BTreeMap<String, Value>,
    /// How many there are, where those are not all.
    total: Option<u64>,
}

impl Picture {
    /// What a watcher knows from `presence_state`.
    ///
    /// # Panics
    ///
    /// If it is something else.
    pub fn shown(state: &Value) -> Picture {
        assert_eq!(state["type"], "presence_state", "{state}");
        let mut picture = Picture { users: BTreeMap::new(), total: state["total"].as_u64() };
        picture.join(&state["users"]);
        picture
    }

    /// Takes the next frame.
    ///
    /// # Panics
    ///
    /// If it is not about presence; if somebody comes who is there, or leaves who is not.
    pub fn apply(&mut self, frame: &Value) {
        if frame["type"] == "presence_state" {
            *self = Picture::shown(frame);
            return;
        }
        assert_eq!(frame["type"], "presence_diff", "{frame}");
        for user in frame["leaves"].as_array().expect("a list of users") {
            let known = self.users.remove(&id(user));
            assert!(known.is_some(), "{user} left and was not there: {self:?}");
        }
        self.join(&frame["joins"]);
        self.total = frame["total"].as_u64();
    }

    /// Reads frames until the picture is of these users, and no more of them than these.
    ///
    /// # Panics
    ///
    /// As [`apply`](Self::apply), and if it never is.
    pub async fn until(&mut self, socket: &mut Socket, users: &[&str]) {
        while self.total.is_some() || self.ids() != users {
            let frame = socket.next().await;
            self.apply(&frame);
        }
    }

    /// The ids of the users it knows, sorted.
    pub fn ids(&self) -> Vec<&str> {
        self.users.keys().map(String::as_str).collect()
    }

    /// A user it knows.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub fn user(&self, id: &str) -> &Value {
        self.users.get(id).unwrap_or_else(|| panic!("{id} is not there: {self:?}"))
    }

    /// How many there are, where those it knows are not all.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    fn join(&mut self, users: &Value) {
        for user in users.as_array().expect("a list of users") {
            let known = self.users.insert(id(user), user.clone());
            assert!(known.is_none(), "{user} came and was there: {self:?}");
        }
    }
}

fn id(user: &Value) -> String {
    user["userId"].as_str().expect("a user has an id").to_owned()
}
