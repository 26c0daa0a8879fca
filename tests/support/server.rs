//! One server process with a data folder and a port of its own.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::time::MissedTickBehavior;

use crate::data_folder::DataFolder;
use crate::deadline::within;
use crate::http::{Connection, Request, Response};
use crate::metrics::Metrics;
use crate::process::{Finished, Process, dormouse_program};

/// What the ready line says before the address, with or without TLS.
const READY_PREFIX: &str = "dormouse is ready on http";

/// How often a condition is looked at.
const POLL_INTERVAL: std::time::Duration = std::time::Duration::from_millis(10);

/// How to start a server.
#[derive(Clone, Debug)]
pub struct ServerBuilder {
    program: PathBuf,
    data: DataFolder,
    args: Vec<OsString>,
    env: Vec<(String, OsString)>,
}

/// A running server, or one that was ended and can be started again on the same data and port.
#[derive(Debug)]
pub struct Server {
    builder: ServerBuilder,
    process: Process,
    address: SocketAddr,
}

impl ServerBuilder {
    /// Another program than `dormouse`.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> ServerBuilder {
        self.program = program.into();
        self
    }

    /// Adds a flag and its value to `serve`.
    #[must_use]
    pub fn flag(mut self, flag: &str, value: impl Into<OsString>) -> ServerBuilder {
        self.args.extend([flag.into(), value.into()]);
        self
    }

    /// Adds a flag without a value to `serve`.
    #[must_use]
    pub fn switch(mut self, flag: &str) -> ServerBuilder {
        self.args.push(flag.into());
        self
    }

    /// Adds a variable to the server's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> ServerBuilder {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Uses a data folder that exists already.
    #[must_use]
    pub fn data(mut self, data: &DataFolder) -> ServerBuilder {
        self.data = data.clone();
        self
    }

    /// Starts the server on a free port and waits until it says that it is ready.
    ///
    /// # Panics
    ///
    /// If it ends instead.
    pub async fn start(self) -> Server {
        let (process, address) = self.launch("127.0.0.1:0").await;
        Server { builder: self, process, address }
    }

    /// Starts a server that is expected to refuse, and waits for its end.
    ///
    /// # Panics
    ///
    /// If it becomes ready, or does not end.
    pub async fn refuse(self) -> Finished {
        let mut process = Process::start(&self.program, &self.args_of("127.0.0.1:0"), &self.env);
        match process.next_line().await {
            Some(line) if line.starts_with(READY_PREFIX) => panic!("it started: {line}"),
            first_line => process.finished(first_line).await,
        }
    }

    async fn launch(&self, listen: &str) -> (Process, SocketAddr) {
        let mut process = Process::start(&self.program, &self.args_of(listen), &self.env);
        let address = ready(&mut process).await;
        (process, address)
    }

    fn args_of(&self, listen: &str) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["serve".into()];
        args.extend(self.args.iter().cloned());
        let has = |flag: &str| self.args.iter().any(|arg| arg == flag);
        if !has("--listen") && !self.env.iter().any(|(name, _)| name == "DORMOUSE_LISTEN") {
            args.extend(["--listen".into(), listen.into()]);
        }
        if !has("--data") && !self.env.iter().any(|(name, _)| name == "DORMOUSE_DATA") {
            args.extend(["--data".into(), self.data.path().into()]);
        }
        args
    }
}

