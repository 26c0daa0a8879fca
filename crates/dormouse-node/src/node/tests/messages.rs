//! Messages between objects, and jobs.

use super::*;

/// More than any wait between two tries of a message.
const LONG: Duration = Duration::from_secs(1_000);

#[actix::test]
async fn a_message_leaves_after_it_is_durable_and_wakes_its_receiver() {
    let bench = Bench::new(config());
    let told = bench.call("a", "tell");
    bench.until(|| bench.log.appended() > Position::ZERO).await;

    let early = bench.node.stats().parcels_total();
    bench.log.release_all();
    assert_eq!(sum(told.await.unwrap()), json!({"sum": 1}));
    bench.until(|| bench.node.stats().parcels_total() == 1).await;

    assert_eq!(early, 0, "nothing leaves before it is durable");
    assert_eq!(bench.done("z", "get").await.unwrap(), json!({"sum": 1}));
}

#[actix::test]
async fn every_message_of_every_sender_has_its_effect_once() {
    let bench = Bench::new(config());

    for _ in 0..10 {
        for sender in ["a", "b", "c", "z"] {
            bench.done(sender, "tell").await.unwrap();
        }
    }
    bench.until_received(40 + 10).await;
    bench.asleep().await;
    // What was settled is not sent again.
    bench.clock.advance(LONG);
    bench.done("a", "tell").await.unwrap();
    bench.until_received(40 + 10 + 1).await;

    bench.asleep().await;
    assert_eq!(bench.done("z", "get").await.unwrap(), json!({"sum": 51}));
}

#[actix::test]
async fn a_message_for_a_kind_that_is_not_there_becomes_a_dead_letter() {
    let bench = Bench::new(config());
    bench.done("a", "tellNobody").await.unwrap();

    let given_up = async {
        loop {
            bench.clock.advance(LONG);
            let letters = bench.dead_letters("a").await;
            if letters != json!([]) {
                return letters;
            }
        }
    };
    let letters = tokio::time::timeout(PATIENCE, given_up).await.expect("it is given up in time");

    assert_eq!(letters[0]["receiver"], "nothing/z");
    assert_eq!(letters[0]["error"], r#"NOT_FOUND: there is no kind "nothing""#);
    assert_eq!(letters.as_array().unwrap().len(), 1);
}

#[actix::test]
async fn a_job_keeps_its_object_awake_until_its_result_is_in() {
    let bench = Bench::new(config());

    assert_eq!(bench.done("a", "addByJob").await.unwrap(), json!({"sum": 0}));
    bench.until(|| bench.node.stats().jobs_total() == 1).await;

    assert_eq!(bench.done("a", "get").await.unwrap(), json!({"sum": 1}));
    bench.asleep().await;
}

#[actix::test]
async fn a_job_that_panics_lets_its_object_sleep() {
    let bench = Bench::new(config());

    bench.done("a", "panicInJob").await.unwrap();
    bench.until(|| bench.node.stats().jobs_total() == 1).await;

    bench.asleep().await;
    assert_eq!(bench.done("a", "get").await.unwrap(), json!({"sum": 0}));
}

impl Bench {
    /// Waits until `z` holds this sum.
    async fn until_received(&self, sum: i64) {
        let received =
            async { while self.done("z", "get").await.unwrap() != json!({ "sum": sum }) {} };
        tokio::time::timeout(PATIENCE, received).await.expect("they arrive in time");
    }

    async fn dead_letters(&self, id: &str) -> Value {
        let kind = self.node.kinds().get("tally").unwrap();
        let object = self.node.object(kind, &kind.key(id).unwrap());
        let (sender, mut receiver) = oneshot::channel();
        let reply = Reply::new(move |answered| _ = sender.send(answered.result));
        self.node.dead_letters(&object, 10, reply);
        let mut answered = None;
        self.until(|| {
            self.log.release_all();
            answered = receiver.try_recv().ok();
            answered.is_some()
        })
        .await;
        serde_json::from_str(&answered.unwrap().unwrap()).unwrap()
    }
}
