//! A process under test: its output is kept, and it never outlives the test.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::deadline::{LIFE_MAX, within};

/// Most bytes of a log that a failing test prints.
const LOG_TAIL_BYTES: usize = 16 << 10;

/// The settings' prefix in the environment: what the developer has set must not reach a test.
const ENVIRONMENT_PREFIX: &str = "DORMOUSE_";

/// The `dormouse` binary, next to the folder of the test executable.
///
/// # Panics
///
/// If it was not built: `cargo build -p dormouse-server` does that.
pub fn dormouse_program() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its executable");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("it is in target/*/deps");
    let program = profile.join("dormouse");
    assert!(
        program.is_file(),
        "{} is missing; run `cargo build -p dormouse-server` first",
        program.display()
    );
    program
}

/// A running process. Dropping it kills it; if the test is failing, its log is printed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    log: Arc<Mutex<String>>,
    /// Taken by the first wait for the end.
    log_reader: Option<JoinHandle<()>>,
    life: JoinHandle<()>,
}

/// How a process ended, and what it said.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Everything it wrote to standard output.
    pub stdout: String,
    /// Everything it wrote to standard error.
    pub stderr: String,
}

impl Process {
    /// Starts a program with these arguments, and an environment without any of its settings but
    /// `env`.
    ///
    /// # Panics
    ///
    /// If the program cannot be started.
    pub fn start(program: &PathBuf, args: &[OsString], env: &[(String, OsString)]) -> Process {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(ENVIRONMENT_PREFIX) {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(args)
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|err| panic!("cannot start {}: {err}", program.display()));
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        let pid = pid_of(&child);
        let log = Arc::default();
        Process {
            stdout: BufReader::new(stdout).lines(),
            log_reader: Some(tokio::spawn(collect(stderr, Arc::clone(&log)))),
            life: tokio::spawn(async move {
                tokio::time::sleep(LIFE_MAX).await;
                signal(pid, Signal::KILL);
            }),
            child,
            log,
        }
    }

    /// Runs a program to its end.
    ///
    /// # Panics
    ///
    /// If it does not end in time.
    pub async fn run(program: &PathBuf, args: &[OsString], env: &[(String, OsString)]) -> Finished {
        let mut process = Process::start(program, args, env);
        let first_line = process.next_line().await;
        process.finished(first_line).await
    }

    /// Reads the rest of its output, of which the first line was read already.
    pub(crate) async fn finished(mut self, first_line: Option<String>) -> Finished {
        let mut stdout = String::new();
        let mut next = first_line;
        while let Some(line) = next {
            stdout.push_str(&line);
            stdout.push('\n');
            next = self.next_line().await;
        }
        let status = self.ended().await;
        Finished { code: status.code(), stdout, stderr: self.log() }
    }

    /// The next line of standard output; `None` at its end.
    pub async fn next_line(&mut self) -> Option<String> {
        within("a line of standard output", self.stdout.next_line())
            .await
            .expect("standard output is readable UTF-8")
    }

    /// Ends it at once, as `kill -9` does.
    pub async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }

    /// Asks it to end, as `kill` does, without waiting for it.
    pub fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }

    /// Tells it that its files have changed, as `kill -HUP` does.
    pub fn ask_to_reload(&self) {
        self.signal(Signal::HUP);
    }

    /// Waits for its end and for the last of its log.
    pub async fn ended(&mut self) -> ExitStatus {
        let status =
            within("the end of the process", self.child.wait()).await.expect("it is our child");
        if let Some(reader) = self.log_reader.take() {
            within("the end of its log", reader).await.expect("the reader never panics");
        }
        self.life.abort();
        status
    }

    /// What it wrote to standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("no reader panics").clone()
    }

    /// The process id; `None` once it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Lets it have no more than so many files open from now on.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn limit_open_files(&self, max: u64) {
        let limit = Rlimit { current: Some(max), maximum: Some(max) };
        prlimit(pid_of(&self.child), Resource::Nofile, limit).expect("it runs, as this user");
    }

    fn signal(&self, number: Signal) {
        signal(pid_of(&self.child), number);
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "the test runner shows it below the failure")]
    fn drop(&mut self) {
        self.life.abort();
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.len().saturating_sub(LOG_TAIL_BYTES);
            eprintln!("--- the server's log ---\n{}", log.get(tail..).unwrap_or(&log));
        }
    }
}

async fn collect(stream: impl AsyncRead + Unpin, log: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut log = log.lock().expect("no reader panics");
        log.push_str(&line);
        log.push('\n');
    }
}

/// `None` once the child has been waited for: its id may belong to somebody else by then.
fn pid_of(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()?).ok()?)
}

fn signal(pid: Option<Pid>, signal: Signal) {
    if let Some(pid) = pid {
        // It may have ended by itself.
        _ = kill_process(pid, signal);
    }
}
