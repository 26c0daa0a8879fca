//! A server under test: a child process of this tool, or one that somebody else started.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use tokio::process::Child;
use tokio::time::timeout;

use crate::clock;
use crate::counter;
use crate::http::HttpConnection;
use crate::peers::{Peer, Programs};
use crate::process;

/// A server that does not answer its first query within this time has failed to start.
const START_MAX: Duration = Duration::from_secs(20);

/// Time between two looks at whether a starting server answers.
const START_POLL: Duration = Duration::from_millis(20);

/// Bytes of a failed server's output that are quoted.
const OUTPUT_QUOTED_BYTES: usize = 300;

/// What a scenario loads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Without it, memory and CPU time of the server are not known.
    pub(crate) pid: Option<u32>,
    /// This tool has a core that the server does not use.
    pub(crate) own_core: bool,
}

/// Who runs on which cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// The server has one core and this tool another, so that neither takes time from the other.
    OneCoreEach,
    /// Both share all cores, as far as they can use them.
    Shared,
}

/// A child process that serves, with a fresh data folder. Dropping it kills the process and then
/// removes the folder, in the order of the fields.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    target: Target,
    /// Standard output and error.
    output: PathBuf,
    _data: TempDir,
}

/// How a [`Server`] is started.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) programs: Programs,
    /// Folder for the fresh data folders. It decides which disk is measured.
    pub(crate) data_root: PathBuf,
    /// Cores of this machine that the tool was given, lowest first.
    pub(crate) cores: Vec<usize>,
}

impl Launch {
    /// Starts `peer` on a free port of loopback and waits until it answers a query.
    ///
    /// With [`Placement::OneCoreEach`] the calling thread moves to its core too and stays there.
    ///
    /// # Errors
    ///
    /// The program is missing, ended, or did not answer within 20 s; the error quotes the end of its
    /// output. Nothing is left running.
    pub(crate) async fn start(&self, peer: Peer, placement: Placement) -> Result<Server> {
        fs::create_dir_all(&self.data_root)
            .with_context(|| format!("create {}", self.data_root.display()))?;
        let folder = TempDir::with_prefix_in("bench-", &self.data_root)?;
        // Absolute, since the programs read it, each relative to whatever it likes.
        let folder_path = folder.path().canonicalize()?;
        let data = folder_path.join("data");
        fs::create_dir(&data)?;
        let output = folder_path.join("output");
        let output_file = File::create(&output)?;
        let address = free_address()?;

        let mut command = peer.command(address, &data, &self.programs);
        command
            .stdin(Stdio::null())
            .stdout(output_file.try_clone()?)
            .stderr(output_file)
            .kill_on_drop(true);
        process::end_with_this_thread(&mut command);
        let (server_cores, own_cores) = self.split(placement);
        process::run_on(server_cores).context("choose the server's cores")?;
        let program = command.as_std().get_program().to_owned();
        let child = command.spawn().with_context(|| format!("start {}", program.display()));
        process::run_on(own_cores).context("choose this tool's cores")?;
        let child = child?;

        let target = Target { address, pid: child.id(), own_core: server_cores != own_cores };
        let mut server = Server { child, target, output, _data: folder };
        server.until_it_answers().await?;
        Ok(server)
    }

    /// Cores of the server and of this tool. With a single core they share it.
    pub(crate) fn split(&self, placement: Placement) -> (&[usize], &[usize]) {
        match (placement, &self.cores[..]) {
            (Placement::OneCoreEach, [first, second, ..]) => {
                (std::slice::from_ref(first), std::slice::from_ref(second))
            }
            (Placement::OneCoreEach | Placement::Shared, all) => (all, all),
        }
    }
}

impl Server {
    pub(crate) fn target(&self) -> Target {
        self.target
    }

    /// Kills the process and waits until it is gone.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.child.kill().await.context("kill the server")
    }

    async fn until_it_answers(&mut self) -> Result<()> {
        let started = clock::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("ended at start ({status}): {}", self.last_output());
            }
            let left = START_MAX.saturating_sub(started.elapsed());
            ensure!(!left.is_zero(), "no answer within {START_MAX:?}: {}", self.last_output());
            match timeout(left, first_query(self.target.address)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(_)) | Err(_) => tokio::time::sleep(START_POLL).await,
            }
        }
    }

    fn last_output(&self) -> String {
        quote_end(&self.output).unwrap_or_else(|err| format!("output is not readable: {err}"))
    }
}

/// Asks for a counter that nobody changes: an answer means that everything behind it runs too.
async fn first_query(address: SocketAddr) -> Result<()> {
    let mut connection = HttpConnection::open(address).await?;
    counter::read_value(&mut connection, address, "bench-start").await.map(drop)
}

/// An address whose port nobody has now. Another process may take it first, which shows as a
/// server that fails to start.
fn free_address() -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}

fn quote_end(path: &Path) -> Result<String> {
    let bytes = fs::read(path)?;
    let end = &bytes[bytes.len().saturating_sub(OUTPUT_QUOTED_BYTES)..];
    Ok(String::from_utf8_lossy(end).trim().replace('\n', " / "))
}
