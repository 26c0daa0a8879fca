//! `account`: pays others through the outbox, and keeps books that show every message that was lost,
//! doubled or out of order.

use std::collections::BTreeMap;

use dormouse::{Alarm, Cx, Delivery, Empty, Error, Key, Methods, Object, Session};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const SELECT_ACCOUNT: &str = "SELECT balance, violations FROM account";
const SELECT_PEERS: &str = "SELECT id, sent, received FROM peer";
const COUNT_FOLLOW_UPS: &str = "SELECT count(*) FROM follow_up";
const ADD_BALANCE: &str = "UPDATE account SET balance = balance + ?1";
const ADD_VIOLATION: &str = "UPDATE account SET violations = violations + 1";
const COUNT_SENT: &str = "
    INSERT INTO peer (id, sent) VALUES (?1, 1)
    ON CONFLICT (id) DO UPDATE SET sent = sent + 1";
const SELECT_SENT: &str = "SELECT sent FROM peer WHERE id = ?1";
const COUNT_RECEIVED: &str = "
    INSERT INTO peer (id, received) VALUES (?1, 1)
    ON CONFLICT (id) DO UPDATE SET received = received + 1";
const SELECT_RECEIVED: &str = "SELECT received FROM peer WHERE id = ?1";
const INSERT_FOLLOW_UP: &str = "INSERT OR IGNORE INTO follow_up VALUES (?1)";

/// The object in memory: everything is in its file.
#[derive(Debug)]
pub(crate) struct Account;

/// What its sockets receive.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(crate) enum AccountEvent {
    Paid { to: String },
    Received { from: String },
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pay {
    to: String,
    amount: i64,
}

/// The n-th payment from one account to another, counted from 1.
#[derive(Debug, Serialize, Deserialize)]
struct Payment {
    n: i64,
    amount: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Books {
    balance: i64,
    violations: i64,
    follow_ups: i64,
    sent: BTreeMap<String, i64>,
    received: BTreeMap<String, i64>,
}

impl Object for Account {
    const KIND: &'static str = "account";
    type Event = AccountEvent;
    const MIGRATIONS: &'static [&'static str] = &[include_str!("1_account.sql")];

    fn methods() -> Methods<Self> {
        Methods::new()
            .mutation("pay", Self::pay)
            .query("books", Self::books)
            .alarm(Self::follow_up)
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
    /// Pays, and sets an alarm that is due at once and notes that it came.
    fn pay(&mut self, cx: &mut Cx<Self>, Pay { to, amount }: Pay) -> Result<(), Error> {
        let receiver =
            Key::new(Self::KIND, to.as_str()).map_err(|err| Error::bad_request(err.to_string()))?;
        cx.sql().execute(ADD_BALANCE, [-amount])?;
        cx.sql().execute(COUNT_SENT, [&to])?;
        let n = cx.sql().row(SELECT_SENT, [&to], |row| row.get(0))?.unwrap_or(0);
        cx.send_to(&receiver, &Payment { n, amount })?;
        cx.set_alarm(&format!("{to}/{n}"), cx.now())?;
        cx.broadcast(&AccountEvent::Paid { to })?;
        Ok(())
    }

    fn receive(&mut self, cx: &mut Cx<Self>, payment: Delivery<Payment>) -> Result<(), Error> {
        let Delivery { sender, message: Payment { n, amount } } = payment;
        let from = sender.id().to_owned();
        cx.sql().execute(COUNT_RECEIVED, [&from])?;
        let expected: Option<i64> = cx.sql().row(SELECT_RECEIVED, [&from], |row| row.get(0))?;
        if expected != Some(n) {
            cx.sql().execute(ADD_VIOLATION, [])?;
        }
        cx.sql().execute(ADD_BALANCE, [amount])?;
        cx.broadcast(&AccountEvent::Received { from })?;
        Ok(())
    }

    fn follow_up(&mut self, cx: &mut Cx<Self>, alarm: &Alarm) -> Result<(), Error> {
        cx.sql().execute(INSERT_FOLLOW_UP, [&alarm.name])?;
        Ok(())
    }

    fn books(&self, cx: &Cx<Self>, _: Empty) -> Result<Books, Error> {
        let sql = cx.sql();
        let (balance, violations) =
            sql.row(SELECT_ACCOUNT, [], |row| Ok((row.get(0)?, row.get(1)?)))?.unwrap_or((0, 0));
        let follow_ups = sql.row(COUNT_FOLLOW_UPS, [], |row| row.get(0))?.unwrap_or(0);
        let mut books = Books {
            balance,
            violations,
            follow_ups,
            sent: BTreeMap::new(),
            received: BTreeMap::new(),
        };
        let peers =
            sql.rows(SELECT_PEERS, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        for (id, sent, received) in peers {
            let id: String = id;
            books.sent.insert(id.clone(), sent);
            books.received.insert(id, received);
        }
        Ok(books)
    }
}
