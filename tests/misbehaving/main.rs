//! `dormouse` with more kinds: `faulty`, which does everything a kind must not do, `account`, which
//! shows every message that is lost or doubled, and `board`, whose events are of every class.

mod account;
mod board;
mod faulty;

use std::process::ExitCode;

use dormouse::Kinds;
use dormouse_kinds::{Counter, Note};

use crate::account::Account;
use crate::board::Board;
use crate::faulty::Faulty;

fn main() -> ExitCode {
    let kinds = Kinds::new()
        .register::<Counter>()
        .and_then(Kinds::register::<Note>)
        .and_then(Kinds::register::<Faulty>)
        .and_then(Kinds::register::<Account>)
        .and_then(Kinds::register::<Board>)
        .expect("the kinds are valid");
    dormouse_server::run(kinds)
}
