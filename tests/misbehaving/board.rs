//! `board`: text that is kept, pointers of which the newest counts, and ticks that may be missed.

use dormouse::{Audience, Cx, Error, Methods, Object, Session};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The object in memory: nothing, its log is all it has.
#[derive(Debug)]
pub(crate) struct Board;

/// What its sockets receive.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(crate) enum BoardEvent {
    Initial {},
    Written { text: String },
    Pointer { who: String, x: u32 },
    Tick { n: u32 },
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Write {
    text: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Point {
    who: String,
    x: u32,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tick {
    n: u32,
}

impl Object for Board {
    const KIND: &'static str = "board";
    type Event = BoardEvent;
    const MIGRATIONS: &'static [&'static str] = &[];

    fn methods() -> Methods<Self> {
        Methods::new()
            .mutation("write", Self::write)
            .mutation("point", Self::point)
            .mutation("tick", Self::tick)
    }

    fn wake(_: &Cx<Self>) -> Result<Self, Error> {
        Ok(Board)
    }

    fn initial(&self, _: &Cx<Self>, _: &Session) -> Result<Option<BoardEvent>, Error> {
        Ok(Some(BoardEvent::Initial {}))
    }
}

impl Board {
    fn write(&mut self, cx: &mut Cx<Self>, Write { text }: Write) -> Result<(), Error> {
        cx.broadcast(&BoardEvent::Written { text })?;
        Ok(())
    }

    /// Moves a pointer, which whoever moves it has seen already.
    fn point(&mut self, cx: &mut Cx<Self>, Point { who, x }: Point) -> Result<(), Error> {
        let others = cx.caller().session.map_or(Audience::Everyone, Audience::Except);
        cx.broadcast_latest(&who, others, &BoardEvent::Pointer { who: who.clone(), x })
    }

    fn tick(&mut self, cx: &mut Cx<Self>, Tick { n }: Tick) -> Result<(), Error> {
        cx.broadcast_lossy(Audience::Everyone, &BoardEvent::Tick { n })
    }
}
