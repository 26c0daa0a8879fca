//! `faulty`: a value that can be set, and methods that fail in every way a method can.

use dormouse::{Cx, Empty, Error, LogLimits, Methods, Object, Session};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const SELECT_VALUE: &str = "SELECT value FROM faulty";
const UPSERT_VALUE: &str = "
    INSERT INTO faulty (singleton, value) VALUES (1, ?1)
    ON CONFLICT (singleton) DO UPDATE SET value = ?1";
const SELECT_SABOTAGE: &str = "SELECT panics, until_ms FROM sabotage";
const UPSERT_SABOTAGE: &str = "
    INSERT INTO sabotage (singleton, panics, until_ms) VALUES (1, ?1, ?2)
    ON CONFLICT (singleton) DO UPDATE SET panics = ?1, until_ms = ?2";
const INSERT_FILLER: &str = "INSERT INTO filler (bytes) VALUES (zeroblob(?1))";

/// Counts for ever.
const SELECT_ENDLESS: &str = "
    WITH RECURSIVE counting (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counting)
    SELECT count(*) FROM counting";

/// Writes for ever.
const INSERT_ENDLESS: &str = "
    WITH RECURSIVE counting (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counting)
    INSERT INTO faulty (singleton, value) SELECT 1, n FROM counting WHERE n < 0";

/// The object in memory.
#[derive(Debug)]
pub(crate) struct Faulty {
    value: i64,
}

/// What its sockets receive.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(crate) enum FaultyEvent {
    Initial {
        value: i64,
    },
    Set {
        value: i64,
    },
    /// An event that goes with no change.
    Announcement {
        text: String,
    },
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Value {
    value: i64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Statement {
    sql: String,
}

/// What became of a statement that the method went on after.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tried {
    is_refused: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Size {
    bytes: u32,
}

/// So many values of so many bytes each.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filler {
    values: u32,
    bytes: u32,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Sabotage {
    /// Whether `wake` panics rather than fails.
    panics: bool,
    /// For how long.
    for_ms: i64,
}

impl Object for Faulty {
    const KIND: &'static str = "faulty";
    type Event = FaultyEvent;
    const MIGRATIONS: &'static [&'static str] = &[include_str!("1_faulty.sql")];

    /// So little that a test can see the log being trimmed.
    const LOG: LogLimits = LogLimits { events_max: 50, bytes_max: 64 << 20 };

    fn methods() -> Methods<Self> {
        Methods::new()
            .mutation("set", Self::set)
            .query("get", Self::get)
            .mutation("announce", Self::announce)
            .mutation("panicAtOnce", |_, _, _: Empty| -> Result<Value, Error> { panic!("at once") })
            .mutation("panicAfterWrite", Self::panic_after_write)
            .query("panicWhileReading", |_, _, _: Empty| -> Result<Value, Error> {
                panic!("while reading")
            })
            .mutation("failAfterWrite", Self::fail_after_write)
            .mutation("failWithoutWrite", Self::fail_without_write)
            .mutation("leakIntoMemory", Self::leak_into_memory)
            .mutation("readForEver", |faulty, cx, _: Empty| faulty.read_for_ever(cx))
            .query("queryForEver", |faulty, cx, _: Empty| faulty.read_for_ever(cx))
            .mutation("writeForEver", Self::write_for_ever)
            .mutation("run", Self::run)
            .mutation("tryAndGoOn", Self::try_and_go_on)
            .mutation("announceHuge", Self::announce_huge)
            .mutation("fill", Self::fill)
            .mutation("sabotageWake", Self::sabotage_wake)
    }

    fn wake(cx: &Cx<Self>) -> Result<Self, Error> {
        let sabotage = cx
            .sql()
            .row(SELECT_SABOTAGE, [], |row| Ok((row.get::<_, bool>(0)?, row.get::<_, i64>(1)?)))?;
        if let Some((panics, until_ms)) = sabotage
            && cx.now().as_ms() < until_ms
        {
            assert!(!panics, "wake was told to panic");
            return Err(Error::internal("wake was told to fail"));
        }
        let value = cx.sql().row(SELECT_VALUE, [], |row| row.get(0))?.unwrap_or(0);
        Ok(Faulty { value })
    }

    fn initial(&self, _: &Cx<Self>, _: &Session) -> Result<Option<FaultyEvent>, Error> {
        Ok(Some(FaultyEvent::Initial { value: self.value }))
    }
}