impl Server {
    /// A server with default settings, to be changed.
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            program: dormouse_program(),
            data: DataFolder::new(),
            args: Vec::new(),
            env: Vec::new(),
        }
    }

    /// A server with default settings.
    pub async fn start() -> Server {
        Server::builder().start().await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its data folder.
    pub fn data(&self) -> &DataFolder {
        &self.builder.data
    }

    /// What it wrote to standard error so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Ends it as `kill -9` does.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Asks it to end, as a service manager does, without waiting.
    pub fn ask_to_end(&self) {
        self.process.ask_to_end();
    }

    /// Lets it have no more than so many files open from now on.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn limit_open_files(&self, max: u64) {
        self.process.limit_open_files(max);
    }

    /// Asks it to read its certificate again.
    pub fn ask_to_reload(&self) {
        self.process.ask_to_reload();
    }

    /// Asks it to end and waits; gives the exit code, `None` if a signal ended it.
    pub async fn terminate(&mut self) -> Option<i32> {
        self.ask_to_end();
        self.ended().await
    }

    /// Ends it in good order, and gives the files of objects: by then every object that exists has one.
    ///
    /// # Panics
    ///
    /// If it does not end well.
    pub async fn files_once_stopped(&mut self) -> Vec<PathBuf> {
        assert_eq!(self.terminate().await, Some(0), "{}", self.log());
        self.data().object_files()
    }

    /// Waits for its end; gives the exit code, `None` if a signal ended it.
    pub async fn ended(&mut self) -> Option<i32> {
        self.process.ended().await.code()
    }

    /// Starts it again on the same data and the same port.
    ///
    /// # Panics
    ///
    /// If it still runs, or does not become ready.
    pub async fn restart(&mut self) {
        assert_eq!(self.process.id(), None, "end the server before it is started again");
        let (process, address) = self.builder.launch(&self.address.to_string()).await;
        assert_eq!(address, self.address);
        self.process = process;
    }

    /// [`restart`](Self::restart) with other settings than before.
    ///
    /// # Panics
    ///
    /// If it still runs, or does not become ready.
    pub async fn restart_with(&mut self, flags: &[(&str, &str)]) {
        self.builder.args =
            flags.iter().flat_map(|(flag, value)| [flag.into(), value.into()]).collect();
        self.restart().await;
    }

    /// Sends one request over a connection of its own.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    pub async fn send(&self, request: &Request) -> Response {
        self.connection().await.send(request).await.expect("a request is answered")
    }

    /// Gets an address over a connection of its own.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    pub async fn get(&self, target: &str) -> Response {
        self.send(&Request::get(target)).await
    }

    /// A connection.
    ///
    /// # Panics
    ///
    /// If the server does not listen.
    pub async fn connection(&self) -> Connection {
        Connection::open(self.address).await.expect("the server listens")
    }

    /// All metrics.
    ///
    /// # Panics
    ///
    /// If there are none.
    pub async fn metrics(&self) -> Metrics {
        let response = self.get("/metrics").await;
        assert_eq!(response.status, 200);
        Metrics::new(response.text().to_owned())
    }

    /// One metric.
    ///
    /// # Panics
    ///
    /// If there is none of that name.
    pub async fn metric(&self, name: &str) -> f64 {
        let metrics = self.metrics().await;
        metrics.get(name).unwrap_or_else(|| panic!("there is no metric {name}: {metrics:?}"))
    }

    /// Waits until a condition holds, looking again and again.
    ///
    /// # Panics
    ///
    /// If it does not come true in time; the message names `claim`.
    pub async fn eventually(&self, claim: &str, condition: impl AsyncFn(&Server) -> bool) {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        within(claim, async {
            while !condition(self).await {
                ticks.tick().await;
            }
        })
        .await;
    }

    /// Waits until no object is in memory.
    ///
    /// # Panics
    ///
    /// If objects do not fall asleep.
    pub async fn all_asleep(&self) {
        self.eventually("every object to fall asleep", async |server: &Server| {
            server.metric("dormouse_objects_resident").await == 0.0
        })
        .await;
    }
}

/// Reads the one line that a server prints when it is ready.
async fn ready(process: &mut Process) -> SocketAddr {
    let Some(line) = process.next_line().await else {
        process.ended().await;
        panic!("the server ended instead of becoming ready: {}", process.log());
    };
    line.strip_prefix(READY_PREFIX)
        .map(|rest| rest.strip_prefix('s').unwrap_or(rest))
        .and_then(|rest| rest.strip_prefix("://"))
        .and_then(|address| address.parse().ok())
        .unwrap_or_else(|| panic!("{line:?} is not the ready line"))
}
