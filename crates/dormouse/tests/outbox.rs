//! Messages between objects, driven through the test kit.

use std::time::Duration;

use dormouse::{Cx, Delivery, Error, Key, Methods, Object, Session, TestObject};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// More than any wait between two tries.
const LONG: Duration = Duration::from_secs(600);

/// Sends what it is told to, and adds up what it is sent.
struct Account;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
enum AccountEvent {
    Received { from: String, amount: i64 },
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Send {
    to: Vec<String>,
    amount: i64,
    #[serde(default)]
    fails: bool,
}

#[derive(Serialize, JsonSchema)]
struct Balance {
    balance: i64,
}

#[derive(Serialize, Deserialize)]
struct Payment {
    amount: i64,
}

impl Object for Account {
    const KIND: &'static str = "account";
    type Event = AccountEvent;
    const MIGRATIONS: &'static [&'static str] =
        &["CREATE TABLE account (balance INTEGER NOT NULL); INSERT INTO account VALUES (0);"];

    fn methods() -> Methods<Self> {
        Methods::new()
            .mutation("send", Self::send)
            .query("balance", Self::balance)
            .query("deadLetters", Self::dead_letters)
            .delivery(Self::receive)
    }

    fn wake(_: &Cx<Self>) -> Result<Self, Error> {
        Ok(Account)
    }

    fn initial(&self, _: &Cx<Self>, _: &Session) -> Result<Option<AccountEvent>, Error> {
        Ok(None)
    }
}

impl Account {
    fn send(&mut self, cx: &mut Cx<Self>, input: Send) -> Result<Balance, Error> {
        for to in &input.to {
            cx.sql().execute("UPDATE account SET balance = balance - ?1", [input.amount])?;
            cx.send_to(&account(to), &Payment { amount: input.amount })?;
        }
        if input.fails { Err(Error::conflict("on demand")) } else { read_balance(cx) }
    }

    fn receive(&mut self, cx: &mut Cx<Self>, payment: Delivery<Payment>) -> Result<(), Error> {
        let amount = payment.message.amount;
        cx.sql().execute("UPDATE account SET balance = balance + ?1", [amount])?;
        let from = payment.sender.id().to_owned();
        cx.broadcast(&AccountEvent::Received { from, amount })?;
        if amount < 0 { Err(Error::bad_request("a payment is positive")) } else { Ok(()) }
    }

    fn balance(&self, cx: &Cx<Self>, _: dormouse::Empty) -> Result<Balance, Error> {
        read_balance(cx)
    }

    fn dead_letters(&self, cx: &Cx<Self>, _: dormouse::Empty) -> Result<Vec<String>, Error> {
        let letters = cx.dead_letters(10)?;
        Ok(letters
            .iter()
            .map(|dead| format!("{} {} {}", dead.receiver, dead.message, dead.error))
            .collect())
    }
}

fn read_balance(cx: &Cx<Account>) -> Result<Balance, Error> {
    let balance = cx.sql().row("SELECT balance FROM account", [], |row| row.get(0))?;
    Ok(Balance { balance: balance.unwrap_or(0) })
}

fn account(id: &str) -> Key {
    Key::new("account", id).expect("the id is allowed")
}

fn object() -> TestObject<Account> {
    TestObject::new("a")
}

fn send(object: &mut TestObject<Account>, to: &[&str], amount: i64) {
    object.call("send", json!({"to": to, "amount": amount})).expect("it is accepted");
}

fn paid(to: &str, amount: i64) -> (Key, Value) {
    (account(to), json!({"amount": amount}))
}

#[test]
fn messages_leave_in_the_order_of_their_transactions() {
    let mut object = object();

    send(&mut object, &["b", "b", "c"], 1);
    send(&mut object, &["b"], 2);
    send(&mut object, &["c"], 3);

    let messages = object.take_messages();
    let to = |id| messages.iter().filter(|(key, _)| key.id() == id).cloned().collect::<Vec<_>>();
    assert_eq!(to("b"), [paid("b", 1), paid("b", 1), paid("b", 2)]);
    assert_eq!(to("c"), [paid("c", 1), paid("c", 3)]);
    assert_eq!(object.take_messages(), [], "each leaves once");
}

