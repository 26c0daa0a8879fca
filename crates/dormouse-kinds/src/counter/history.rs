//! `getHistory`: the counter's operations, read from its event log.

use dormouse::{Cx, Error, LoggedEvent, Offset, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::counter::{Changed, Counter, CounterEvent};

/// Most operations in one answer.
const LIMIT_MAX: u32 = 200;

/// Operations in one answer when the caller does not say.
const LIMIT_DEFAULT: u32 = 50;

/// Input of `getHistory`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetHistory {
    /// Only operations older than this offset; from the newest if left out.
    pub before: Option<u64>,
    /// At most so many, 1 to 200; 50 if left out.
    pub limit: Option<u32>,
}

/// Result of `getHistory`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct History {
    /// Newest first.
    pub operations: Vec<Operation>,
    /// Pass it as `before` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
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
        let limit = input.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Error::bad_request(format!("`limit` must be 1 to {LIMIT_MAX}")));
        }
        // One more than asked for tells whether there is a next page.
        let events = cx.log().before::<CounterEvent>(input.before.map(Offset::new), limit + 1)?;
        let mut operations: Vec<Operation> = events.into_iter().filter_map(operation).collect();
        let has_next = operations.len() > limit as usize;
        operations.truncate(limit as usize);
        let next = operations.last().filter(|_| has_next).map(|oldest| oldest.offset);
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
