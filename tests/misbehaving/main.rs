//! `dormouse` with more kinds: `faulty`, which does everything a kind must not do, `account`, which
//! shows every message that is lost or doubled, `board`, whose events are of every class, and `diary`,
//! which is for users only.

mod account;
mod board;
mod diary;
mod faulty;

use std::process::ExitCode;

use dormouse::Kinds;
use dormouse_kinds::{Counter, Note};

use crate::account::Account;
use crate::board::Board;
use crate::diary::Diary;
use crate::faulty::Faulty;

fn main() -> ExitCode {
    let kinds = Kinds::new()
        .register::<Counter>()
        .and_then(Kinds::register::<Note>)
        .and_then(Kinds::register::<Faulty>)
        .and_then(Kinds::register::<Account>)
        .and_then(Kinds::register::<Board>)
        .and_then(Kinds::register::<Diary>)
        .expect("the kinds are valid");
    dormouse_server::run(kinds)
}
