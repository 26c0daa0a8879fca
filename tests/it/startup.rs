//! Starts that cannot work: one clear line and an exit code that says whose fault it is.

use std::fs;
use std::net::TcpListener;

use e2e::{DataFolder, Finished, Server};
use serde_json::json;

/// The settings are wrong.
const USAGE: Option<i32> = Some(2);

/// The settings are right and it still cannot start.
const FAILURE: Option<i32> = Some(1);

/// Asserts a refusal: the exit code, and one line that has all these words in it.
fn assert_refused(finished: &Finished, code: Option<i32>, words: &[&str]) {
    assert_eq!(finished.code, code, "{finished:?}");
    assert_eq!(finished.stdout, "", "it was never ready: {finished:?}");
    let errors: Vec<&str> =
        finished.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    let &[error] = &errors[..] else { panic!("not one line that begins with error: {finished:?}") };
    for word in words {
        assert!(error.contains(word), "no {word:?} in {error:?}");
    }
    assert_eq!(finished.stderr.lines().last(), Some(error), "the reason comes last");
    assert!(!finished.stderr.contains("panicked"), "{finished:?}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let finished = Server::builder().flag("--listen", &address).refuse().await;

    assert_refused(&finished, FAILURE, &[&address, "in use"]);
}

#[tokio::test]
async fn a_port_of_another_server_is_taken_too() {
    let first = Server::start().await;
    let address = first.address().to_string();

    let finished = Server::builder().flag("--listen", &address).refuse().await;

    assert_refused(&finished, FAILURE, &[&address]);
    assert_eq!(first.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_data_folder_in_use_is_left_alone() {
    let first = Server::start().await;
    first.mutate("counter.increment", json!({"name": "a"})).await.data();
    let folder = first.data().path();

    let finished = Server::builder().data(first.data()).refuse().await;

    assert_refused(&finished, FAILURE, &[folder.to_str().unwrap(), "in use"]);
    assert_eq!(first.mutate("counter.increment", json!({"name": "a"})).await.data()["value"], 2);
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_written_is_named() {
    let data = DataFolder::new();
    fs::write(data.path(), "a file is in its place").unwrap();
    let below_a_file = data.path().join("below");

    for folder in [data.path(), below_a_file, "/proc/dormouse".into()] {
        let finished = Server::builder().flag("--data", &folder).refuse().await;
        assert_refused(&finished, FAILURE, &[folder.to_str().unwrap()]);
    }
    assert_eq!(fs::read_to_string(data.path()).unwrap(), "a file is in its place");
}

#[tokio::test]
async fn a_folder_that_belongs_to_something_else_is_left_alone() {
    let data = DataFolder::new();
    fs::create_dir(data.path()).unwrap();
    fs::write(data.path().join("thesis.txt"), "precious").unwrap();

    let finished = Server::builder().data(&data).refuse().await;

    assert_refused(&finished, FAILURE, &[data.path().to_str().unwrap()]);
    assert_eq!(fs::read_to_string(data.path().join("thesis.txt")).unwrap(), "precious");
}

#[tokio::test]
async fn a_folder_of_a_newer_format_is_left_alone() {
    let mut server = Server::start().await;
    server.terminate().await;
    let state = server.data().path().join("dormouse.json");
    let newer = fs::read_to_string(&state).unwrap().replace("\"format\": 1", "\"format\": 999");
    assert!(newer.contains("999"), "{newer}");
    fs::write(&state, &newer).unwrap();

    let finished = Server::builder().data(server.data()).refuse().await;

    assert_refused(&finished, FAILURE, &["999"]);
    assert_eq!(fs::read_to_string(&state).unwrap(), newer);
}

#[tokio::test]
async fn an_unknown_flag_is_named() {
    let finished = Server::builder().flag("--colour", "red").refuse().await;

    assert_refused(&finished, USAGE, &["--colour"]);
}

#[tokio::test]
async fn an_unknown_variable_of_ours_is_named() {
    let finished = Server::builder().env("DORMOUSE_LISTNE", "127.0.0.1:0").refuse().await;

    assert_refused(&finished, USAGE, &["DORMOUSE_LISTNE"]);
}

#[tokio::test]
async fn an_unknown_key_in_the_settings_file_is_named_with_its_line() {
    let data = DataFolder::new();
    let file = data.parent().join("settings.toml");
    fs::write(&file, "echo = true\nlisten_on = \"127.0.0.1:0\"\n").unwrap();

    let finished = Server::builder().data(&data).flag("--config", &file).refuse().await;

    assert_refused(&finished, USAGE, &[file.to_str().unwrap(), "listen_on", "line 2"]);
}

#[tokio::test]
async fn a_settings_file_that_is_missing_or_no_toml_is_named() {
    let data = DataFolder::new();
    let missing = data.parent().join("missing.toml");
    let broken = data.parent().join("broken.toml");
    fs::write(&broken, "listen = \n").unwrap();

    for file in [missing, broken] {
        let finished = Server::builder().data(&data).flag("--config", &file).refuse().await;
        assert_refused(&finished, USAGE, &[file.to_str().unwrap()]);
    }
}

#[tokio::test]
async fn a_value_that_cannot_be_used_is_named_wherever_it_stands() {
    let data = DataFolder::new();
    let file = data.parent().join("settings.toml");
    for (flag, value) in [
        ("listen", "localhost"),
        ("listen", "127.0.0.1:99999"),
        ("idle-timeout", "soon"),
        ("idle-timeout", "0s"),
        ("heartbeat-interval", "-1s"),
        ("message-bytes-max", "many"),
        ("message-bytes-max", "0"),
        ("durability", "hope"),
        ("log-format", "xml"),
        ("objects-resident-max", "0"),
        ("lanes", "0"),
        ("lanes", "100000"),
        ("auth", "closed"),
        ("sockets-per-address-max", "0"),
        ("sockets-per-user-max", "0"),
        ("sockets-per-object-max", "0"),
        ("connections-per-second-max", "0"),
        ("messages-per-second-max", "0"),
        ("bytes-per-second-max", "0"),
        ("handshake-timeout", "10ms"),
        ("drain-window", "2h"),
    ] {
        let key = flag.replace('-', "_");
        let variable = format!("DORMOUSE_{}", key.to_uppercase());
        let is_number = value.parse::<i64>().is_ok();
        let text =
            if is_number { format!("{key} = {value}\n") } else { format!("{key} = \"{value}\"\n") };
        fs::write(&file, text).unwrap();

        // With `=`, so that a value with a minus is not taken for a flag.
        let by_flag =
            Server::builder().data(&data).switch(&format!("--{flag}={value}")).refuse().await;
        let by_env = Server::builder().data(&data).env(&variable, value).refuse().await;
        let mut by_file = Server::builder().data(&data).flag("--config", &file);
        if flag == "listen" {
            // The harness gives every server an address, which would win over the file.
            by_file = by_file.env("DORMOUSE_LISTEN", value);
        }
        let by_file = by_file.refuse().await;

        for finished in [by_flag, by_env, by_file] {
            assert_eq!(finished.code, USAGE, "{flag}={value}: {finished:?}");
            let line = finished.stderr.trim_end();
            assert!(line.starts_with("error: ") && !line.contains('\n'), "{flag}={value}: {line}");
            assert!(line.contains(flag) || line.contains(&key), "{flag}={value}: {line}");
        }
    }
    assert!(!data.path().exists(), "nothing is touched before the settings are right");
}

#[tokio::test]
async fn serving_other_machines_without_tokens_needs_a_word() {
    // Addresses that no machine has: if the settings pass, binding fails, and nothing is served.
    for listen in ["192.0.2.1:0", "[2001:db8::1]:0"] {
        let silent = Server::builder().flag("--listen", listen).refuse().await;
        let said = Server::builder().flag("--listen", listen).flag("--auth", "open").refuse().await;

        let with_key = Server::builder()
            .flag("--listen", listen)
            .env("DORMOUSE_AUTH_SECRET", "0123456789abcdef0123456789abcdef")
            .refuse()
            .await;

        assert_refused(&silent, USAGE, &["--auth open", listen]);
        assert_refused(&said, FAILURE, &[listen]);
        assert_refused(&with_key, FAILURE, &[listen]);
    }
}

#[tokio::test]
async fn serving_without_tokens_is_said_at_the_start() {
    let server = Server::start().await;

    server
        .eventually("the log to say so", async |server: &Server| {
            let log = server.log().to_lowercase();
            log.contains("token") || log.contains("open")
        })
        .await;
}

#[tokio::test]
async fn a_secret_that_is_too_short_is_refused_and_not_shown() {
    for secret in ["", "0123456789abcdef0123456789abcde"] {
        let finished = Server::builder().env("DORMOUSE_AUTH_SECRET", secret).refuse().await;

        assert_refused(&finished, USAGE, &["DORMOUSE_AUTH_SECRET", "32 bytes"]);
        assert!(secret.is_empty() || !finished.stderr.contains(secret));
    }
}
