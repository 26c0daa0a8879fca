//! `dormouse` with one more kind: `faulty`, which does everything a kind must not do.

mod faulty;

use std::process::ExitCode;

use dormouse::Kinds;
use dormouse_kinds::{Counter, Note};

use crate::faulty::Faulty;

fn main() -> ExitCode {
    let kinds = Kinds::new()
        .register::<Counter>()
        .and_then(Kinds::register::<Note>)
        .and_then(Kinds::register::<Faulty>)
        .expect("the kinds are valid");
    dormouse_server::run(kinds)
}
