//! Clients whose connections break at random points, again and again, while events flow.

use e2e::{Client, Random, Server, Watcher};
use serde_json::json;
use tokio::task::JoinSet;

/// Clients of the one object.
const WATCHERS: u64 = 20;

/// Times that each of them is cut off.
const CUTS: u64 = 30;

/// Most events that a client reads between two cuts.
const EVENTS_BETWEEN_CUTS_MAX: u64 = 40;

/// Callers that keep the events flowing.
const CALLERS: u64 = 4;

/// Events that each of them causes: more than any client can read before its last cut.
const CALLS: u64 = CUTS * EVENTS_BETWEEN_CUTS_MAX / CALLERS;

#[tokio::test]
async fn clients_that_are_cut_off_at_random_end_with_the_same_list_without_a_gap() {
    let server = Server::start().await;
    let address = server.address();
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        watchers.push(Watcher::connect(&server, "/ws/counter/a").await);
    }

    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(async move {
            let mut client = Client::open(address).await.expect("the server listens");
            for _ in 0..CALLS {
                let answer = client.mutate("counter.increment", &json!({"name": "a"})).await;
                answer.expect("a call is answered").data();
            }
        });
    }
    let all = CALLERS * CALLS;
    let watched =
        watchers.into_iter().zip(1..).map(|(watcher, seed)| watch(&server, watcher, seed, all));
    let watchers = futures_util::future::join_all(watched).await;
    callers.join_all().await;

    let first = watchers[0].seen();
    assert_eq!(first.len() as u64, all);
    for (watcher, seed) in watchers.iter().zip(1..) {
        assert_eq!(watcher.seen(), first, "seed {seed}");
    }
}

/// Reads a random number of events, cuts the connection wherever it is, comes back, and so on; then
/// reads to the end. The watcher itself checks that no event is missing or doubled.
async fn watch(server: &Server, mut watcher: Watcher, seed: u64, all: u64) -> Watcher {
    let mut random = Random::seeded(seed);
    for _ in 0..CUTS {
        let until = (watcher.offset() + random.next_u64() % EVENTS_BETWEEN_CUTS_MAX).min(all);
        watcher.read_to(until).await;
        watcher.cut();
        watcher.resume(server).await;
    }
    watcher.read_to(all).await;
    watcher
}
