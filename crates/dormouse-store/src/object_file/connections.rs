//! Connections, some of them open before an object needs one.
//!
//! Opening a connection and reading a schema takes longer than all else that a wake does. So a thread
//! keeps some connections to each kind's template, which no object has used: a new object takes one as
//! it is, and one that wakes puts its file in the template's place.
//!
//! # Invariants
//!
//! * **A spare has seen nobody's data.** Once taken, it is never given back.
//! * A file gets a spare only if it has the template's schema to the byte, on the same pages.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing::warn;

use super::connection::{self, Opened};
use super::containment::Containment;
use super::files::{Database, WalBuffer};
use super::wal_capture::WalCapture;
use super::{BEGIN, COMMIT, ROLLBACK};
use crate::clock::Clock;
use crate::disk::DiskFile;
use crate::template::{SELECT_IDENTITY, Template};

/// Spares of each template.
const SPARES_KEPT: usize = 8;

/// What the store itself asks of every object that wakes.
const STATEMENTS: [&str; 4] = [SELECT_IDENTITY, BEGIN, COMMIT, ROLLBACK];

/// How long after one was taken others are opened: whoever took it is served first.
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
        let wanting = self.state.lock().wanting().cloned();
        let Some(template) = wanting else { return Ok(false) };
        let spare = self.open_anew(&template)?;
        spare.containment.as_store(|| {
            let mut statements = STATEMENTS.iter().chain(template.statements());
            statements.try_for_each(|sql| spare.conn.prepare_cached(sql).map(drop))
        })?;
        if let Some(shelf) = self.state.lock().shelf_of(&template) {
            shelf.spares.push(spare);
        }
        Ok(true)
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

    /// Takes a spare, and has the thread open others.
    fn take(&self, template: &Arc<Template>) -> Option<Opened> {
        let mut state = self.state.lock();
        let spare = match state.shelf_of(template) {
            Some(shelf) => shelf.spares.pop(),
            None => {
                let template = Arc::clone(template);
                state.shelves.push(Shelf { template, spares: Vec::new() });
                None
            }
        };
        self.changed.notify_one();
        spare
    }

    /// Waits until spares are wanted, and a little longer. `false` when the store stops.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        let has_enough = |state: &mut State| !state.stopping && state.wanting().is_none();
        self.changed.wait_while(&mut state, has_enough);
        let is_running = |state: &mut State| !state.stopping;
        self.changed.wait_while_for(&mut state, is_running, REFILL_DELAY);
        !state.stopping
    }
}

impl State {
    /// A template that has too few spares.
    fn wanting(&self) -> Option<&Arc<Template>> {
        let shelf = self.shelves.iter().find(|shelf| shelf.spares.len() < SPARES_KEPT);
        shelf.map(|shelf| &shelf.template)
    }

    fn shelf_of(&mut self, template: &Arc<Template>) -> Option<&mut Shelf> {
        self.shelves.iter_mut().find(|shelf| Arc::ptr_eq(&shelf.template, template))
    }
}
