//! The subscription `<kind>.events`, as tRPC's `httpSubscriptionLink` reads it.

use e2e::{EventStream, Request, Server, StreamEvent, percent_encode};
use serde_json::{Value, json};

fn target(input: &Value) -> String {
    format!("/rpc/counter.events?input={}", percent_encode(&input.to_string()))
}

async fn subscribe(server: &Server, input: &Value) -> EventStream {
    let mut stream = server.listen(&target(input)).await;
    begin(&mut stream).await;
    stream
}

/// Every stream begins with the time to come back and `connected`.
async fn begin(stream: &mut EventStream) {
    let retry = stream.next_block().await.expect("the stream begins");
    assert!(retry.retry.is_some() && retry.data.is_none(), "{retry:?}");
    let connected = stream.next_block().await.expect("the stream goes on");
    assert_eq!(
        (connected.event.as_deref(), connected.data.as_deref()),
        (Some("connected"), Some("{}"))
    );
}

async fn increment(server: &Server, times: usize) {
    for _ in 0..times {
        server.mutate("counter.increment", json!({"name": "a"})).await.data();
    }
}

/// What is said in a stream that ends at once.
async fn refusal(server: &Server, target: &str) -> Value {
    let mut stream = server.listen(target).await;
    begin(&mut stream).await;
    let error = stream.next_block().await.expect("an error comes");
    assert_eq!(error.event.as_deref(), Some("serialized-error"), "{error:?}");
    assert_eq!(stream.next_block().await, None);
    serde_json::from_str(&error.data.expect("an error has data")).expect("it is JSON")
}

#[tokio::test]
async fn a_subscriber_gets_the_state_and_every_event_with_its_place() {
    let server = Server::start().await;
    increment(&server, 2).await;

    let mut stream = subscribe(&server, &json!({"name": "a"})).await;

    let initial = stream.next_of("initial").await;
    let epoch = initial["epoch"].as_str().unwrap().to_owned();
    assert_eq!(
        (&initial["value"], stream.last_event_id()),
        (&json!(2), format!("{epoch}:2").as_str())
    );
    increment(&server, 1).await;
    assert_eq!(stream.next_of("increment").await["value"], 3);
    assert_eq!(stream.last_event_id(), format!("{epoch}:3"));
}

#[tokio::test]
async fn a_subscriber_that_comes_back_gets_what_it_missed_and_nothing_else() {
    let server = Server::start().await;
    increment(&server, 1).await;
    let mut stream = subscribe(&server, &json!({"name": "a"})).await;
    stream.next_of("initial").await;
    let place = stream.last_event_id().to_owned();
    drop(stream);
    increment(&server, 2).await;

    let named = target(&json!({"name": "a", "lastEventId": place}));
    let fresh = target(&json!({"name": "a", "lastEventId": null}));
    let in_address =
        format!("{}&lastEventId={}", target(&json!({"name": "a"})), percent_encode(&place));
    for mut stream in [
        server.listen(&named).await,
        server.listen_after(&fresh, &place).await,
        server.listen(&in_address).await,
    ] {
        begin(&mut stream).await;
        assert_eq!(stream.next_of("increment").await["offset"], 2);
        assert_eq!(stream.next_of("increment").await["offset"], 3);
    }
    let mut stream = server.listen_after(&named, &place.replace(":1", ":3")).await;
    begin(&mut stream).await;
    let told = stream.next_block().await.expect("the stream goes on");
    assert_eq!(told.event.as_deref(), Some("restore-id"));
    increment(&server, 1).await;
    assert_eq!(
        stream.next_of("increment").await["offset"],
        4,
        "the header is later than the input"
    );
    let mut stream = subscribe(&server, &json!({"name": "a", "lastEventId": "elsewhere:1"})).await;
    assert_eq!(stream.next_of("initial").await["offset"], 4);
}

#[tokio::test]
async fn a_subscriber_that_missed_nothing_hears_no_event_until_something_happens() {
    let server = Server::start().await;
    increment(&server, 1).await;
    let mut stream = subscribe(&server, &json!({"name": "a"})).await;
    stream.next_of("initial").await;

    let named = json!({"name": "a", "lastEventId": stream.last_event_id()});
    let mut again = subscribe(&server, &named).await;
    // Nothing for its user, but the place for events that have none of their own.
    let told = again.next_block().await.expect("the stream goes on");
    increment(&server, 1).await;

    assert_eq!((told.event.as_deref(), told.data.as_deref()), (Some("restore-id"), Some("")));
    assert_eq!(told.id.as_deref(), Some(stream.last_event_id()));
    assert_eq!(again.next_of("increment").await["offset"], 2);
}

