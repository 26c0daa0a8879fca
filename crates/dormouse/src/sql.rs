//! SQL for handlers: prepared once, inside the handler's transaction.

use rusqlite::{Connection, Params, Row};

use crate::error::Error;

/// The object's database, for statements of the handler that runs now.
///
/// Every statement is prepared once per object and kept. Transactions, `ATTACH` and `PRAGMA` are
/// refused: the runtime opens one transaction per handler and decides about files. Statements
/// that together run longer than one second end with TIMEOUT.
#[derive(Clone, Copy, Debug)]
pub struct Sql<'a> {
    connection: &'a Connection,
}

/// What [`Sql::rows_while`] read.
#[derive(Clone, Debug)]
pub struct RowsRead<T> {
    /// The rows, in order.
    pub read: Vec<T>,
    /// Whether the reader stopped it; there are more rows then.
    pub stopped: bool,
}

impl<'a> Sql<'a> {
    pub(crate) fn new(connection: &'a Connection) -> Sql<'a> {
        Sql { connection }
    }

    /// Runs a statement that returns no rows; `Ok` is the number of rows it changed.
    ///
    /// # Errors
    ///
    /// Whatever SQLite refuses. Let it pass with `?`: the handler's transaction is undone.
    pub fn execute(self, sql: &str, params: impl Params) -> Result<usize, Error> {
        Ok(self.connection.prepare_cached(sql)?.execute(params)?)
    }

    /// The first row, read by `read`; `None` when there is none.
    ///
    /// # Errors
    ///
    /// Whatever SQLite or `read` refuses.
    pub fn row<T>(
        self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Error> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        match rows.next()? {
            Some(row) => Ok(Some(read(row)?)),
            None => Ok(None),
        }
    }

    /// All rows, each read by `read`. Bound the number with `LIMIT`: they are collected in memory.
    ///
    /// # Errors
    ///
    /// Whatever SQLite or `read` refuses.
    pub fn rows<T>(
        self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params, read)?;
        Ok(rows.collect::<rusqlite::Result<Vec<T>>>()?)
    }

    /// Rows, each read by `read`, until it gives `None` or there are no more.
    ///
    /// # Errors
    ///
    /// Whatever SQLite or `read` refuses.
    pub fn rows_while<T>(
        self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<Option<T>>,
    ) -> Result<RowsRead<T>, Error> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        let mut read_rows = Vec::new();
        while let Some(row) = rows.next()? {
            match read(row)? {
                Some(value) => read_rows.push(value),
                None => return Ok(RowsRead { read: read_rows, stopped: true }),
            }
        }
        Ok(RowsRead { read: read_rows, stopped: false })
    }
}
