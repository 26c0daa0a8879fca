//! TLS: certificate and key from files, read again while the server runs.
//!
//! A new connection gets the newest configuration; those that are open keep theirs. Session tickets
//! belong to a configuration, so no client resumes a session with a certificate that was replaced.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::file_watch::FileWatch;

/// The only protocol that is offered. Sockets and event streams take their connection out of HTTP,
/// which HTTP/2 could not give.
const ALPN_HTTP_1_1: &[u8] = b"http/1.1";

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// In PEM: the server's certificate, then those between it and the root.
    pub(crate) certificate: PathBuf,
    /// In PEM.
    pub(crate) key: PathBuf,
}

/// The TLS of a server.
#[derive(Debug)]
pub(crate) struct Tls {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
}

/// Why certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot read the certificate from {path}")]
    Certificate {
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("there is no certificate in {path}; it must be in PEM")]
    NoCertificate { path: PathBuf },
    #[error("cannot read the private key from {path}; it must be in PEM, without a password")]
    Key {
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("the certificate in {certificate} cannot be used with the key in {key}")]
    Pair {
        certificate: PathBuf,
        key: PathBuf,
        #[source]
        source: rustls::Error,
    },
}

impl Tls {
    /// Reads certificate and key.
    ///
    /// # Errors
    ///
    /// What is wrong with which file.
    pub(crate) fn load(files: TlsFiles) -> Result<Tls, TlsError> {
        let current = RwLock::new(read(&files)?);
        Ok(Tls { files, current })
    }

    /// Shakes hands with a client.
    ///
    /// # Errors
    ///
    /// What the client made of it. The stream is dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the stream.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        TlsAcceptor::from(config).accept(stream).await
    }

    /// Reads both files again. What is in force stays if they cannot be used.
    fn reload(&self) {
        match read(&self.files) {
            Ok(config) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
                tracing::info!(certificate = %self.files.certificate.display(), "certificate loaded");
            }
            Err(err) => tracing::error!(
                error = &err as &dyn std::error::Error,
                "certificate cannot be loaded; the one before stays"
            ),
        }
    }
}

/// Reads certificate and key again when they change.
#[derive(Debug)]
pub(crate) struct Reloads {
    tls: Arc<Tls>,
    watch: FileWatch,
}

impl Reloads {
    /// Begins to watch both files.
    ///
    /// # Errors
    ///
    /// SIGHUP cannot be waited for.
    pub(crate) fn install(tls: Arc<Tls>) -> io::Result<Reloads> {
        let files = vec![tls.files.certificate.clone(), tls.files.key.clone()];
        Ok(Reloads { watch: FileWatch::install(files)?, tls })
    }

    /// Reloads on each SIGHUP and after each change. Never ends.
    pub(crate) async fn run(mut self) {
        loop {
            self.watch.changed().await;
            // Where one file was exchanged and the other not yet, the pair is refused, and the second
            // change tries again.
            self.tls.reload();
        }
    }
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let TlsFiles { certificate, key } = files;
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| TlsError::Certificate { path: certificate.clone(), source })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: certificate.clone() });
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|source| TlsError::Key { path: key.clone(), source })?;
    let pair =
        |source| TlsError::Pair { certificate: certificate.clone(), key: key.clone(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(pair)?;
    config.alpn_protocols = vec![ALPN_HTTP_1_1.to_vec()];
    Ok(Arc::new(config))
}