#[tokio::test]
async fn what_is_refused_is_said_within_the_stream() {
    let server = Server::start().await;

    for (input, message) in [
        (json!({}), "missing field `name`"),
        (json!({"name": 7}), "`name` must be a string"),
        (json!({"name": ""}), "not a usable id"),
        (json!({"name": "a", "since": 3}), "unknown field `since`"),
        (json!({"name": "a", "lastEventId": 3}), "`lastEventId` must be a string"),
        (json!([]), "must be a JSON object"),
    ] {
        let error = refusal(&server, &target(&input)).await;
        assert_eq!(error["data"]["code"], "BAD_REQUEST", "{input}");
        assert_eq!(
            (&error["code"], &error["data"]["path"]),
            (&json!(-32_600), &json!("counter.events"))
        );
        assert!(error["message"].as_str().unwrap().contains(message), "{input}: {error}");
    }
    assert_eq!(
        refusal(&server, "/rpc/counter.events?input=%7B").await["data"]["code"],
        "PARSE_ERROR"
    );
    assert_eq!(server.metric("dormouse_sockets_open").await, 0.0);
}

#[tokio::test]
async fn a_limit_that_is_reached_is_an_error_after_which_a_browser_comes_back() {
    let server = Server::builder().flag("--sockets-max", "1").start().await;
    let mut first = subscribe(&server, &json!({"name": "a"})).await;
    first.next_of("initial").await;

    let error = refusal(&server, &target(&json!({"name": "b"}))).await;
    drop(first);

    assert_eq!(
        (&error["code"], &error["data"]["code"]),
        (&json!(-32_603), &json!("SERVICE_UNAVAILABLE"))
    );
    server
        .eventually("the place to be free", async |server: &Server| {
            server.metric("dormouse_sockets_open").await == 0.0
        })
        .await;
    subscribe(&server, &json!({"name": "b"})).await.next_of("initial").await;
}

#[tokio::test]
async fn a_quiet_subscription_is_kept_alive_by_pings() {
    let server = Server::builder().flag("--heartbeat-interval", "100ms").start().await;
    let mut stream = subscribe(&server, &json!({"name": "a"})).await;
    // On a busy machine the first ping comes before it.
    let is_ping = |block: &StreamEvent| block.event.as_deref() == Some("ping");
    while is_ping(&stream.next_block().await.expect("the stream stays open")) {}

    for _ in 0..3 {
        let ping = stream.next_block().await.expect("the stream stays open");
        assert_eq!((ping.event.as_deref(), ping.data.as_deref()), (Some("ping"), Some("")));
    }
}

#[tokio::test]
async fn a_server_that_stops_tells_its_subscribers_to_come_back() {
    let mut server = Server::start().await;
    let mut stream = subscribe(&server, &json!({"name": "a"})).await;
    stream.next_of("initial").await;

    server.ask_to_end();
    let error = stream.next_block().await.expect("an error comes");

    assert_eq!(error.event.as_deref(), Some("serialized-error"));
    assert!(error.data.expect("it has data").contains("\"SERVICE_UNAVAILABLE\""));
    assert_eq!(stream.next_block().await, None);
    server.ended().await;
}

#[tokio::test]
async fn a_subscription_is_no_call() {
    let server = Server::start().await;

    let posted = server.mutate("counter.events", json!({"name": "a"})).await;
    let inputs = percent_encode(&json!({"0": {"name": "a"}, "1": {"name": "a"}}).to_string());
    let batch = format!("/rpc/counter.events,counter.getValue?batch=1&input={inputs}");
    let (status, envelopes) = server.batch(&Request::get(batch)).await;
    let flat = server.get("/api/v1/counter.events").await;

    assert_eq!(posted.code(), "METHOD_NOT_SUPPORTED");
    assert_eq!(status, 207);
    assert_eq!(envelopes[0].error().message, "Cannot batch subscription calls");
    assert!(envelopes[1].is_data());
    assert_eq!(flat.status, 404);
}
