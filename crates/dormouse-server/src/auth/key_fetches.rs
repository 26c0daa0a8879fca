//! Sets of keys at addresses: fetched at the start, every few minutes, and when a token names a key
//! that is not known.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use awc::error::{PayloadError, SendRequestError};
use awc::{Client, Connector};
use futures_util::future::join_all;
use rustls::{ClientConfig, RootCertStore};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::auth::jwks::{self, JwksAddress, JwksError};
use crate::auth::key_store::KeyStore;
use crate::auth::keys::{Algorithm, KEY_FILE_BYTES_MAX, Key, KeySource};

/// How often sets are fetched if nobody asks.
const REFRESH_INTERVAL: Duration = Duration::from_secs(300);

/// The same after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// How soon after one token with an unknown key the next may have sets fetched: whoever makes up keys
/// must not make this server a nuisance to another one.
const ASKED_INTERVAL_MIN: Duration = Duration::from_secs(10);

/// Longest time for one set.
const FETCH_TIME_MAX: Duration = Duration::from_secs(5);

/// What the threads that check tokens share with the task that fetches.
#[derive(Debug, Default)]
pub(crate) struct Refreshes {
    asked: Notify,
    asking: Mutex<Asking>,
    /// Changes after each round.
    done: watch::Sender<()>,
    succeeded: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug, Default)]
struct Asking {
    last: Option<Instant>,
    /// Whether a round was asked for and is not over.
    is_pending: bool,
}

/// The task that fetches.
pub(crate) struct KeyFetches {
    keys: Arc<KeyStore>,
    refreshes: Arc<Refreshes>,
    client: Client,
    sources: Vec<Source>,
    hang_up: Signal,
}

struct Source {
    /// Its place among the sources of keys.
    index: usize,
    id: String,
    algorithm: Algorithm,
    address: JwksAddress,
    /// `None` before the first time.
    has_failed: Option<bool>,
}

/// Why a set could not be fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the request failed")]
    Request(#[source] SendRequestError),
    #[error("the answer has the status {0}")]
    Status(u16),
    #[error("the answer cannot be read")]
    Body(#[source] PayloadError),
    #[error("the answer cannot be used")]
    Set(#[source] JwksError),
    #[error("the answer took longer than {} s", FETCH_TIME_MAX.as_secs())]
    Time,
}

impl Refreshes {
    /// Asks for a round, because of a token whose key is not known. `None` if there was one a moment
    /// ago: then the key is unknown indeed.
    pub(super) fn ask(&self) -> Option<Round> {
        let done = self.done.subscribe();
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let is_too_soon = asking.last.is_some_and(|last| last.elapsed() < ASKED_INTERVAL_MIN);
        if !asking.is_pending {
            if is_too_soon {
                return None;
            }
            *asking = Asking { last: Some(Instant::now()), is_pending: true };
            self.asked.notify_one();
        }
        Some(Round { done })
    }

    /// How many sets were fetched, by how that went.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 2] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [("ok", read(&self.succeeded)), ("failed", read(&self.failed))]
    }

    fn end_round(&self) {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner).is_pending = false;
        self.done.send_replace(());
    }
}

/// A round that is under way.
pub(crate) struct Round {
    done: watch::Receiver<()>,
}

impl Round {
    /// Waits for its end, but not longer than it may take.
    pub(crate) async fn end(mut self) {
        _ = tokio::time::timeout(FETCH_TIME_MAX, self.done.changed()).await;
    }
}

impl KeyFetches {
    /// Prepares to fetch all sets of a store that are at addresses. `None` if there are none.
    ///
    /// # Errors
    ///
    /// SIGHUP cannot be waited for, or TLS cannot be set up.
    pub(crate) fn new(
        keys: &Arc<KeyStore>,
        refreshes: &Arc<Refreshes>,
    ) -> io::Result<Option<KeyFetches>> {
        let sources: Vec<Source> = keys
            .sources()
            .filter_map(|(index, key)| match &key.source {
                KeySource::JwksAddress(address) => Some(Source {
                    index,
                    id: key.id.clone(),
                    algorithm: key.algorithm,
                    address: address.clone(),
                    has_failed: None,
                }),
                KeySource::Secret(_)
                | KeySource::SecretFile(_)
                | KeySource::PublicKeyFile(_)
                | KeySource::JwksFile(_) => None,
            })
            .collect();
        if sources.is_empty() {
            return Ok(None);
        }
        Ok(Some(KeyFetches {
            keys: Arc::clone(keys),
            refreshes: Arc::clone(refreshes),
            client: client()?,
            sources,
            hang_up: signal(SignalKind::hangup())?,
        }))
    }

    /// Fetches all sets. Of one that cannot be fetched, the keys from before stay.
    pub(crate) async fn fetch(&mut self) {
        let fetched = join_all(self.sources.iter().map(|source| source.fetch(&self.client))).await;
        for (source, fetched) in self.sources.iter_mut().zip(fetched) {
            let count = match &fetched {
                Ok(_) => &self.refreshes.succeeded,
                Err(_) => &self.refreshes.failed,
            };
            count.fetch_add(1, Ordering::Relaxed);
            source.note(fetched.as_ref().err());
            if let Ok(keys) = fetched {
                self.keys.replace(source.index, keys);
            }
        }
        self.refreshes.end_round();
    }

    /// Fetches all sets again and again. Never ends.
    pub(crate) async fn run(mut self) {
        loop {
            let is_failing = self.sources.iter().any(|source| source.has_failed == Some(true));
            let pause = if is_failing { RETRY_INTERVAL } else { REFRESH_INTERVAL };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.refreshes.asked.notified() => {}
                _ = self.hang_up.recv() => {}
            }
            self.fetch().await;
        }
    }
}

impl Source {
    async fn fetch(&self, client: &Client) -> Result<Vec<Key>, FetchError> {
        let fetched = tokio::time::timeout(FETCH_TIME_MAX, self.request(client)).await;
        fetched.unwrap_or(Err(FetchError::Time))
    }

    async fn request(&self, client: &Client) -> Result<Vec<Key>, FetchError> {
        let request = client.get(self.address.uri()).insert_header(("accept", "application/json"));
        let mut response = request.send().await.map_err(FetchError::Request)?;
        let status = response.status();
        // Redirections are not followed: who may say which keys count stands in the settings.
        if !status.is_success() {
            return Err(FetchError::Status(status.as_u16()));
        }
        let bytes_max = usize::try_from(KEY_FILE_BYTES_MAX).unwrap_or(usize::MAX);
        let body = response.body().limit(bytes_max).await.map_err(FetchError::Body)?;
        jwks::parse(&body, self.algorithm).map_err(FetchError::Set)
    }

    /// Logs how fetching went if it went otherwise than the last time.
    fn note(&mut self, err: Option<&FetchError>) {
        let before = self.has_failed.replace(err.is_some());
        match err {
            Some(err) if before != Some(true) => tracing::warn!(
                key = self.id,
                error = err as &dyn std::error::Error,
                "keys cannot be fetched; those from before stay"
            ),
            None if before != Some(false) => tracing::info!(key = self.id, "keys fetched"),
            Some(_) | None => {}
        }
    }
}

fn client() -> io::Result<Client> {
    let mut roots = RootCertStore::empty();
    // What cannot be read is left out, as browsers do: one broken file must not take all trust away.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = Connector::new().rustls_0_23(Arc::new(config)).timeout(FETCH_TIME_MAX);
    Ok(Client::builder().connector(connector).timeout(FETCH_TIME_MAX).disable_redirects().finish())
}
