//! A server of somebody else that gives out a set of keys.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::tls::Certificate;
use crate::token::Signer;

/// Gives out keys until it is dropped.
#[derive(Debug)]
pub struct KeyServer {
    url: String,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    answer: String,
    requests: usize,
}

impl KeyServer {
    /// Starts a server with the public keys of these signers.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub async fn start(signers: &[&Signer]) -> KeyServer {
        KeyServer::listen(signers, None).await
    }

    /// Starts one that speaks TLS.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub async fn start_tls(signers: &[&Signer], certificate: &Certificate) -> KeyServer {
        KeyServer::listen(signers, Some(certificate.acceptor())).await
    }

    async fn listen(signers: &[&Signer], tls: Option<TlsAcceptor>) -> KeyServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let state = Arc::new(Mutex::new(State { answer: set(signers), requests: 0 }));
        let serving = tokio::spawn(serve(listener, tls, Arc::clone(&state)));
        KeyServer { url: format!("{scheme}://localhost:{port}/keys.json"), state, serving }
    }

    /// Where the set is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Gives out other keys from now on.
    ///
    /// # Panics
    ///
    /// Never.
    pub fn give(&self, signers: &[&Signer]) {
        self.state.lock().expect("nobody panics").answer = set(signers);
    }

    /// Answers with this from now on, head and body.
    ///
    /// # Panics
    ///
    /// Never.
    pub fn answer_with(&self, answer: impl Into<String>) {
        self.state.lock().expect("nobody panics").answer = answer.into();
    }

    /// How often somebody asked.
    ///
    /// # Panics
    ///
    /// Never.
    pub fn requests(&self) -> usize {
        self.state.lock().expect("nobody panics").requests
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn set(signers: &[&Signer]) -> String {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    let body = json!({ "keys": keys }).to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        // A client that goes away, or that does not trust, needs no answer.
        match &tls {
            None => _ = answer(stream, &state).await,
            Some(tls) => {
                if let Ok(stream) = tls.accept(stream).await {
                    _ = answer(stream, &state).await;
                }
            }
        }
    }
}

/// Answers one request and closes the connection.
async fn answer<S>(stream: S, state: &Mutex<State>) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > "\r\n".len() {
        line.clear();
    }
    let answer = {
        let mut state = state.lock().expect("nobody panics");
        state.requests += 1;
        state.answer.clone()
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
