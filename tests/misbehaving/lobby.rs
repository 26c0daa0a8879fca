//! `lobby`: knows its sessions by tags and by what they gave it, and says who has gone.

use dormouse::{Cx, Empty, Error, Methods, Object, Sender, Session};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The object in memory: nothing, all it knows is noted about its sessions.
#[derive(Debug)]
pub(crate) struct Lobby;

/// What its sockets receive.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(crate) enum LobbyEvent {
    Initial {},
    Opened {},
    /// To one who asked: what the object knows of them, and who else has a tag.
    Seen {
        tags: Vec<String>,
        note: Option<String>,
        tagged: Vec<Guest>,
    },
    Left {
        who: Option<String>,
        note: Option<String>,
    },
}

/// Somebody who is connected.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Guest {
    username: String,
    permissions: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enter {
    tags: Vec<String>,
    note: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Look {
    tag: String,
}

impl Object for Lobby {
    const KIND: &'static str = "lobby";
    type Event = LobbyEvent;
    const MIGRATIONS: &'static [&'static str] = &[];

    fn methods() -> Methods<Self> {
        Methods::new()
            .mutation("open", Self::open)
            .message("enter", Sender::Writer, Self::enter)
            .message("look", Sender::Reader, Self::look)
            .closed(Self::closed)
    }

    fn wake(_: &Cx<Self>) -> Result<Self, Error> {
        Ok(Lobby)
    }

    fn initial(&self, _: &Cx<Self>, _: &Session) -> Result<Option<LobbyEvent>, Error> {
        Ok(Some(LobbyEvent::Initial {}))
    }
}

impl Lobby {
    fn open(&mut self, cx: &mut Cx<Self>, _: Empty) -> Result<(), Error> {
        cx.broadcast(&LobbyEvent::Opened {}).map(drop)
    }

    fn enter(&mut self, cx: &mut Cx<Self>, session: &Session, it: Enter) -> Result<(), Error> {
        let tags: Vec<&str> = it.tags.iter().map(String::as_str).collect();
        cx.accept(session.id, &tags)?;
        cx.set_attachment(session.id, &it.note)
    }

    fn look(&mut self, cx: &mut Cx<Self>, session: &Session, it: Look) -> Result<(), Error> {
        let tagged = cx.sessions(Some(&it.tag)).into_iter().map(|session| {
            let user = session.user.as_deref();
            Guest {
                username: user.map_or_else(|| "nobody".to_owned(), |user| user.username.clone()),
                permissions: user.map(|user| user.permissions.clone()).unwrap_or_default(),
            }
        });
        let seen = LobbyEvent::Seen {
            tagged: tagged.collect(),
            tags: cx.tags(session.id),
            note: cx.attachment(session.id)?,
        };
        cx.send(session.id, &seen)
    }

    fn closed(&mut self, cx: &mut Cx<Self>, session: &Session) -> Result<(), Error> {
        let who = session.user.as_ref().map(|user| user.id.clone());
        let left = LobbyEvent::Left { who, note: cx.attachment(session.id)? };
        cx.broadcast(&left).map(drop)
    }
}
