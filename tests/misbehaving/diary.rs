//! `diary`: for users only, and says whom it takes its callers for.

use dormouse::{Cx, Empty, Error, Methods, Object, Session};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The object in memory: nothing.
#[derive(Debug)]
pub(crate) struct Diary;

/// What its sockets receive.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(crate) enum DiaryEvent {
    Initial { reader: Option<String> },
    Written { author: Option<String> },
}

/// A caller, as handlers see them.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Reader {
    id: Option<String>,
    username: Option<String>,
    avatar: Option<String>,
    permissions: Vec<String>,
}

impl Object for Diary {
    const KIND: &'static str = "diary";
    type Event = DiaryEvent;
    const MIGRATIONS: &'static [&'static str] = &[];
    const NEEDS_USER: bool = true;

    fn methods() -> Methods<Self> {
        Methods::new().query("reader", Self::reader).mutation("write", Self::write)
    }

    fn wake(_: &Cx<Self>) -> Result<Self, Error> {
        Ok(Diary)
    }

    fn initial(&self, _: &Cx<Self>, session: &Session) -> Result<Option<DiaryEvent>, Error> {
        let reader = session.user.as_ref().map(|user| user.id.clone());
        Ok(Some(DiaryEvent::Initial { reader }))
    }
}

impl Diary {
    fn reader(&self, cx: &Cx<Self>, _: Empty) -> Result<Reader, Error> {
        let user = cx.caller().user.as_deref();
        Ok(Reader {
            id: user.map(|user| user.id.clone()),
            username: user.map(|user| user.username.clone()),
            avatar: user.and_then(|user| user.avatar.clone()),
            permissions: user.map(|user| user.permissions.clone()).unwrap_or_default(),
        })
    }

    fn write(&mut self, cx: &mut Cx<Self>, _: Empty) -> Result<(), Error> {
        let author = cx.caller().user.as_ref().map(|user| user.id.clone());
        cx.broadcast(&DiaryEvent::Written { author })?;
        Ok(())
    }
}
