//! The control socket: how the command line talks to a running server.
//!
//! A Unix socket in the data folder that only its owner may open. One request per connection: one
//! line of JSON each way.

use std::fs::{self, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use dormouse_node::Node;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::objects::describe;

/// Name of the socket in the data folder.
const SOCKET_NAME: &str = "control.sock";

/// Longest request.
const REQUEST_BYTES_MAX: u64 = 16 << 10;

/// A client that says nothing for so long is hung up on; a server that does not answer for so
/// long is not asked again.
const TIME_MAX: Duration = Duration::from_secs(10);

/// What the command line asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Request {
    List { kind: Option<String>, after: Option<String>, limit: usize },
    Show { kind: String, id: String },
}

/// The objects asked for, or a sentence that says why not.
type Answer = Result<Vec<Value>, String>;

/// A control socket that answers until it is dropped.
pub(crate) struct Control {
    path: PathBuf,
    task: JoinHandle<()>,
}

/// Opens the control socket. The caller holds the folder's lock, so a leftover is nobody's.
///
/// # Errors
///
/// The socket cannot be made.
pub(crate) fn start(folder: &Path, node: Node) -> io::Result<Control> {
    let path = folder.join(SOCKET_NAME);
    match fs::remove_file(&path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    let task = actix_rt::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => _ = actix_rt::spawn(serve(stream, node.clone())),
                Err(err) => {
                    tracing::warn!(error = &err as &dyn std::error::Error, "control socket failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(Control { path, task })
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        // A leftover is removed by the next start.
        _ = fs::remove_file(&self.path);
    }
}

/// Asks the server that runs on this folder; `None` if none does.
///
/// # Errors
///
/// A server runs, and does not answer.
pub(crate) fn ask(folder: &Path, request: &Request) -> Result<Option<Answer>, anyhow::Error> {
    let path = folder.join(SOCKET_NAME);
    let mut stream = match StdUnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(err)
            if matches!(
                err.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(err) => return Err(err).context(format!("cannot connect to {}", path.display())),
    };
    stream.set_read_timeout(Some(TIME_MAX))?;
    stream.set_write_timeout(Some(TIME_MAX))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).context("the server does not take the request")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("the server does not answer")?;
    Ok(Some(serde_json::from_slice(&answer).context("the server's answer cannot be read")?))
}

async fn serve(stream: UnixStream, node: Node) {
    // A client that hangs up or says nothing gets no answer, and needs none.
    _ = tokio::time::timeout(TIME_MAX, answer(stream, node)).await;
}

async fn answer(mut stream: UnixStream, node: Node) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    BufReader::new(reader.take(REQUEST_BYTES_MAX)).read_line(&mut line).await?;
    let answer: Answer = match serde_json::from_str::<Request>(&line) {
        Ok(request) => actix_rt::task::spawn_blocking(move || {
            describe::answer(node.store(), node.kinds(), Some(&node), &request)
        })
        .await
        .unwrap_or_else(|_| Err("the server is stopping".to_owned())),
        Err(err) => Err(format!("the request cannot be read: {err}")),
    };
    writer.write_all(&serde_json::to_vec(&answer)?).await
}
