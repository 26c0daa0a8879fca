//! Connections, some of them open before an object needs one.
//!
//! Opening a connection and reading a schema takes longer than all else that a wake does. So a thread
//! keeps some connections to each kind's template, which no object has used: a new object takes one as
//! it is, and one that wakes puts its file in the template's place. What at least half of the kind's objects
//! have used before they fell asleep is prepared on them.
//!
//! # Invariants
//!
//! * **A spare has seen nobody's data.** Once taken, it is never given back.
//! * What a handler prepared is prepared as a handler's: the authorizer looks at it again.
//! * A file gets a spare only if it has the template's schema to the byte, on the same pages.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing::warn;

use super::connection::{self, Opened};
use super::containment::Containment;
use super::files::{Database, WalBuffer};
use super::hot_statements::HotStatements;
use super::wal_capture::WalCapture;
use super::{BEGIN, COMMIT, ROLLBACK};
use crate::clock::Clock;
use crate::disk::DiskFile;
use crate::template::{SELECT_IDENTITY, Template};

/// Spares of each template.
const SPARES_KEPT: usize = 8;

/// So many may be left before others are opened: whoever takes one seldom has to wake a thread.
const SPARES_LOW: usize = 4;

/// What the store itself asks of every object that wakes.
const STATEMENTS: [&str; 4] = [SELECT_IDENTITY, BEGIN, COMMIT, ROLLBACK];

/// How long after few were left others are opened: whoever took the last one is served first.
const REFILL_DELAY: Duration = Duration::from_millis(2);

/// Opens the connections of a store.
pub(crate) struct Connections {
    clock: Arc<dyn Clock>,
    sql_time_max: Duration,
    value_bytes_max: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// One for each template that is in use.
    shelves: Vec<Shelf>,
    stopping: bool,
}

struct Shelf {
    template: Arc<Template>,
    spares: Vec<Opened>,
    hot_statements: HotStatements,
}