#[test]
fn a_handler_that_fails_sends_nothing() {
    let mut object = object();

    let refused = object.call("send", json!({"to": ["b"], "amount": 1, "fails": true}));

    assert!(refused.is_err());
    assert_eq!(object.take_messages(), []);
    object.advance(LONG);
    assert_eq!(object.take_messages(), []);
}

#[test]
fn what_is_on_its_way_in_a_crash_is_sent_again() {
    let mut object = object();
    send(&mut object, &["b"], 1);
    send(&mut object, &["b"], 2);

    object.crash();
    assert_eq!(object.take_messages(), [], "the lease still runs");
    object.advance(LONG);

    assert_eq!(object.take_messages(), [paid("b", 1), paid("b", 2)]);
    object.advance(LONG);
    assert_eq!(object.take_messages(), [], "it has arrived");
}

#[test]
fn a_message_that_is_on_its_way_for_long_is_not_sent_twice() {
    let mut object = object();
    send(&mut object, &["b"], 1);

    object.advance(LONG);
    object.advance(LONG);

    assert_eq!(object.take_messages(), [paid("b", 1)]);
}

#[test]
fn a_refused_message_holds_those_behind_it_and_not_those_for_others() {
    let mut object = object();
    send(&mut object, &["b"], 1);
    assert_eq!(object.refuse_messages(|| Error::conflict("not now")), 1);

    send(&mut object, &["b", "c"], 2);
    assert_eq!(object.take_messages(), [paid("c", 2)]);
    object.advance(LONG);

    assert_eq!(object.take_messages(), [paid("b", 1), paid("b", 2)]);
}

#[test]
fn a_message_that_is_refused_too_often_is_given_up_and_releases_the_next() {
    let mut object = object();
    send(&mut object, &["b"], 1);
    send(&mut object, &["b"], 2);

    for _ in 0..7 {
        assert_eq!(object.refuse_messages(|| Error::conflict("never")), 1);
        object.advance(LONG);
    }

    assert_eq!(object.take_messages(), [paid("b", 2)]);
    let dead = object.call("deadLetters", json!({})).unwrap();
    assert_eq!(dead, json!([r#"account/b {"amount":1} CONFLICT: never"#]));
}

#[test]
fn a_receiver_that_is_not_available_never_uses_up_the_tries() {
    let mut object = object();
    send(&mut object, &["b"], 1);

    for _ in 0..20 {
        assert_eq!(object.refuse_messages(|| Error::unavailable("stopping")), 1);
        object.advance(LONG);
    }

    assert_eq!(object.take_messages(), [paid("b", 1)]);
    assert_eq!(object.call("deadLetters", json!({})).unwrap(), json!([]));
}

#[test]
fn a_message_that_is_repeated_has_no_second_effect() {
    let mut object = object();
    object.deliver(&account("b"), &json!({"amount": 5})).unwrap();
    object.deliver(&account("c"), &json!({"amount": 5})).unwrap();
    object.take_events();

    object.deliver_again(&account("b")).unwrap();
    object.crash();
    object.deliver_again(&account("c")).unwrap();

    assert_eq!(object.call("balance", json!({})).unwrap(), json!({"balance": 10}));
    assert_eq!(object.take_events(), Vec::<Value>::new());
    object.deliver(&account("b"), &json!({"amount": 5})).unwrap();
    assert_eq!(object.call("balance", json!({})).unwrap(), json!({"balance": 15}));
}

#[test]
fn a_delivery_that_fails_leaves_no_trace() {
    let mut object = object();

    let refused = object.deliver(&account("b"), &json!({"amount": -1})).unwrap_err();
    assert_eq!(refused.to_string(), "a payment is positive");
    let misread = object.deliver(&account("b"), &json!({"sum": 1})).unwrap_err();
    assert!(misread.to_string().contains("missing field `amount`"), "{misread}");

    assert_eq!(object.call("balance", json!({})).unwrap(), json!({"balance": 0}));
    assert_eq!(object.take_events(), Vec::<Value>::new());
    object.deliver(&account("b"), &json!({"amount": 5})).unwrap();
    assert_eq!(object.call("balance", json!({})).unwrap(), json!({"balance": 5}));
}

#[test]
fn more_messages_than_fit_a_parcel_arrive_in_order() {
    let mut object = object();
    for amount in 1..=200 {
        send(&mut object, &["b"], amount);
    }

    let expected: Vec<_> = (1..=200).map(|amount| paid("b", amount)).collect();
    assert_eq!(object.take_messages(), expected);
}
