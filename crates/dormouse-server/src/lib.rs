//! The front door of Dormouse: settings, routes, the RPC wire, the socket protocol, metrics.
//!
//! A program with kinds of its own is one line more than `main.rs` of this crate: it registers
//! them and calls [`run`].

mod cli;
mod settings;

mod descriptors;
mod file_watch;
mod memory;
mod serve;
mod signals;

mod admission;
mod auth;
mod http;
mod rpc;
mod socket;
mod tls;

mod documents;
mod json;
mod metrics;
mod objects;

use std::process::ExitCode;

use clap::Parser as _;
use dormouse::Kinds;

use crate::cli::{Cli, Command};

/// Runs the command that the process's arguments name, with these kinds.
///
/// The exit code is 0, 1 if the command could not be carried out, or 2 if its arguments or
/// settings are wrong; what is wrong is one line on standard error.
pub fn run(kinds: Kinds) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => return cli::refuse(&err),
    };
    let done = match cli.command {
        None => serve::run(&cli.serve, kinds),
        Some(Command::Serve(args)) => serve::run(&args, kinds),
        Some(Command::Objects(args)) => objects::run(&args, kinds),
        Some(Command::Check(args)) => objects::check(&args),
        Some(Command::Repair(args)) => objects::repair(&args),
        Some(Command::Types(args)) => documents::run(&args, &kinds),
        Some(Command::Token(args)) => auth::make_token(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => cli::report(&err),
    }
}
