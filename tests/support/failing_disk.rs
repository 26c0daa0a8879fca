//! Disks that fail: one that only pretends to, and one that is really too small.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::data_folder::DataFolder;
use crate::server::ServerBuilder;

/// What stands between the server and its files.
const SHIM_SOURCE: &str = include_str!("failing_disk.c");

/// What a [`FailingDisk`] does wrong. Each names what it does it to: a part of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Writes that make a file longer fail, as on a full disk.
    Full(&'static str),
    /// Every change fails, as on a disk that the kernel made read-only after an error.
    ReadOnly(&'static str),
    /// Writes fail with `EIO`.
    Write(&'static str),
    /// Syncs fail with `EIO`.
    Sync(&'static str),
}

/// A library between the server and the machine's file system. It needs no rights, only the C
/// compiler that SQLite needs too.
#[derive(Debug)]
pub struct FailingDisk {
    library: PathBuf,
    control: PathBuf,
}

impl FailingDisk {
    /// A disk below this data folder that does not fail yet.
    ///
    /// # Panics
    ///
    /// If there is no C compiler.
    pub fn below(data: &DataFolder) -> FailingDisk {
        let source = data.parent().join("failing_disk.c");
        let library = data.parent().join("failing_disk.so");
        fs::write(&source, SHIM_SOURCE).expect("the temporary folder takes files");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status();
        assert!(compiled.is_ok_and(|status| status.success()), "cc compiles {}", source.display());
        FailingDisk { library, control: data.parent().join("fault") }
    }

    /// Puts it under a server.
    #[must_use]
    pub fn under(&self, server: ServerBuilder) -> ServerBuilder {
        server.env("LD_PRELOAD", &self.library).env("FAILING_DISK_CONTROL", &self.control)
    }

    /// Fails from now on.
    ///
    /// # Panics
    ///
    /// If the fault cannot be written down.
    pub fn fail(&self, fault: Fault) {
        let text = match fault {
            Fault::Full(part) => format!("full {part}"),
            Fault::ReadOnly(part) => format!("readonly {part}"),
            Fault::Write(part) => format!("write {part}"),
            Fault::Sync(part) => format!("sync {part}"),
        };
        let draft = self.control.with_extension("new");
        fs::write(&draft, text).expect("the temporary folder takes files");
        fs::rename(&draft, &self.control).expect("it is the same folder");
    }

    /// Is a good disk from now on.
    ///
    /// # Panics
    ///
    /// If it did not fail.
    pub fn mend(&self) {
        fs::remove_file(&self.control).expect("it failed before");
    }
}

/// A file system of its own around a data folder, in memory and of a fixed size.
#[derive(Debug)]
pub struct SmallDisk {
    data: DataFolder,
}

impl SmallDisk {
    /// Mounts one of so many MiB.
    ///
    /// # Errors
    ///
    /// What `mount` says: only root may do that, and not in every container.
    pub fn mount(data: &DataFolder, mib: u32) -> Result<SmallDisk, String> {
        let size = format!("size={mib}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(data.parent())
            .output()
            .map_err(|err| err.to_string())?;
        if mounted.status.success() {
            Ok(SmallDisk { data: data.clone() })
        } else {
            Err(String::from_utf8_lossy(&mounted.stderr).trim().to_owned())
        }
    }

    /// Takes all space that is left.
    ///
    /// # Panics
    ///
    /// If the disk fails in another way than by being full.
    pub fn fill(&self) {
        let mut ballast =
            File::options().create(true).append(true).open(self.ballast()).expect("it opens");
        // Small pieces at the end: the last page counts too.
        for piece in [1 << 20, 4096] {
            let full = (0..).find_map(|_| ballast.write_all(&vec![1; piece]).err());
            let kind = full.expect("a disk ends").kind();
            assert_eq!(kind, io::ErrorKind::StorageFull, "the disk is full");
        }
    }

    /// Takes so many MiB.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub fn take_mib(&self, mib: usize) {
        fs::write(self.ballast(), vec![1; mib << 20]).expect("there is space");
    }

    /// Gives back what was taken.
    ///
    /// # Panics
    ///
    /// If nothing was.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("something was taken");
    }

    /// Makes it read-only, or writable again. No file on it may be open to be written.
    ///
    /// # Panics
    ///
    /// If one is.
    pub fn set_read_only(&self, read_only: bool) {
        let options = if read_only { "remount,ro" } else { "remount,rw" };
        let status = Command::new("mount").args(["-o", options]).arg(self.root()).status();
        assert!(status.is_ok_and(|status| status.success()), "mount -o {options}");
    }

    fn root(&self) -> &Path {
        self.data.parent()
    }

    fn ballast(&self) -> PathBuf {
        self.root().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that is being killed may still hold it.
        _ = Command::new("umount").arg("-l").arg(self.root()).status();
    }
}
