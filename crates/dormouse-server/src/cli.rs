//! The command line.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::auth::{AuthError, KeyError, TokenArgs};
use crate::settings::{ServeArgs, SettingsError};
use crate::tls::TlsError;

/// Wrong arguments or settings.
const EXIT_USAGE: u8 = 2;

/// Durable Objects you run yourself: one actor per object, its state in SQLite, its events on
/// WebSockets.
#[derive(Debug, Parser)]
#[command(name = "dormouse", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Without a command: serve.
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the server (what a bare `dormouse` does).
    Serve(Box<ServeArgs>),
    /// Look at stored objects, also while a server runs on the same data folder.
    Objects(ObjectsArgs),
    /// Check the integrity of every object. The server must not run.
    Check(FolderArgs),
    /// Explain what is damaged in a data folder that the server refuses, and mend it after asking.
    Repair(RepairArgs),
    /// Write what clients of this program's kinds say and hear, as TypeScript.
    Types(TypesArgs),
    /// Make a token for development, with the secret of the server.
    Token(TokenArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TypesArgs {
    /// The file to write, such as `src/generated.ts`; standard output if left out.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct FolderArgs {
    /// The data folder.
    #[arg(long, env = "DORMOUSE_DATA", default_value = "./data")]
    pub(crate) data: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    #[command(flatten)]
    pub(crate) folder: FolderArgs,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ObjectsArgs {
    #[command(subcommand)]
    pub(crate) command: ObjectsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ObjectsCommand {
    /// List objects by kind and id.
    List {
        #[command(flatten)]
        folder: FolderArgs,
        /// Only objects of this kind.
        #[arg(long)]
        kind: Option<String>,
        /// Start after this id; needs `--kind`.
        #[arg(long, requires = "kind")]
        after: Option<String>,
        /// At most so many of each kind.
        #[arg(long, default_value_t = 1000)]
        limit: usize,
        /// One JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Show one object.
    Show {
        /// Which one: `<kind>/<id>`.
        object: String,
        #[command(flatten)]
        folder: FolderArgs,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Prints what clap says: help and version to standard output, mistakes as one line.
pub(crate) fn refuse(err: &clap::Error) -> ExitCode {
    if !err.use_stderr() {
        // Nothing can be done for a reader that is gone.
        _ = err.print();
        return ExitCode::SUCCESS;
    }
    let text = err.render().to_string();
    let line = text.lines().next().unwrap_or("error: wrong arguments");
    print_error(&format!("{line} (see `dormouse --help`)"));
    ExitCode::from(EXIT_USAGE)
}

/// Prints why a command failed, as one line.
pub(crate) fn report(err: &anyhow::Error) -> ExitCode {
    print_error(&format!("error: {err:#}"));
    let is_usage = err.is::<SettingsError>()
        || err.is::<TlsError>()
        || err.is::<AuthError>()
        || err.is::<KeyError>();
    if is_usage { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
}

fn print_error(line: &str) {
    // A closed standard error leaves the exit code to speak.
    _ = writeln!(std::io::stderr(), "{}", line.replace('\n', " "));
}
