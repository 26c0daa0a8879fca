//! `getHistory`: the counter's operations, read from its event log.

use dormouse::{Cx, Error, LoggedEvent, Offset, PageLimit, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::counter::{Changed, Counter, CounterEvent};

/// Input of `getHistory`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetHistory {
    /// Only operations older than this offset; from the newest if left out.
    pub before: Option<u64>,
    /// At most so many, 1 to 200; 50 if left out.
    #[serde(default)]
    pub limit: PageLimit,
}

/// Result of `getHistory`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct History {
    /// Newest first.
    pub operations: Vec<Operation>,
    /// Pass it as `before` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub next: Option<u64>,
}

/// One operation of the past.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Its place in the event log.
    pub offset: u64,
    /// What was done.
    pub r#type: OperationType,
    /// The value after it.
    pub value: i64,
    /// The value before it.
    pub previous_value: i64,
    /// When.
    pub timestamp: Timestamp,
}

/// The mutation behind an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OperationType {
    /// `increment`
    Increment,
    /// `decrement`
    Decrement,
    /// `setValue`
    SetValue,
    /// `reset`
    Reset,
}

impl Counter {
    pub(super) fn get_history(&self, cx: &Cx<Self>, input: GetHistory) -> Result<History, Error> {
        let before = input.before.map(Offset::new);
        let events = cx.log().before::<CounterEvent>(before, input.limit.read())?;
        let page = input.limit.cut(events.into_iter().filter_map(operation).collect());
        let operations: Vec<Operation> = page.items;
        let next = operations.last().filter(|_| page.has_next).map(|oldest| oldest.offset);
        Ok(History { operations, next })
    }
}

fn operation(logged: LoggedEvent<CounterEvent>) -> Option<Operation> {
    let (r#type, changed) = match logged.event {
        // It is never in the log: it is what a socket gets on connect.
        CounterEvent::Initial { .. } => return None,
        CounterEvent::Increment(changed) => (OperationType::Increment, changed),
        CounterEvent::Decrement(changed) => (OperationType::Decrement, changed),
        CounterEvent::SetValue(changed) => (OperationType::SetValue, changed),
        CounterEvent::Reset(changed) => (OperationType::Reset, changed),
    };
    let Changed { value, previous_value, timestamp, .. } = changed;
    Some(Operation { offset: logged.offset.get(), r#type, value, previous_value, timestamp })
}