impl Connections {
    /// Limits for handlers: how long their SQL may run, and how large one value may be, in bytes.
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        sql_time_max: Duration,
        value_bytes_max: u64,
    ) -> Connections {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Connections { clock, sql_time_max, value_bytes_max, state, changed }
    }

    /// A connection to a database that has what is in `wal` besides, of which `capture` is in the log.
    pub(crate) fn open(
        &self,
        database: Database,
        wal: WalBuffer,
        capture: WalCapture,
    ) -> rusqlite::Result<Opened> {
        let clock = Arc::clone(&self.clock);
        let containment = Containment::new(clock, self.sql_time_max, self.value_bytes_max);
        connection::open(database, wal, capture, containment)
    }

    /// A connection to a template.
    pub(crate) fn open_template(&self, template: &Arc<Template>) -> rusqlite::Result<Opened> {
        self.take(template).map_or_else(|| self.open_anew(template), Ok)
    }

    /// A connection to a file.
    pub(crate) fn open_file(
        &self,
        file: Box<dyn DiskFile>,
        template: &Arc<Template>,
    ) -> rusqlite::Result<Opened> {
        let read = |page: &mut [u8], offset| file.read_at(page, offset);
        // What cannot be read is for SQLite to report.
        if template.has_schema_of(read).unwrap_or(false)
            && let Some(spare) = self.take(template)
        {
            spare.database.exchange_for(file);
            return Ok(spare);
        }
        self.open(Database::in_file(file), WalBuffer::default(), WalCapture::default())
    }

    /// Opens a spare where one is wanted. `Ok(false)` if there are enough.
    ///
    /// # Errors
    ///
    /// SQLite's. Nothing happened.
    pub(crate) fn refill_one(&self) -> rusqlite::Result<bool> {
        let wanting = self.state.lock().with_fewer_than(SPARES_KEPT).map(|shelf| {
            let Shelf { template, hot_statements, .. } = shelf;
            let known = STATEMENTS.len() + template.statements().len();
            let free = connection::STATEMENTS_KEPT.saturating_sub(known);
            (Arc::clone(template), hot_statements.hot(free))
        });
        let Some((template, hot_statements)) = wanting else { return Ok(false) };
        let spare = self.open_anew(&template)?;
        spare.containment.as_store(|| {
            let mut statements = STATEMENTS.iter().chain(template.statements());
            statements.try_for_each(|sql| spare.conn.prepare_cached(sql).map(drop))
        })?;
        for sql in hot_statements {
            // Some need a table that is made on demand.
            _ = spare.conn.prepare_cached(&sql);
        }
        if let Some(shelf) = self.state.lock().shelf_of(&template) {
            shelf.spares.push(spare);
        }
        Ok(true)
    }

    /// Notes what an object that falls asleep has used.
    pub(crate) fn learn_from(&self, object: &Opened, template: &Arc<Template>) {
        let is_known =
            |sql: &str| STATEMENTS.contains(&sql) || template.statements().contains(&sql);
        // What was prepared ahead and has not run is not used.
        let has_run = |(sql, has_run): (String, bool)| has_run.then_some(sql);
        let run = connection::statements(&object.conn).into_iter().filter_map(has_run);
        let mut statements: Vec<String> = run.filter(|sql| !is_known(sql)).collect();
        statements.sort_unstable();
        statements.dedup();
        if let Some(shelf) = self.state.lock().shelf_of(template) {
            shelf.hot_statements.count(&statements);
        }
    }

    /// Opens spares until the store stops. The body of their thread.
    pub(crate) fn refill_until_stopped(&self) {
        while self.wait() {
            while self.refill_one().unwrap_or_else(|err| {
                // Whoever needs a connection now opens one, and learns whether that fails.
                warn!(error = &err as &dyn std::error::Error, "cannot open a connection ahead");
                false
            }) {}
        }
    }

    /// Ends [`refill_until_stopped`](Self::refill_until_stopped), and closes the spares.
    pub(crate) fn stop(&self) {
        let mut state = self.state.lock();
        state.stopping = true;
        state.shelves.clear();
        self.changed.notify_all();
    }

    fn open_anew(&self, template: &Arc<Template>) -> rusqlite::Result<Opened> {
        let database = Database::new(Arc::clone(template));
        self.open(database, WalBuffer::default(), WalCapture::default())
    }

    /// Takes a spare, and has the thread open others when few are left.
    fn take(&self, template: &Arc<Template>) -> Option<Opened> {
        let mut state = self.state.lock();
        let spare = match state.shelf_of(template) {
            Some(shelf) => shelf.spares.pop(),
            None => {
                state.shelves.push(Shelf::new(template));
                None
            }
        };
        let are_few = state.with_fewer_than(SPARES_LOW).is_some();
        drop(state);
        if are_few {
            self.changed.notify_one();
        }
        spare
    }

    /// Waits until few spares are left, and a little longer. `false` when the store stops.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        let has_enough =
            |state: &mut State| !state.stopping && state.with_fewer_than(SPARES_LOW).is_none();
        self.changed.wait_while(&mut state, has_enough);
        let is_running = |state: &mut State| !state.stopping;
        self.changed.wait_while_for(&mut state, is_running, REFILL_DELAY);
        !state.stopping
    }
}

impl Shelf {
    fn new(template: &Arc<Template>) -> Shelf {
        let hot_statements = HotStatements::default();
        Shelf { template: Arc::clone(template), spares: Vec::new(), hot_statements }
    }
}

impl State {
    /// A template's shelf that has fewer spares than so many.
    fn with_fewer_than(&self, count: usize) -> Option<&Shelf> {
        self.shelves.iter().find(|shelf| shelf.spares.len() < count)
    }

    fn shelf_of(&mut self, template: &Arc<Template>) -> Option<&mut Shelf> {
        self.shelves.iter_mut().find(|shelf| Arc::ptr_eq(&shelf.template, template))
    }
}
