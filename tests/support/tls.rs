//! Certificates, and clients that speak TLS.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::deadline::within;
use crate::server::Server;

/// The name that certificates are for.
const NAME: &str = "localhost";

/// A certificate for `localhost` that signed itself, with its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    der: CertificateDer<'static>,
    pem: String,
    key_pem: String,
}

impl Certificate {
    /// Makes one that is like no other.
    ///
    /// # Panics
    ///
    /// If there is no randomness.
    pub fn new() -> Certificate {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a name is enough");
        Certificate {
            der: made.cert.der().clone(),
            pem: made.cert.pem(),
            key_pem: made.signing_key.serialize_pem(),
        }
    }

    /// Puts certificate and key in place of those in a folder, each in one step. Gives both paths.
    ///
    /// # Panics
    ///
    /// If they cannot be written.
    pub fn install(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let paths = (folder.join("certificate.pem"), folder.join("key.pem"));
        for (path, text) in [(&paths.0, &self.pem), (&paths.1, &self.key_pem)] {
            let new = path.with_extension("new");
            std::fs::write(&new, text).expect("the folder takes files");
            std::fs::rename(&new, path).expect("the folder takes files");
        }
        paths
    }

    /// The certificate in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// What a server with this certificate shakes hands with.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).expect("it is in PEM");
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key)
            .expect("they belong together");
        TlsAcceptor::from(Arc::new(config))
    }

    /// The key in PEM.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Whether a server showed this one.
    pub fn is_of(&self, stream: &TlsStream<TcpStream>) -> bool {
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        shown == Some(&self.der)
    }
}

impl Default for Certificate {
    fn default() -> Certificate {
        Certificate::new()
    }
}

impl Server {
    /// Connects with TLS, trusting these certificates.
    ///
    /// # Errors
    ///
    /// The handshake failed.
    ///
    /// # Panics
    ///
    /// If the server does not listen.
    pub async fn connect_tls(&self, trusted: &[&Certificate]) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for certificate in trusted {
            roots.add(certificate.der.clone()).expect("it is a certificate");
        }
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(NAME).expect("it is a name");
        let shaken = async {
            let stream = TcpStream::connect(self.address()).await.expect("the server listens");
            stream.set_nodelay(true)?;
            TlsConnector::from(Arc::new(config)).connect(name, stream).await
        };
        within("a TLS handshake", shaken).await
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
