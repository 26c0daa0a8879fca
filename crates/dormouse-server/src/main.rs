//! The binary `dormouse`: the server with the kinds that come with it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let kinds = dormouse_kinds::all();
    dormouse_server::run(
        kinds.expect("the kinds that come with Dormouse are valid: a test registers them"),
    )
}
