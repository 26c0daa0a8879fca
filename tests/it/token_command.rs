//! `dormouse token`: tokens for development.

use e2e::{Finished, Folder, Process, Request, Server, dormouse_program};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A call that changes a counter.
fn increment(token: &str) -> Request {
    let call = Request::post_json("/rpc/counter.increment", r#"{"name":"a"}"#);
    call.header("Authorization", &format!("Bearer {}", token.trim()))
}

async fn run_token(args: &[&str], secret: Option<&str>) -> Finished {
    let args: Vec<_> = ["token"].iter().chain(args).map(Into::into).collect();
    let env: Vec<_> = secret
        .map(|secret| ("DORMOUSE_AUTH_SECRET".to_owned(), secret.into()))
        .into_iter()
        .collect();
    Process::run(&dormouse_program(), &args, &env).await
}

#[tokio::test]
async fn dormouse_token_prints_a_token_that_the_server_takes() {
    let server = Server::builder().env("DORMOUSE_AUTH_SECRET", SECRET).start().await;

    let whole = run_token(&["--sub", "alice"], Some(SECRET)).await;
    let narrow = [
        "--sub",
        "bob",
        "--permissions",
        "read",
        "--objects",
        "counter/b*,note/*",
        "--expires",
        "5m",
    ];
    let narrow = run_token(&narrow, Some(SECRET)).await;

    for finished in [&whole, &narrow] {
        assert_eq!((finished.code, &*finished.stderr), (Some(0), ""), "{finished:?}");
        assert_eq!(finished.stdout.lines().count(), 1, "{finished:?}");
    }
    assert!(server.answer(&increment(&whole.stdout)).await.is_data());
    let refused = server.answer(&increment(&narrow.stdout)).await;
    assert_eq!(refused.code(), "FORBIDDEN");
}

#[tokio::test]
async fn dormouse_token_uses_the_settings_of_the_server() {
    let folder = Folder::new();
    let secret = folder.write("secret", &format!("{SECRET}\n"));
    let file = folder.write(
        "settings.toml",
        &format!(
            "[auth]\naudience = [\"us\", \"others\"]\nissuer = \"them\"\n\
         [[auth.key]]\nid = \"k\"\nalgorithm = \"HS256\"\nsecret_file = {secret:?}\n"
        ),
    );
    let server = Server::builder().flag("--config", &file).start().await;

    let made = run_token(&["--sub", "alice", "--config", &file], None).await;

    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(server.answer(&increment(&made.stdout)).await.is_data());
}

#[tokio::test]
async fn dormouse_token_says_what_is_missing() {
    for (args, secret, code, words) in [
        (&["--sub", "a"][..], None, 1, "DORMOUSE_AUTH_SECRET"),
        (&["--sub", "a"], Some("short"), 2, "32 bytes"),
        (&["--sub", "a", "--key", "other"], Some(SECRET), 1, "\"other\""),
        (&["--sub", ""], Some(SECRET), 1, "`sub`"),
        (&["--sub", "a", "--objects", "*/a"], Some(SECRET), 1, "`objects`"),
        (&["--sub", "a", "--expires", "soon"], Some(SECRET), 2, "--expires"),
        (&[], Some(SECRET), 2, "see `dormouse --help`"),
    ] {
        let finished = run_token(args, secret).await;

        assert_eq!((finished.code, &*finished.stdout), (Some(code), ""), "{args:?}: {finished:?}");
        let line = finished.stderr.trim_end();
        assert!(line.starts_with("error: ") && !line.contains('\n'), "{line}");
        assert!(line.contains(words), "{args:?}: {line}");
    }
}
