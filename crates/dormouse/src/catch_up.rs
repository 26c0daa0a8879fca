//! What a socket that connects or fell behind gets: `initial`, or `resumed` and what it missed.

use crate::cx::Cx;
use crate::encoded_event::{EncodedEvent, splice};
use crate::error::Error;
use crate::event_log::{LogBounds, Offset};
use crate::instance::{Attach, Attached, Page};
use crate::object::Object;
use crate::session::{Session, SessionId};

/// Most bytes of events in one answer to a socket that catches up.
const PAGE_BYTES_MAX: usize = 256 << 10;

/// `resumed`, if the socket wants it, and the first of what was missed.
pub(crate) fn resume<O: Object>(
    cx: &Cx<O>,
    attach: &Attach,
    since: Offset,
) -> Result<Attached, Error> {
    if !attach.says_resumed {
        let page = page_after(cx, since)?;
        return Ok(Attached { direct: None, page, presence_version: None });
    }
    let tail = cx.log.tail;
    let replayed = if attach.mask == u128::MAX {
        tail.get() - since.get()
    } else {
        LogBounds::count_passing(cx.file.connection(), since, cx.types(), attach.mask)?
    };
    let direct = format!(
        r#"{{"type":"resumed","epoch":"{}","offset":{},"replayed":{replayed},"session":"{}"}}"#,
        cx.epoch(),
        tail.get(),
        attach.session.id,
    );
    let page = page_after(cx, since)?;
    Ok(Attached { direct: Some(direct), page, presence_version: None })
}

/// The kind's `initial`, at the tail.
pub(crate) fn start_over<O: Object>(
    object: &O,
    cx: &Cx<O>,
    session: &Session,
) -> Result<Attached, Error> {
    let tail = cx.log.tail;
    let initial = object.initial(cx, session)?;
    let direct = initial
        .map(|event| serde_json::to_string(&event))
        .transpose()
        .map_err(Error::internal)?
        .map(|body| with_position(cx, &body, session.id));
    let page = Page { events: Vec::new(), reached: tail, tail: true };
    Ok(Attached { direct, page, presence_version: cx.presence_version() })
}

/// Adds to an event that shows the whole state where in the log that state is, and whose socket it
/// is sent to.
pub(crate) fn with_position<O: Object>(cx: &Cx<O>, event: &str, session: SessionId) -> String {
    let (epoch, offset) = (cx.epoch(), cx.log.tail.get());
    splice(event, &format!(r#""epoch":"{epoch}","offset":{offset},"session":"{session}""#))
}

pub(crate) fn page_after<O: Object>(cx: &Cx<O>, since: Offset) -> Result<Page, Error> {
    let mut events = Vec::new();
    let mut reached = since;
    let mut bytes = 0;
    LogBounds::replay(cx.file.connection(), since, |event| {
        // One event always fits, or a large one would never be passed.
        if bytes > 0 && bytes + event.body.len() > PAGE_BYTES_MAX {
            return false;
        }
        bytes += event.body.len();
        reached = event.offset;
        let type_index = cx.types().index(event.event_type);
        events.push(EncodedEvent::logged(event.offset, type_index, event.body));
        true
    })?;
    Ok(Page { events, reached, tail: reached == cx.log.tail })
}
