//! How long messages are kept.

use std::time::Duration;

use dormouse::{Cx, Error, Offset, Timestamp};

use super::part::{self, Part};
use super::shards::ToShard;
use super::store::Age;
use super::{Channel, ChannelSettings};

/// The alarm that deletes old messages.
const PRUNE: &str = "prune";

/// Most messages that are deleted in one go, so that others have their turn.
const PRUNED_MAX: u32 = 500;

impl Channel {
    /// Sees to it that messages are deleted in time, also if the setting is newer than they are.
    pub(super) fn expect_pruning(cx: &mut Cx<Self>) -> Result<(), Error> {
        let Some(retention) = retention(cx)? else { return Ok(()) };
        let oldest = part::store(cx).oldest(1)?;
        let Some(oldest) = oldest.first() else { return Ok(()) };
        let due = oldest.timestamp.saturating_add(retention);
        if cx.alarm(PRUNE)?.is_none_or(|set| due < set) {
            cx.set_alarm(PRUNE, due)?;
        }
        Ok(())
    }

    /// Deletes what is too old, from the log as well, and from the shards.
    pub(super) fn prune(cx: &mut Cx<Self>) -> Result<(), Error> {
        let Some(retention) = retention(cx)? else { return Ok(()) };
        let kept_from = cx.now().as_ms().saturating_sub(duration_ms(retention));
        if let Some(last) = delete_old(cx, Timestamp::from_ms(kept_from))? {
            let prune = ToShard::Prune { up_to: last.timestamp.as_ms() };
            Self::tell_shards(cx, Offset::ZERO, &prune)?;
        }
        Self::expect_pruning(cx)
    }
}

/// Deletes the oldest messages, as far as they are no newer than this. Gives the last of them. The newest
/// event of the log stays there until the next one comes.
pub(super) fn delete_old<P: Part>(cx: &mut Cx<P>, up_to: Timestamp) -> Result<Option<Age>, Error> {
    let oldest = part::store(cx).oldest(PRUNED_MAX)?;
    let old = oldest.iter().take_while(|age| age.timestamp <= up_to);
    let Some(last) = old.last().copied() else { return Ok(None) };
    part::store(cx).delete_up_to(last.seq)?;
    cx.forget_events(last.seq)?;
    Ok(Some(last))
}

fn retention(cx: &Cx<Channel>) -> Result<Option<Duration>, Error> {
    Ok(cx.settings::<ChannelSettings>()?.retention)
}

fn duration_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
