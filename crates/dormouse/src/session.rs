//! Who is connected and who calls.

use std::fmt;
use std::sync::Arc;

/// Names one session for as long as it can come back, also across reconnects.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(u128);

impl SessionId {
    /// A session id from 16 random bytes: it cannot be guessed.
    pub const fn from_random(bytes: [u8; 16]) -> SessionId {
        SessionId(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One connected socket as its object sees it.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// Who it belongs to; `None` on a server without tokens.
    pub user: Option<Arc<User>>,
}

/// A user, from a valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The token's `sub`.
    pub id: String,
    /// The name that other people see.
    pub username: String,
    /// Address of a picture of them: the token's `avatar`.
    pub avatar: Option<String>,
    /// What they may do: the token's `permissions`. The front door asks for [`READ`] and [`WRITE`];
    /// others mean what a kind says they mean.
    pub permissions: Vec<String>,
}

/// The permission to see objects: to ask queries and to listen.
pub const READ: &str = "read";

/// The permission to change objects.
pub const WRITE: &str = "write";

impl User {
    /// A user without a picture who may do nothing.
    pub fn new(id: impl Into<String>, username: impl Into<String>) -> User {
        let (id, username) = (id.into(), username.into());
        User { id, username, avatar: None, permissions: Vec::new() }
    }

    /// Whether the token gives this permission.
    pub fn may(&self, permission: &str) -> bool {
        self.permissions.iter().any(|given| given == permission)
    }
}

/// On whose behalf a handler runs.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The user of the token; `None` on a server without tokens.
    pub user: Option<Arc<User>>,
    /// The session, when the call came over a socket.
    pub session: Option<SessionId>,
}
