//! What a new object's database looks like.

use std::fmt;
use std::io;

use rusqlite::{Connection, MAIN_DB};

use crate::catalog::CatalogEntry;
use crate::key::Key;
use crate::object_file::configure_sqlite;

/// Size of a page of every object's database.
///
/// Small pages make small transactions cheap to journal.
pub(crate) const PAGE_BYTES: u32 = 1024;

/// Where the header of a database says how to write it and how to read it: 1 for a rollback
/// journal, 2 for a WAL.
const FORMAT_BYTES: std::ops::Range<usize> = 18..20;

/// Parts of a database's header that change without the schema: the number of changes, of pages and of
/// free pages, and for which number of changes the number of pages is valid, and by which SQLite.
/// <https://www.sqlite.org/fileformat2.html#the_database_header>
const HEADER_COUNTERS: [std::ops::Range<usize>; 2] = [24..40, 92..100];

/// The tables that every object has. `dormouse_object` has one row from the object's first
/// transaction on, and none in the template: a file without that row is not an object yet.
///
/// The text has no needless blanks: every object's file contains it.
const CREATE_STORE_TABLES: &str = "\
    CREATE TABLE dormouse_schema (\
        name TEXT PRIMARY KEY, \
        version INTEGER NOT NULL\
    ) WITHOUT ROWID; \
    CREATE TABLE dormouse_object (\
        singleton INTEGER PRIMARY KEY CHECK (singleton = 1), \
        kind TEXT NOT NULL, \
        id TEXT NOT NULL, \
        generation INTEGER NOT NULL, \
        created_ms INTEGER NOT NULL\
    );";

const INSERT_OBJECT: &str = "
    INSERT INTO dormouse_object (singleton, kind, id, generation, created_ms)
    VALUES (1, ?1, ?2, ?3, ?4)";

const UPSERT_VERSION: &str = "
    INSERT INTO dormouse_schema (name, version) VALUES (?1, ?2)
    ON CONFLICT (name) DO UPDATE SET version = ?2";

/// Numbered, forward-only migrations under one name.
///
/// A kind has its own set and shares others, such as that of the event log. The version of each set
/// is kept in the object's table `dormouse_schema(name PRIMARY KEY, version)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MigrationSet {
    /// Name of the set, unique within a template.
    pub name: &'static str,
    /// SQL scripts. Step n brings version n to version n + 1; steps are never changed, only added.
    pub steps: &'static [&'static str],
}

/// The database of an object of one kind that nobody has written to yet, and how to bring older
/// files to the same schema.
pub struct Template {
    /// The database, in WAL mode.
    image: Vec<u8>,
    sets: Vec<MigrationSet>,
    /// All versions in one line, to compare with what a file says in one query.
    versions: String,
    /// The pages that hold the schema, without what changes in them, each with its offset.
    schema: Vec<(usize, Vec<u8>)>,
    /// What is prepared on every connection that is opened ahead.
    statements: &'static [&'static str],
}

/// Why a template could not be built. The kind's author has to change its SQL.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// Two sets have the same name.
    #[error("two migration sets are called {name}")]
    DuplicateSet {
        /// The name.
        name: &'static str,
    },
    /// A step is not valid SQL.
    #[error("step {step} of the migrations {set} of kind {kind} does not run")]
    Step {
        /// The kind.
        kind: String,
        /// The name of the set.
        set: &'static str,
        /// The step, counted from 1.
        step: usize,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// SQLite could not make or copy the database.
    #[error("a template cannot be made in memory")]
    Sqlite(#[source] rusqlite::Error),
}

/// A set whose version in a file is not that of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Behind<'a> {
    pub set: &'a MigrationSet,
    /// Version of the file; negative if the file says so.
    pub found: i64,
}

