//! Settings come from flags, the environment and a TOML file, in that order.

use std::fs;

use e2e::{DataFolder, Finished, Process, Server, dormouse_program};
use serde_json::json;

#[tokio::test]
async fn flags_win_over_the_environment_and_the_environment_over_the_file() {
    let data = DataFolder::new();
    let (in_flag, in_env, in_file) =
        (data.parent().join("flag"), data.parent().join("env"), data.parent().join("file"));
    let settings = data.parent().join("settings.toml");
    fs::write(&settings, format!("data = {:?}\n", in_file.to_str().unwrap())).unwrap();
    let all = || Server::builder().flag("--config", &settings).env("DORMOUSE_DATA", &in_env);

    let by_flag = all().flag("--data", &in_flag).start().await;
    assert!(in_flag.exists() && !in_env.exists() && !in_file.exists());
    let by_env = all().start().await;
    assert!(in_env.exists() && !in_file.exists());

    assert_eq!(by_flag.get("/readyz").await.status, 200);
    assert_eq!(by_env.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn every_setting_can_stand_in_the_file() {
    let data = DataFolder::new();
    let settings = data.parent().join("settings.toml");
    let text = format!(
        "listen = \"127.0.0.1:0\"\ndata = {:?}\ndurability = \"os\"\nidle_timeout = \"100ms\"\n\
         heartbeat_interval = \"10s\"\nmessage_bytes_max = 100\nobjects_resident_max = 8\nlanes = 1\n\
         sockets_per_address_max = 50\nsockets_per_user_max = 50\nsockets_per_object_max = 50\n\
         connections_per_second_max = 1000\nmessages_per_second_max = 1000\n\
         bytes_per_second_max = 100000\nhandshake_timeout = \"2s\"\nslow_reader_timeout = \"9s\"\ndrain_window = \"1s\"\n\
         echo = true\ncompression = true\nlog_format = \"json\"\nallow_origin = [\"https://app.example\"]\n\
         [auth]\nmode = \"open\"\naudience = \"us\"\nissuer = [\"them\"]\n[auth.kinds]\nnote = \"open\"\n",
        data.path().to_str().unwrap()
    );
    fs::write(&settings, text).unwrap();

    let server = Server::builder().data(&data).flag("--config", &settings).start().await;

    assert_eq!(server.get("/healthz").await.json()["durability"], "os");
    let mut echo = server.connect_with("/echo", &[("origin", "https://app.example")]).await;
    echo.send(&json!({"hello": 1})).await;
    assert_eq!(echo.next().await, json!({"hello": 1}));
    echo.send_text(&"x".repeat(101)).await;
    assert_eq!(echo.closed().await.code, 1009);
    server.mutate("counter.increment", json!({"name": "a"})).await.data();
    server.all_asleep().await;
}

#[tokio::test]
async fn every_setting_can_stand_in_the_environment() {
    let server = Server::builder()
        .env("DORMOUSE_LISTEN", "127.0.0.1:0")
        .env("DORMOUSE_DURABILITY", "os")
        .env("DORMOUSE_ECHO", "true")
        .env("DORMOUSE_COMPRESSION", "true")
        .env("DORMOUSE_MESSAGE_BYTES_MAX", "100")
        .env("DORMOUSE_LOG_FORMAT", "json")
        .start()
        .await;

    assert_eq!(server.get("/healthz").await.json()["durability"], "os");
    let mut echo = server.connect("/echo").await;
    echo.send_text(&"x".repeat(101)).await;
    assert_eq!(echo.closed().await.code, 1009);
}

#[tokio::test]
async fn a_bare_dormouse_serves() {
    let data = DataFolder::new();
    let env = [
        ("DORMOUSE_LISTEN".to_owned(), "127.0.0.1:0".into()),
        ("DORMOUSE_DATA".to_owned(), data.path().into_os_string()),
    ];

    let mut process = Process::start(&dormouse_program(), &[], &env);

    let line = process.next_line().await.expect("it becomes ready");
    assert!(line.starts_with("dormouse is ready on http://127.0.0.1:"), "{line}");
}

#[tokio::test]
async fn help_and_version_are_no_mistakes() {
    for flag in ["--help", "--version"] {
        let Finished { code, stdout, stderr } =
            Process::run(&dormouse_program(), &[flag.into()], &[]).await;

        assert_eq!((code, &*stderr), (Some(0), ""), "{flag}");
        assert!(stdout.to_lowercase().contains("dormouse"), "{stdout}");
    }
}

#[tokio::test]
async fn a_log_in_json_is_json_line_by_line() {
    let mut server = Server::builder().flag("--log-format", "json").start().await;
    server.mutate("counter.increment", json!({"name": "a"})).await.data();

    server.terminate().await;

    let log = server.log();
    assert!(!log.is_empty());
    for line in log.lines() {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok_and(|value| value.is_object()), "{line}");
    }
}

#[tokio::test]
async fn payloads_never_reach_the_log() {
    let mut server = Server::builder().flag("--log", "debug").start().await;
    let secret = "do-not-log-me";
    let note = json!({"id": "n", "title": secret, "blob": secret});
    server.mutate("note.create", note.clone()).await.data();
    let mut socket = server.connect("/ws/note/n").await;

    server.mutate("note.create", note).await.error();
    socket.next_of("initial").await;
    socket.send_text(&format!("{{\"type\":\"{secret}\"}}")).await;
    socket.next_of("error").await;
    server.terminate().await;

    assert!(!server.log().contains(secret), "{}", server.log());
}
