//! `counter`: an integer that many people change and watch.
//!
//! A counter exists from its first mutation; before it, every read says zero. Its history is its
//! event log.

use dormouse::{Cx, Empty, Error, Methods, Object, Session, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The largest magnitude of a value: what a JavaScript number holds exactly.
const VALUE_MAX: i64 = (1 << 53) - 1;

const SELECT_COUNTER: &str =
    "SELECT value, operation_count, created_at_ms, updated_at_ms FROM counter";
const UPSERT_COUNTER: &str = "
    INSERT INTO counter (singleton, value, operation_count, created_at_ms, updated_at_ms)
    VALUES (1, ?1, ?2, ?3, ?4)
    ON CONFLICT (singleton) DO UPDATE SET value = ?1, operation_count = ?2, updated_at_ms = ?4";

/// A counter in memory: a cache of its one row.
#[derive(Clone, Debug)]
pub struct Counter {
    /// `None` until the first mutation.
    state: Option<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    value: i64,
    operation_count: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// What a counter's sockets receive.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum CounterEvent {
    /// The whole state, on connect.
    Initial {
        /// Now.
        value: i64,
        /// With it.
        metadata: Metadata,
        /// When this was read.
        timestamp: Timestamp,
    },
    /// An amount was added.
    Increment(Changed),
    /// An amount was taken away.
    Decrement(Changed),
    /// The value was set.
    SetValue(Changed),
    /// The value was set to zero.
    Reset(Changed),
}

/// One change of the value.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// After the change.
    pub value: i64,
    /// Before it.
    pub previous_value: i64,
    /// After the change.
    pub metadata: Metadata,
    /// When.
    pub timestamp: Timestamp,
}

/// A counter's row, as clients see it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Always 1: the row's id in the counter's own database.
    pub id: i64,
    /// The counter's name.
    pub name: String,
    /// Its value.
    pub value: i64,
    /// First mutation.
    pub created_at: Timestamp,
    /// Latest mutation.
    pub updated_at: Timestamp,
    /// How many mutations there were.
    pub operation_count: i64,
}

/// Input of `increment` and `decrement`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// By how much; 1 if left out.
    #[serde(default = "one")]
    pub amount: i64,
}

/// Input of `setValue`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetValue {
    /// The new value.
    pub value: i64,
}

/// Result of `getValue`.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Value {
    /// The value now.
    pub value: i64,
}

mod history;

pub use history::{GetHistory, History, Operation};

impl Object for Counter {
    const KIND: &'static str = "counter";
    type Event = CounterEvent;
    const MIGRATIONS: &'static [&'static str] = &[include_str!("counter/1_counter.sql")];

    fn methods() -> Methods<Self> {
        Methods::new()
            .id("name")
            .mutation("increment", Self::increment)
            .mutation("decrement", Self::decrement)
            .mutation("setValue", Self::set_value)
            .mutation("reset", Self::reset)
            .query("getValue", Self::get_value)
            .query("getMetadata", Self::get_metadata)
            .query("getHistory", Self::get_history)
    }

    fn wake(cx: &Cx<Self>) -> Result<Self, Error> {
        let state = cx.sql().row(SELECT_COUNTER, [], |row| {
            Ok(State {
                value: row.get(0)?,
                operation_count: row.get(1)?,
                created_at: Timestamp::from_ms(row.get(2)?),
                updated_at: Timestamp::from_ms(row.get(3)?),
            })
        })?;
        Ok(Counter { state })
    }

    fn initial(&self, cx: &Cx<Self>, _: &Session) -> Result<Option<CounterEvent>, Error> {
        let metadata = self.metadata(cx);
        Ok(Some(CounterEvent::Initial { value: metadata.value, metadata, timestamp: cx.now() }))
    }
}

impl Counter {
    fn increment(&mut self, cx: &mut Cx<Self>, input: Step) -> Result<CounterEvent, Error> {
        let value = self.value().checked_add(input.amount);
        self.change(cx, value, CounterEvent::Increment)
    }

    fn decrement(&mut self, cx: &mut Cx<Self>, input: Step) -> Result<CounterEvent, Error> {
        let value = self.value().checked_sub(input.amount);
        self.change(cx, value, CounterEvent::Decrement)
    }

    fn set_value(&mut self, cx: &mut Cx<Self>, input: SetValue) -> Result<CounterEvent, Error> {
        self.change(cx, Some(input.value), CounterEvent::SetValue)
    }

    fn reset(&mut self, cx: &mut Cx<Self>, _: Empty) -> Result<CounterEvent, Error> {
        self.change(cx, Some(0), CounterEvent::Reset)
    }

    fn get_value(&self, _: &Cx<Self>, _: Empty) -> Result<Value, Error> {
        Ok(Value { value: self.value() })
    }

    fn get_metadata(&self, cx: &Cx<Self>, _: Empty) -> Result<Metadata, Error> {
        Ok(self.metadata(cx))
    }

    /// Every mutation: stores the new value, tells everyone, and answers with the same event.
    /// `value` is `None` when arithmetic left the range of an `i64`.
    fn change(
        &mut self,
        cx: &mut Cx<Self>,
        value: Option<i64>,
        event: fn(Changed) -> CounterEvent,
    ) -> Result<CounterEvent, Error> {
        let value = value
            .filter(|value| value.abs_diff(0) <= VALUE_MAX.unsigned_abs())
            .ok_or_else(|| {
                Error::bad_request(format!("the value would leave ±{VALUE_MAX}; nothing changed"))
            })?;
        let previous_value = self.value();
        let state = State {
            value,
            operation_count: self.state.map_or(0, |state| state.operation_count) + 1,
            created_at: self.state.map_or(cx.now(), |state| state.created_at),
            updated_at: cx.now(),
        };
        let (created_at, updated_at) = (state.created_at.as_ms(), state.updated_at.as_ms());
        cx.sql().execute(UPSERT_COUNTER, (value, state.operation_count, created_at, updated_at))?;
        self.state = Some(state);

        let metadata = self.metadata(cx);
        let event = event(Changed { value, previous_value, metadata, timestamp: cx.now() });
        cx.broadcast(&event)?;
        Ok(event)
    }

    fn value(&self) -> i64 {
        self.state.map_or(0, |state| state.value)
    }

    fn metadata(&self, cx: &Cx<Self>) -> Metadata {
        let now = cx.now();
        let unborn = State { value: 0, operation_count: 0, created_at: now, updated_at: now };
        let state = self.state.unwrap_or(unborn);
        Metadata {
            id: 1,
            name: cx.id().to_owned(),
            value: state.value,
            created_at: state.created_at,
            updated_at: state.updated_at,
            operation_count: state.operation_count,
        }
    }
}

fn one() -> i64 {
    1
}

#[cfg(test)]
mod tests;
