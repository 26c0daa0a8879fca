//! `dormouse` with two more kinds: `faulty`, which does everything a kind must not do, and `account`,
//! which shows every message that is lost or doubled.

mod account;
mod faulty;

use std::process::ExitCode;

use dormouse::Kinds;
use dormouse_kinds::{Counter, Note};

use crate::account::Account;
use crate::faulty::Faulty;

fn main() -> ExitCode {
    let kinds = Kinds::new()
        .register::<Counter>()
        .and_then(Kinds::register::<Note>)
        .and_then(Kinds::register::<Faulty>)
        .and_then(Kinds::register::<Account>)
        .expect("the kinds are valid");
    dormouse_server::run(kinds)
}
