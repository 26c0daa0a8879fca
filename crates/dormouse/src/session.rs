//! Who is connected and who calls.

use std::fmt;
use std::sync::Arc;

use dormouse_store::Timestamp;

/// Names one session for as long as it can come back, also across reconnects.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(u128);

impl SessionId {
    /// A session id from 16 random bytes: it cannot be guessed.
    pub const fn from_random(bytes: [u8; 16]) -> SessionId {
        SessionId(u128::from_be_bytes(bytes))
    }

    /// Reads what a client was told: 32 hexadecimal digits. `None` if it is something else.
    pub fn parse(text: &str) -> Option<SessionId> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u128::from_str_radix(text, 16).ok().map(SessionId)).flatten()
    }

    /// As it stands in an object's file.
    pub(crate) const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
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
    /// Who it belongs to; `None` where no token is needed and none was shown.
    pub user: Option<Arc<User>>,
    /// When it first connected. It stays the same when it comes back.
    pub joined_at: Timestamp,
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

impl Session {
    /// The session as a caller.
    pub fn caller(&self) -> Caller {
        Caller { user: self.user.clone(), session: Some(self.id) }
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
