//! The binary `dormouse`: the server with the kinds that come with it.

use std::process::ExitCode;

use dormouse::Kinds;
use dormouse_kinds::{Channel, ChannelShard, Counter, Note};

fn main() -> ExitCode {
    let kinds = Kinds::new()
        .register::<Counter>()
        .and_then(Kinds::register::<Note>)
        .and_then(Kinds::register::<Channel>)
        .and_then(Kinds::register::<ChannelShard>)
        .expect("the kinds that come with Dormouse are valid: their tests register them");
    dormouse_server::run(kinds)
}
