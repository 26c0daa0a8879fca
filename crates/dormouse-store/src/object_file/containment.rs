//! What keeps a handler's SQL inside its transaction ("handlers are contained").
//!
//! Limits on the sizes of values, and three hooks on the object's connection, all of which let the
//! store's own statements pass:
//!
//! * an authorizer refuses to prepare what would end the transaction or reach outside of the file;
//! * a commit hook refuses every commit that is not the store's: SQLite rolls a transaction back by
//!   itself on some errors, and what a handler does after that would otherwise commit alone;
//! * a progress handler interrupts SQL that runs for too long.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;

use crate::clock::Clock;

/// Virtual machine steps between two looks at the clock: some tens of microseconds.
const PROGRESS_STEPS: i32 = 4096;

/// Pragmas that only read, and that SQLite's own full-text search asks for.
const PRAGMAS_READ: [&str; 2] = ["data_version", "page_size"];

/// No handler is running.
const NO_DEADLINE_NS: u64 = u64::MAX;

/// The switchboard of the hooks of one object's connections.
#[derive(Clone)]
pub(crate) struct Containment {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    sql_time_max: Duration,
    value_bytes_max: i32,
    /// Whether the store itself runs the statement.
    store_speaks: AtomicBool,
    /// On the clock's monotonic time.
    deadline_ns: AtomicU64,
    timed_out: AtomicBool,
}

impl Containment {
    /// Limits for handlers: how long their SQL may run, and how large one value may be, in bytes.
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        sql_time_max: Duration,
        value_bytes_max: u64,
    ) -> Containment {
        let shared = Shared {
            clock,
            sql_time_max,
            value_bytes_max: i32::try_from(value_bytes_max).unwrap_or(i32::MAX),
            store_speaks: AtomicBool::new(false),
            deadline_ns: AtomicU64::new(NO_DEADLINE_NS),
            timed_out: AtomicBool::new(false),
        };
        Containment { shared: Arc::new(shared) }
    }

    /// Puts the hooks on a connection.
    pub(crate) fn install(&self, conn: &mut Connection) -> rusqlite::Result<()> {
        conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, self.shared.value_bytes_max)?;
        let shared = Arc::clone(&self.shared);
        conn.authorizer(Some(move |context: AuthContext<'_>| {
            if shared.store_speaks.load(Ordering::Relaxed) || is_allowed(&context.action) {
                Authorization::Allow
            } else {
                Authorization::Deny
            }
        }))?;
        let shared = Arc::clone(&self.shared);
        conn.commit_hook(Some(move || !shared.store_speaks.load(Ordering::Relaxed)))?;
        let shared = Arc::clone(&self.shared);
        conn.progress_handler(PROGRESS_STEPS, Some(move || shared.is_too_late()))
    }

    /// Runs statements of the store's own.
    pub(crate) fn as_store<T>(&self, statements: impl FnOnce() -> T) -> T {
        self.shared.store_speaks.store(true, Ordering::Relaxed);
        let result = statements();
        self.shared.store_speaks.store(false, Ordering::Relaxed);
        result
    }

    /// Starts the clock of a handler.
    pub(crate) fn begin(&self) {
        let deadline = self.shared.clock.monotonic() + self.shared.sql_time_max;
        let deadline_ns = u64::try_from(deadline.as_nanos()).unwrap_or(NO_DEADLINE_NS);
        self.shared.deadline_ns.store(deadline_ns, Ordering::Relaxed);
        self.shared.timed_out.store(false, Ordering::Relaxed);
    }

    /// Stops the clock of a handler: what comes now is the store's work.
    pub(crate) fn end(&self) {
        self.shared.deadline_ns.store(NO_DEADLINE_NS, Ordering::Relaxed);
    }

    /// Whether SQL was interrupted since [`begin`](Self::begin).
    pub(crate) fn timed_out(&self) -> bool {
        self.shared.timed_out.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn is_too_late(&self) -> bool {
        let deadline_ns = self.deadline_ns.load(Ordering::Relaxed);
        if deadline_ns == NO_DEADLINE_NS {
            return false;
        }
        let is_too_late = self.clock.monotonic() > Duration::from_nanos(deadline_ns);
        if is_too_late {
            self.timed_out.store(true, Ordering::Relaxed);
        }
        is_too_late
    }
}

impl fmt::Debug for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Containment").field("timed_out", &self.timed_out()).finish_non_exhaustive()
    }
}

/// Whether a handler may prepare a statement that does this.
///
/// Temporary tables are refused because they would outlive the transaction on the connection, and a
/// handler that failed must leave no trace.
fn is_allowed(action: &AuthAction<'_>) -> bool {
    match action {
        AuthAction::Transaction { .. }
        | AuthAction::Savepoint { .. }
        | AuthAction::Attach { .. }
        | AuthAction::Detach { .. }
        | AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempView { .. } => false,
        AuthAction::Pragma { pragma_name, pragma_value } => {
            pragma_value.is_none()
                && PRAGMAS_READ.iter().any(|name| pragma_name.eq_ignore_ascii_case(name))
        }
        // SQLite's list of actions is open, and all the others stay inside the file.
        _ => true,
    }
}
