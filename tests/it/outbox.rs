//! Messages between objects over real files and a real `kill -9`: each has its effect exactly once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use e2e::{Client, Process, Random, Server, ServerBuilder};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// Accounts that pay each other.
const ACCOUNTS: u64 = 200;

/// Connections that ask them to.
const PAYERS: u64 = 8;

/// How often the server is killed.
const ROUNDS: u64 = 100;

/// What accounts were asked to pay, and what was acknowledged.
#[derive(Debug, Default)]
struct Payments {
    asked: BTreeMap<String, i64>,
    acknowledged: BTreeMap<String, i64>,
}

/// The answers of one round, counted.
struct Round {
    answers: AtomicU64,
    enough: u64,
    is_enough: Notify,
}

fn server() -> ServerBuilder {
    Server::builder().program(env!("CARGO_BIN_EXE_misbehaving-server"))
}

fn id(n: u64) -> String {
    format!("account-{}", n % ACCOUNTS)
}

/// Asks accounts to pay each other until the connection breaks.
async fn pay(address: SocketAddr, seed: u64, round: Arc<Round>) -> Payments {
    let mut payments = Payments::default();
    let mut client = Client::open(address).await.expect("the server listens");
    // Which accounts they are does not matter, but a run can be repeated.
    let mut numbers = Random::seeded(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    loop {
        let random = numbers.next_u64();
        // Few receivers for many senders, and now and then an account pays itself.
        let (from, to) = (id(random >> 8), id((random >> 24) % 16));
        let input = json!({"id": from, "to": to, "amount": random % 100});
        *payments.asked.entry(from.clone()).or_default() += 1;
        match client.mutate("account.pay", &input).await {
            Ok(answer) => {
                answer.data();
                *payments.acknowledged.entry(from).or_default() += 1;
            }
            Err(_) => return payments,
        }
        if round.answers.fetch_add(1, Ordering::Relaxed) + 1 == round.enough {
            round.is_enough.notify_one();
        }
    }
}

/// Everybody's books.
async fn books(server: &Server) -> BTreeMap<String, Value> {
    let mut client = server.client().await;
    let mut all = BTreeMap::new();
    for id in (0..ACCOUNTS).map(id) {
        let answer = client.query("account.books", &json!({"id": id})).await;
        all.insert(id, answer.expect("it is answered").data().clone());
    }
    all
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

/// Whether every payment has arrived and was followed up.
fn is_settled(books: &BTreeMap<String, Value>) -> bool {
    books.iter().all(|(from, book)| {
        let sent = book["sent"].as_object().expect("a map");
        let all: i64 = sent.values().map(number).sum();
        all == number(&book["followUps"])
            && sent.iter().all(|(to, sent)| number(sent) == number(&books[to]["received"][from]))
    })
}

#[tokio::test]
async fn every_payment_arrives_once_and_in_order_in_a_hundred_rounds_of_kill_nine() {
    let mut server = server().start().await;
    let mut total = Payments::default();

    for kill in 0..ROUNDS {
        let round = Arc::new(Round {
            answers: AtomicU64::new(0),
            enough: 1 + kill % 10 * 20,
            is_enough: Notify::new(),
        });
        let address = server.address();
        let payers: Vec<_> = (0..PAYERS)
            .map(|payer| tokio::spawn(pay(address, 1 + kill * PAYERS + payer, Arc::clone(&round))))
            .collect();
        e2e::within("enough answers", round.is_enough.notified()).await;
        server.kill().await;
        for payer in payers {
            let payments = payer.await.expect("no payer panics");
            for (from, count) in payments.asked {
                *total.asked.entry(from).or_default() += count;
            }
            for (from, count) in payments.acknowledged {
                *total.acknowledged.entry(from).or_default() += count;
            }
        }
        server.restart().await;
    }

    server
        .eventually("every payment to arrive", async |server: &Server| {
            is_settled(&books(server).await)
        })
        .await;
    let books = books(&server).await;
    assert_eq!(books.values().map(|book| number(&book["balance"])).sum::<i64>(), 0);
    for (account, book) in &books {
        assert_eq!(book["violations"], 0, "{account}: {book}");
        let sent: i64 = book["sent"].as_object().expect("a map").values().map(number).sum();
        let of = |counts: &BTreeMap<String, i64>| counts.get(account).copied().unwrap_or(0);
        let (acknowledged, asked) = (of(&total.acknowledged), of(&total.asked));
        assert!(
            acknowledged <= sent && sent <= asked,
            "{account}: {acknowledged} acknowledged, {sent} stored, {asked} asked"
        );
    }
    assert_every_file_is_sound(&mut server).await;
}

async fn assert_every_file_is_sound(server: &mut Server) {
    assert_eq!(server.terminate().await, Some(0), "{}", server.log());
    let data = server.data().path().into_os_string();
    let args = vec![OsString::from("check"), OsString::from("--data"), data];
    let program = PathBuf::from(env!("CARGO_BIN_EXE_misbehaving-server"));
    let checked = Process::run(&program, &args, &[]).await;
    assert!(checked.stdout.contains(" 0 damaged"), "{checked:?}");
}