impl Template {
    /// Runs all migrations of `sets`, in order, on an empty database in memory.
    ///
    /// `statements` is SQL that every wake needs, prepared with `prepare_cached`: it only saves time.
    ///
    /// # Errors
    ///
    /// [`TemplateError`]: the SQL of the kind is wrong.
    pub fn build(
        kind: &str,
        sets: Vec<MigrationSet>,
        statements: &'static [&'static str],
    ) -> Result<Template, TemplateError> {
        for (index, set) in sets.iter().enumerate() {
            if sets[..index].iter().any(|earlier| earlier.name == set.name) {
                return Err(TemplateError::DuplicateSet { name: set.name });
            }
        }
        let mut conn = empty_database().map_err(TemplateError::Sqlite)?;
        for set in &sets {
            for (index, step) in set.steps.iter().enumerate() {
                conn.execute_batch(step).map_err(|source| TemplateError::Step {
                    kind: kind.to_owned(),
                    set: set.name,
                    step: index + 1,
                    source,
                })?;
            }
            write_version(&conn, set).map_err(TemplateError::Sqlite)?;
        }
        let versions = read_versions(&conn).map_err(TemplateError::Sqlite)?;
        let mut image = conn.serialize(MAIN_DB).map_err(TemplateError::Sqlite)?.to_vec();
        image[FORMAT_BYTES].fill(2);
        let schema = schema_pages(&conn, &image).map_err(TemplateError::Sqlite)?;
        Ok(Template { image, sets, versions, schema, statements })
    }

    /// A database in WAL mode.
    pub(crate) fn image(&self) -> &[u8] {
        &self.image
    }

    /// What is to be prepared ahead.
    pub(crate) fn statements(&self) -> &'static [&'static str] {
        self.statements
    }

    /// Whether a database has the very schema of the template, on the same pages. `read` fills a buffer
    /// from an offset of the database on.
    ///
    /// A version of the schema is not enough: databases that got there on different ways may have the
    /// same.
    pub(crate) fn has_schema_of(
        &self,
        mut read: impl FnMut(&mut [u8], u64) -> io::Result<()>,
    ) -> io::Result<bool> {
        let mut page = vec![0; PAGE_BYTES as usize];
        for (offset, expected) in &self.schema {
            read(&mut page, *offset as u64)?;
            forget_counters(*offset, &mut page);
            if page != *expected {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All versions in one line, as [`read_versions`] gives them.
    pub(crate) fn versions(&self) -> &str {
        &self.versions
    }

    /// The sets of which `versions` has another version than this program.
    pub(crate) fn behind(&self, versions: &str) -> Vec<Behind<'_>> {
        let version_of = |name: &str| {
            let mut pairs = versions.split(',').filter_map(|pair| pair.rsplit_once('='));
            pairs.find(|(found, _)| *found == name).and_then(|(_, version)| version.parse().ok())
        };
        let behind =
            self.sets.iter().map(|set| Behind { set, found: version_of(set.name).unwrap_or(0) });
        behind.filter(|it| usize::try_from(it.found) != Ok(it.set.steps.len())).collect()
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template")
            .field("bytes", &self.image.len())
            .field("sets", &self.sets)
            .finish_non_exhaustive()
    }
}

/// Records that a database is at the newest version of a set.
pub(crate) fn write_version(conn: &Connection, set: &MigrationSet) -> rusqlite::Result<()> {
    conn.execute(UPSERT_VERSION, (set.name, set.steps.len())).map(drop)
}

/// Makes a database that of one object: part of the object's first transaction.
pub(crate) fn write_object(
    conn: &Connection,
    key: &Key,
    generation: u64,
    entry: &CatalogEntry,
) -> rusqlite::Result<()> {
    let row = (key.kind(), key.id(), generation.cast_signed(), entry.created_at.as_ms());
    conn.execute(INSERT_OBJECT, row).map(drop)
}

/// The SQL expression of all versions in one line.
macro_rules! versions {
    () => {
        "(SELECT coalesce(group_concat(name || '=' || version, ',' ORDER BY name), '') \
         FROM dormouse_schema)"
    };
}

/// All versions of a database in one line, `<set>=<version>` in the order of names.
fn read_versions(conn: &Connection) -> rusqlite::Result<String> {
    conn.query_row(concat!("SELECT ", versions!()), [], |row| row.get(0))
}

/// What an object's database says about itself, and all versions as [`read_versions`] gives them.
pub(crate) const SELECT_IDENTITY: &str =
    concat!("SELECT kind, id, generation, created_ms, ", versions!(), " FROM dormouse_object");

/// The pages of a database that hold its schema, those of long texts too, each with its offset.
fn schema_pages(conn: &Connection, image: &[u8]) -> rusqlite::Result<Vec<(usize, Vec<u8>)>> {
    let page_bytes = PAGE_BYTES as usize;
    let sql = "SELECT pageno FROM dbstat WHERE name = 'sqlite_schema'";
    let mut statement = conn.prepare(sql)?;
    let pages = statement.query_map([], |row| {
        let offset = (row.get::<_, usize>(0)? - 1) * page_bytes;
        let mut page = image[offset..offset + page_bytes].to_vec();
        forget_counters(offset, &mut page);
        Ok((offset, page))
    })?;
    pages.collect()
}

/// Wipes what has nothing to do with the schema from a page of it.
fn forget_counters(offset: usize, page: &mut [u8]) {
    if offset == 0 {
        HEADER_COUNTERS.into_iter().for_each(|counters| page[counters].fill(0));
    }
}

fn empty_database() -> rusqlite::Result<Connection> {
    configure_sqlite();
    let conn = Connection::open_in_memory()?;
    conn.pragma_update(None, "page_size", PAGE_BYTES)?;
    conn.execute_batch(CREATE_STORE_TABLES)?;
    Ok(conn)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: MigrationSet =
        MigrationSet { name: "log", steps: &["CREATE TABLE event (n INTEGER PRIMARY KEY)"] };
    const KIND: MigrationSet = MigrationSet {
        name: "kind",
        steps: &["CREATE TABLE note (title)", "ALTER TABLE note ADD COLUMN blob"],
    };

    #[test]
    fn a_template_is_a_database_in_wal_mode_with_small_pages() {
        let template = Template::build("note", vec![LOG, KIND], &[]).unwrap();

        assert_eq!(template.image()[FORMAT_BYTES], [2, 2]);
        assert_eq!(template.image()[16..18], [4, 0]);
        assert_eq!(template.versions(), "kind=2,log=1");
    }

    #[test]
    fn a_step_that_does_not_run_is_named() {
        let bad = MigrationSet { name: "kind", steps: &["SELECT 1", "CREATE TABEL note"] };
        let err = Template::build("note", vec![bad], &[]).unwrap_err();
        assert!(matches!(err, TemplateError::Step { set: "kind", step: 2, .. }), "{err}");
    }

    #[test]
    fn two_sets_of_one_name_are_refused() {
        let err = Template::build("note", vec![LOG, LOG], &[]).unwrap_err();
        assert!(matches!(err, TemplateError::DuplicateSet { name: "log" }), "{err}");
    }

    #[test]
    fn sets_of_another_version_are_found_wherever_they_stand_in_the_line() {
        let template = Template::build("note", vec![LOG, KIND], &[]).unwrap();

        assert_eq!(template.behind("kind=2,log=1"), []);
        assert_eq!(template.behind("kind=1,log=1"), [Behind { set: &KIND, found: 1 }]);
        assert_eq!(template.behind("kind=2"), [Behind { set: &LOG, found: 0 }]);
        assert_eq!(template.behind("kind=9,log=1"), [Behind { set: &KIND, found: 9 }]);
    }
}
