//! `dormouse types`: what clients of a program's kinds say and hear.

use std::fs;
use std::path::PathBuf;

use e2e::{DataFolder, Finished, Process};

/// A program with kinds of its own.
async fn types(args: &[&str]) -> Finished {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_misbehaving-server"));
    let args: Vec<_> = ["types"].iter().chain(args).map(Into::into).collect();
    Process::run(&program, &args, &[]).await
}

#[tokio::test]
async fn a_program_with_kinds_of_its_own_writes_their_types_without_a_data_folder() {
    let folder = DataFolder::new();
    let file = folder.path().with_file_name("kinds.ts");

    let printed = types(&[]).await;
    let written = types(&["--out", file.to_str().expect("the path is UTF-8")]).await;

    assert_eq!((printed.code, written.code), (Some(0), Some(0)), "{printed:?} {written:?}");
    assert_eq!(written.stdout, "");
    assert_eq!(fs::read_to_string(file).unwrap(), printed.stdout);
    for text in [
        "\nexport type BoardEvent =",
        "\n  account: {\n    id: \"id\";\n    event: AccountEvent;\n",
        "export const ID_FIELDS = { account: \"id\", board: \"id\", ",
    ] {
        assert!(printed.stdout.contains(text), "{text}: {}", printed.stdout);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_one_line_and_a_failure() {
    let folder = DataFolder::new();
    let file = folder.path().join("nowhere/kinds.ts");

    let failed = types(&["--out", file.to_str().expect("the path is UTF-8")]).await;

    assert_eq!((failed.code, failed.stdout.as_str()), (Some(1), ""));
    assert!(failed.stderr.starts_with("error: cannot write "), "{failed:?}");
    assert_eq!(failed.stderr.lines().count(), 1, "{failed:?}");
}
