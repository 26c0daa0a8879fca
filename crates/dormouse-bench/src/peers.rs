//! The servers that are measured side by side, and how each is started.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

/// Where Dormouse looks for the secret of tokens.
const SECRET_VARIABLE: &str = "DORMOUSE_AUTH_SECRET";

/// A server that speaks the counter's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// This project's server; every event is durable before it is sent.
    Dormouse,
    /// `Bun.serve` with publish to a topic; nothing is stored.
    Bun,
    /// The same with one shared SQLite file, WAL, `synchronous=FULL`; events are durable first.
    BunSqlite,
    /// Node.js with the `ws` package; nothing is stored.
    Ws,
    /// Cloudflare's Durable Objects runtime with SQLite storage; events are durable first.
    Workerd,
}

/// Where the programs are and what Dormouse is started with.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// The binary `dormouse`.
    pub(crate) dormouse: PathBuf,
    /// Arguments after those that this tool sets itself.
    pub(crate) dormouse_args: Vec<String>,
    /// What Dormouse checks tokens with; `None` for a server without any.
    pub(crate) dormouse_secret: Option<&'static str>,
}

impl Peer {
    /// Every peer, in the order of the table's columns.
    pub(crate) const ALL: [Peer; 5] =
        [Peer::Dormouse, Peer::Bun, Peer::BunSqlite, Peer::Ws, Peer::Workerd];

    /// Heading of the peer's column.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Peer::Dormouse => "Dormouse",
            Peer::Bun => "Bun",
            Peer::BunSqlite => "Bun + SQLite",
            Peer::Ws => "node `ws`",
            Peer::Workerd => "workerd",
        }
    }

    /// The command that serves on `address` and keeps its data in `data`.
    pub(crate) fn command(self, address: SocketAddr, data: &Path, programs: &Programs) -> Command {
        let peers = peers_folder();
        let port = address.port().to_string();
        match self {
            Peer::Dormouse => {
                let mut command = Command::new(&programs.dormouse);
                command.args(["serve", "--listen", &address.to_string(), "--data"]).arg(data);
                command.args(&programs.dormouse_args);
                match programs.dormouse_secret {
                    Some(secret) => command.env(SECRET_VARIABLE, secret),
                    None => command.env_remove(SECRET_VARIABLE),
                };
                command
            }
            Peer::Bun => {
                let mut command = bun(&peers);
                command.arg(port);
                command
            }
            Peer::BunSqlite => {
                let mut command = bun(&peers);
                command.arg(port).arg(data.join("counters.sqlite"));
                command
            }
            Peer::Ws => {
                let mut command = Command::new("node");
                command.env("NODE_ENV", "production").arg(peers.join("ws.mjs")).arg(port);
                command
            }
            Peer::Workerd => {
                let modules = peers.join("node_modules");
                let mut command =
                    Command::new(modules.join("@cloudflare/workerd-linux-64/bin/workerd"));
                command
                    .arg("serve")
                    .arg(format!("--socket-addr=http={address}"))
                    .arg(format!("--directory-path=objects={}", data.display()))
                    .arg(peers.join("workerd.capnp"));
                command
            }
        }
    }
}

/// Names and exact versions of what is measured beside Dormouse, as installed from npm.
///
/// # Errors
///
/// The peers' manifest is missing or is not one.
pub(crate) fn versions() -> Result<String> {
    #[derive(Deserialize)]
    struct Manifest {
        dependencies: BTreeMap<String, String>,
    }
    let path = peers_folder().join("package.json");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let manifest: Manifest = serde_json::from_str(&text).context("read the peers' manifest")?;
    let versions: Vec<String> = manifest
        .dependencies
        .iter()
        .map(|(package, version)| format!("`{package}` {version}"))
        .collect();
    Ok(versions.join(", "))
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no peer is hidden from the command line");
        f.write_str(value.get_name())
    }
}

/// The folder with the peers' sources and their `node_modules`.
fn peers_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

fn bun(peers: &Path) -> Command {
    let mut command = Command::new(peers.join("node_modules/@oven/bun-linux-x64/bin/bun"));
    command.env("NODE_ENV", "production").arg(peers.join("bun.mjs"));
    command
}
