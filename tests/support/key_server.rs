//! A server of somebody else that gives out a set of keys.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::token::Signer;

/// Gives out keys until it is dropped.
#[derive(Debug)]
pub struct KeyServer {
    address: SocketAddr,
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
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State { answer: set(signers), requests: 0 }));
        let serving = tokio::spawn(serve(listener, Arc::clone(&state)));
        KeyServer { address, state, serving }
    }

    /// Where the set is.
    pub fn url(&self) -> String {
        format!("http://{}/keys.json", self.address)
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

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        // A client that goes away needs no answer.
        _ = answer(stream, &state).await;
    }
}

/// Answers one request and closes the connection.
async fn answer(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    let answer = {
        let mut state = state.lock().expect("nobody panics");
        state.requests += 1;
        state.answer.clone()
    };
    writer.write_all(answer.as_bytes()).await?;
    writer.shutdown().await
}