impl Faulty {
    fn set(&mut self, cx: &mut Cx<Self>, input: Value) -> Result<Value, Error> {
        cx.sql().execute(UPSERT_VALUE, [input.value])?;
        self.value = input.value;
        cx.broadcast(&FaultyEvent::Set { value: input.value })?;
        Ok(input)
    }

    /// Both what is in memory and what is stored: a test sees at once if they differ.
    fn get(&self, cx: &Cx<Self>, _: Empty) -> Result<Value, Error> {
        let stored = cx.sql().row(SELECT_VALUE, [], |row| row.get(0))?.unwrap_or(0);
        if stored == self.value {
            Ok(Value { value: stored })
        } else {
            Err(Error::conflict(format!("{} in memory, {stored} stored", self.value)))
        }
    }

    fn announce(&mut self, cx: &mut Cx<Self>, _: Empty) -> Result<Value, Error> {
        cx.broadcast(&FaultyEvent::Announcement { text: "hear".to_owned() })?;
        Ok(Value { value: self.value })
    }

    fn panic_after_write(&mut self, cx: &mut Cx<Self>, input: Value) -> Result<Value, Error> {
        self.set(cx, input)?;
        panic!("after a write and a broadcast");
    }

    fn fail_after_write(&mut self, cx: &mut Cx<Self>, input: Value) -> Result<Value, Error> {
        self.set(cx, input)?;
        Err(Error::conflict("after a write and a broadcast"))
    }

    fn fail_without_write(&mut self, _: &mut Cx<Self>, _: Empty) -> Result<Value, Error> {
        Err(Error::conflict("without a write").with("value", &self.value))
    }

    /// Changes memory, then panics before anything is written.
    fn leak_into_memory(&mut self, _: &mut Cx<Self>, input: Value) -> Result<Value, Error> {
        self.value = input.value;
        panic!("after memory was changed");
    }

    fn read_for_ever(&self, cx: &Cx<Self>) -> Result<Value, Error> {
        let value = cx.sql().row(SELECT_ENDLESS, [], |row| row.get(0))?;
        Ok(Value { value: value.unwrap_or(self.value) })
    }

    fn write_for_ever(&mut self, cx: &mut Cx<Self>, input: Value) -> Result<Value, Error> {
        self.set(cx, input)?;
        cx.sql().execute(INSERT_ENDLESS, [])?;
        Ok(input)
    }

    fn run(&mut self, cx: &mut Cx<Self>, input: Statement) -> Result<Tried, Error> {
        cx.sql().row(&input.sql, [], |_| Ok(()))?;
        Ok(Tried { is_refused: false })
    }

    /// A write, a statement whose failure is ignored, and another write: all in one transaction.
    fn try_and_go_on(&mut self, cx: &mut Cx<Self>, input: Statement) -> Result<Tried, Error> {
        self.set(cx, Value { value: self.value + 1 })?;
        let is_refused = cx.sql().row(&input.sql, [], |_| Ok(())).is_err();
        self.set(cx, Value { value: self.value + 1 })?;
        Ok(Tried { is_refused })
    }

    fn announce_huge(&mut self, cx: &mut Cx<Self>, input: Size) -> Result<Value, Error> {
        let text = "x".repeat(usize::try_from(input.bytes).map_err(Error::internal)?);
        cx.broadcast(&FaultyEvent::Announcement { text })?;
        Ok(Value { value: self.value })
    }

    fn fill(&mut self, cx: &mut Cx<Self>, input: Filler) -> Result<Value, Error> {
        for _ in 0..input.values {
            cx.sql().execute(INSERT_FILLER, [input.bytes])?;
        }
        Ok(Value { value: self.value })
    }

    /// Takes effect when the object is loaded the next time.
    fn sabotage_wake(&mut self, cx: &mut Cx<Self>, input: Sabotage) -> Result<Value, Error> {
        let until_ms = cx.now().as_ms() + input.for_ms;
        cx.sql().execute(UPSERT_SABOTAGE, (input.panics, until_ms))?;
        Ok(Value { value: self.value })
    }
}
