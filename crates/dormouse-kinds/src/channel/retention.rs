//! How long messages are kept.

use std::time::Duration;

use dormouse::{Cx, Error, Timestamp};

use super::shards::ToShard;
use super::{Channel, ChannelSettings, part};

/// The alarm that deletes old messages.
const PRUNE: &str = "prune";

/// Most messages that are deleted in one go, so that others have their turn.
const PRUNED_MAX: u32 = 500;

impl Channel {
    /// Sees to it that a message which was just stored is deleted in time.
    pub(super) fn expect_pruning(cx: &mut Cx<Self>) -> Result<(), Error> {
        let Some(retention) = retention(cx)? else { return Ok(()) };
        if cx.alarm(PRUNE)?.is_some() {
            // It comes for an older message, and then sees to the next.
            return Ok(());
        }
        cx.set_alarm(PRUNE, later(cx.now(), retention))
    }

    /// Deletes what is too old, from the log as well.
    pub(super) fn prune(cx: &mut Cx<Self>) -> Result<(), Error> {
        let Some(retention) = retention(cx)? else { return Ok(()) };
        let now = cx.now();
        let oldest = part::store(cx).oldest(PRUNED_MAX + 1)?;
        let is_old = |timestamp: Timestamp| later(timestamp, retention) <= now;
        let pruned = oldest.iter().take_while(|age| is_old(age.timestamp)).count();
        let pruned = pruned.min(usize::try_from(PRUNED_MAX).unwrap_or(usize::MAX));
        if let Some(last) = pruned.checked_sub(1).and_then(|last| oldest.get(last)) {
            part::store(cx).delete_up_to(last.seq)?;
            cx.forget_events(last.seq)?;
            Self::tell_shards(cx, &ToShard::Prune { up_to: last.id.clone() })?;
        }
        match oldest.get(pruned) {
            Some(next) => cx.set_alarm(PRUNE, later(next.timestamp, retention)),
            None => Ok(()),
        }
    }
}

fn retention(cx: &Cx<Channel>) -> Result<Option<Duration>, Error> {
    Ok(cx.settings::<ChannelSettings>()?.retention)
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(time)
}
