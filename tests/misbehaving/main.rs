//! `dormouse` with more kinds: `faulty`, which does everything a kind must not do, `account`, which
//! shows every message that is lost or doubled, `board`, whose events are of every class, `diary`,
//! which is for users only, and `lobby`, which notes what it can about its sessions.

mod account;
mod board;
mod diary;
mod faulty;
mod lobby;

use std::process::ExitCode;

use dormouse::Kinds;
use dormouse_kinds::{Counter, Note};

use crate::account::Account;
use crate::board::Board;
use crate::diary::Diary;
use crate::faulty::Faulty;
use crate::lobby::Lobby;

fn main() -> ExitCode {
    let kinds = Kinds::new()
        .register::<Counter>()
        .and_then(Kinds::register::<Note>)
        .and_then(Kinds::register::<Faulty>)
        .and_then(Kinds::register::<Account>)
        .and_then(Kinds::register::<Board>)
        .and_then(Kinds::register::<Diary>)
        .and_then(Kinds::register::<Lobby>)
        .expect("the kinds are valid");
    dormouse_server::run(kinds)
}
