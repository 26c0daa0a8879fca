//! Whether every object of a data folder is intact.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::disk::RealDisk;
use crate::error::OpenError;
use crate::folder::{Folder, io_error};
use crate::key::Key;

/// An object whose file is not intact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, in one line.
    pub what: String,
}

/// What [`all`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Objects looked at.
    pub objects: u64,
    /// Those that are not intact.
    pub defects: Vec<Defect>,
}

/// Checks the integrity of every object of a closed data folder. Changes nothing.
///
/// After an unclean stop the files may lack what only the journal has: open the folder first. Calls
/// `progress` with the number of objects done, after each.
///
/// # Errors
///
/// [`OpenError::InUse`] while a server runs on it; [`OpenError::Format`]; [`OpenError::Io`].
pub fn all(folder: &Path, progress: &mut dyn FnMut(u64)) -> Result<Report, OpenError> {
    let folder = Folder::lock(folder)?;
    folder.read_state(&RealDisk)?;
    let mut report = Report::default();
    let objects = folder.objects_folder();
    for path in databases(&objects).map_err(|err| io_error("list", &objects, err))? {
        if let Some(defect) = defect_of(&folder, &path) {
            report.defects.push(defect);
        }
        report.objects += 1;
        progress(report.objects);
    }
    Ok(report)
}

/// What is wrong with one file of a closed folder, if anything.
pub(crate) fn defect_of(folder: &Folder, path: &Path) -> Option<Defect> {
    let defect = |what: String| Some(Defect { path: path.to_path_buf(), what });
    let conn = match open_closed(path) {
        Ok(conn) => conn,
        Err(err) => return defect(err.to_string()),
    };
    match integrity_of(&conn) {
        Ok(found) if found == "ok" => {}
        Ok(found) => return defect(found),
        Err(err) => return defect(err.to_string()),
    }
    match read_key(&conn) {
        Ok(Some(key)) if folder.object_path(&key) == path => None,
        Ok(Some(key)) => defect(format!("it holds {key}, which belongs in another file")),
        Ok(None) => defect("its name is none that this program gives".to_owned()),
        // A bare template: a loss of power in mode `os` took its first transaction from the journal.
        Err(rusqlite::Error::QueryReturnedNoRows) => None,
        Err(err) => defect(err.to_string()),
    }
}

/// SQLite's own check: `ok`, or the first thing that is wrong.
pub(crate) fn integrity_of(conn: &Connection) -> rusqlite::Result<String> {
    conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
}

/// All databases below a folder.
pub(crate) fn databases(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
            Err(err) => return Err(err),
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|extension| extension == "db") {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Opens a file that nobody has open, as it is without its WAL.
#[expect(clippy::disallowed_methods, reason = "a closed file is opened to read, without a WAL")]
pub(crate) fn open_closed(path: &Path) -> rusqlite::Result<Connection> {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                uri.push(char::from(*byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    // Immutable: neither a lock nor a WAL, which a file in WAL mode would otherwise need.
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(uri, flags)
}

fn read_key(conn: &Connection) -> rusqlite::Result<Option<Key>> {
    conn.query_row("SELECT kind, id FROM dormouse_object", [], |row| {
        let (kind, id): (String, String) = row.try_into()?;
        Ok(Key::new(kind, id).ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{add, key, open, settle, tally};

    #[test]
    fn a_file_with_a_changed_page_is_reported_and_the_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let mut paths = Vec::new();
        for id in ["a", "b", "c"] {
            let mut object = store.open_object(&key(id), &tally()).unwrap();
            add(&mut object, 1).unwrap();
            settle(&store, &object);
            paths.push(object.path().to_path_buf());
            object.hibernate().unwrap();
        }
        store.shut_down().unwrap();
        drop(store);
        let mut bytes = fs::read(&paths[1]).unwrap();
        bytes[1024..2048].fill(0xff);
        fs::write(&paths[1], bytes).unwrap();

        let mut done = Vec::new();
        let report = all(dir.path(), &mut |count| done.push(count)).unwrap();

        assert_eq!((report.objects, done), (3, vec![1, 2, 3]));
        let defective: Vec<_> = report.defects.iter().map(|defect| &defect.path).collect();
        assert_eq!(defective, [&paths[1]], "{report:?}");
    }

    #[test]
    fn a_folder_in_use_is_not_checked() {
        let dir = tempfile::tempdir().unwrap();
        let _store = open(dir.path());
        assert!(matches!(all(dir.path(), &mut |_| ()), Err(OpenError::InUse { .. })));
    }
}
