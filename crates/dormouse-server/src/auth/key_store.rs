//! The keys in force, replaced while the server runs.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::auth::keys::{Key, KeyError, KeyRing, KeySettings, KeySource};
use crate::file_watch::FileWatch;

/// All keys, each source of them replaced on its own.
///
/// What is already open does not hear of it: a socket whose key was taken away lives until its token
/// expires.
#[derive(Debug)]
pub(crate) struct KeyStore {
    sources: Vec<KeySettings>,
    /// The keys of each source, in the order of `sources`.
    loaded: Mutex<Vec<Vec<Arc<Key>>>>,
    ring: RwLock<Arc<KeyRing>>,
}

impl KeyStore {
    /// Reads all keys that are on this machine. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// What is wrong with which file.
    pub(super) fn load(sources: Vec<KeySettings>) -> Result<KeyStore, KeyError> {
        let loaded = sources
            .iter()
            .map(|source| Ok(shared(source.load()?)))
            .collect::<Result<Vec<_>, KeyError>>()?;
        let ring = RwLock::new(Arc::new(KeyRing::new(loaded.concat())));
        Ok(KeyStore { sources, loaded: Mutex::new(loaded), ring })
    }

    /// Whether there is any source of keys.
    pub(crate) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Whether some keys have to be fetched.
    pub(super) fn has_addresses(&self) -> bool {
        self.sources.iter().any(|key| matches!(key.source, KeySource::JwksAddress(_)))
    }

    /// What is in force now.
    pub(super) fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts keys in the place of those that a source had.
    pub(super) fn replace(&self, source: usize, keys: Vec<Key>) {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded[source] = shared(keys);
        let ring = Arc::new(KeyRing::new(loaded.concat()));
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring;
    }

    pub(super) fn sources(&self) -> impl Iterator<Item = (usize, &KeySettings)> {
        self.sources.iter().enumerate()
    }

    /// Reads all files again. Of a file that cannot be used, the keys from before stay.
    fn reload(&self) {
        for (index, source) in self.sources().filter(|(_, source)| source.file().is_some()) {
            match source.load() {
                Ok(keys) => {
                    tracing::info!(key = source.id, "key loaded");
                    self.replace(index, keys);
                }
                Err(err) => tracing::error!(
                    error = &err as &dyn std::error::Error,
                    "key cannot be loaded; the one before stays"
                ),
            }
        }
    }
}

/// Reads the files of keys again when they change.
#[derive(Debug)]
pub(crate) struct KeyReloads {
    keys: Arc<KeyStore>,
    watch: FileWatch,
}

impl KeyReloads {
    /// Begins to watch.
    ///
    /// # Errors
    ///
    /// SIGHUP cannot be waited for.
    pub(crate) fn install(keys: Arc<KeyStore>) -> io::Result<KeyReloads> {
        let files = keys.sources().filter_map(|(_, source)| source.file());
        let watch = FileWatch::install(files.map(PathBuf::from).collect())?;
        Ok(KeyReloads { keys, watch })
    }

    /// Reloads on each SIGHUP and after each change. Never ends.
    pub(crate) async fn run(mut self) {
        loop {
            self.watch.changed().await;
            self.keys.reload();
        }
    }
}

fn shared(keys: Vec<Key>) -> Vec<Arc<Key>> {
    keys.into_iter().map(Arc::new).collect()
}
