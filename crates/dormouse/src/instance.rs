//! One resident object: runs its handlers, one transaction each.

mod input;
mod live;
mod outcome;

use std::fmt;
use std::sync::Arc;

use dormouse_store::{Clock, Key, Position, StoreError};

use crate::cx::Cx;
use crate::event_log::LogLimits;
use crate::job::Finished;
use crate::methods::Methods;
use crate::object::Object;
use crate::outbox::DeadLetter;
use crate::parcel::{Parcel, Receipt};
use crate::session::Session;

use self::live::Live;

pub use self::input::{Attach, Call, ClientMessage, Refill, Since};
pub use self::outcome::{Attached, Audience, Effect, Fired, Outcome, Page};

/// One resident object of any kind.
///
/// Not `Sync`: it belongs to one lane, which runs one handler at a time.
pub struct Instance(Box<dyn Resident>);

impl Instance {
    pub(crate) fn new<O: Object>(
        cx: Cx<O>,
        methods: Arc<Methods<O>>,
        clock: Arc<dyn Clock>,
        log_limits: LogLimits,
    ) -> Instance {
        Instance(Box::new(Live::new(cx, methods, clock, log_limits)))
    }

    /// The object's name.
    pub fn key(&self) -> &Key {
        self.0.key()
    }

    /// Runs one method in one transaction.
    pub fn call(&mut self, call: Call) -> Outcome<String> {
        self.0.call(call)
    }

    /// Runs the handler of a message that a client sent over its socket.
    pub fn message(&mut self, message: ClientMessage) -> Outcome<()> {
        self.0.message(message)
    }

    /// Tells the object that a session has lost its socket, if its kind wants to know.
    pub fn closed(&mut self, session: &Session) -> Outcome<()> {
        self.0.closed(session)
    }

    /// Answers a socket that connects: `initial`, or `resumed` and what it missed.
    pub fn attach(&mut self, attach: &Attach) -> Outcome<Attached> {
        self.0.attach(attach)
    }

    /// Answers a socket that fell behind: the next events, or `initial` if they are gone.
    pub fn refill(&mut self, refill: &Refill) -> Outcome<Attached> {
        self.0.refill(refill)
    }

    /// Runs the handler of one due alarm, if one is due. A failure is noted, and logged here.
    ///
    /// An error means that the alarm could not be tried or its failure not noted: it stays due.
    pub fn fire_alarm(&mut self) -> Outcome<Fired> {
        self.0.fire_alarm()
    }

    /// Takes messages of another object, oldest first, each in one transaction, until one fails. The
    /// receipt goes back to the sender's [`settle`](Self::settle).
    pub fn receive(&mut self, parcel: &Parcel) -> Outcome<Receipt> {
        self.0.receive(parcel)
    }

    /// Notes what became of a parcel of this object. The next one may be among the effects.
    ///
    /// An error means that it could not be noted: the messages are sent again later, and the
    /// receiver knows them.
    pub fn settle(&mut self, receiver: &Key, receipt: &Receipt) -> Outcome<()> {
        self.0.settle(receiver, receipt)
    }

    /// Sends what is due in the outbox, for as many receivers as fit a turn.
    ///
    /// An error means that it could not: it stays due.
    pub fn send_due(&mut self) -> Outcome<()> {
        self.0.send_due()
    }

    /// The newest messages of this object that were given up, newest first. Runs nothing of the kind.
    pub fn dead_letters(&mut self, limit: usize) -> Outcome<Vec<DeadLetter>> {
        self.0.dead_letters(limit)
    }

    /// Gives the object the result of a job; `None` if there is none, and never will be.
    pub fn finish_job(&mut self, finished: Option<Finished>) -> Outcome<()> {
        self.0.finish_job(finished)
    }

    /// Work that is due and that nobody waits for: one step of trimming the log, or moving the WAL
    /// into the database. `Ok(true)` if there is more.
    ///
    /// `durable` is how far the journal has come: backfill waits for it.
    ///
    /// # Errors
    ///
    /// The file cannot be trusted any more: drop the instance and open it again.
    pub fn maintain(&mut self, durable: Position) -> Result<bool, StoreError> {
        self.0.maintain(durable)
    }

    /// Whether [`maintain`](Self::maintain) has work that should not wait until the object is idle.
    pub fn maintenance_is_pressing(&self) -> bool {
        self.0.maintenance_is_pressing()
    }

    /// The newest transaction of the object.
    pub fn position(&self) -> Position {
        self.0.position()
    }

    /// Whether the object has a file, or lives in memory because nothing was ever stored.
    pub fn has_file(&self) -> bool {
        self.0.has_file()
    }

    /// Whether the object may leave memory now: not while it backs off after failed wakes.
    pub fn may_sleep(&self) -> bool {
        self.0.may_sleep()
    }

    /// Whether what the file holds has become unknown: drop the instance and open it again.
    pub fn is_broken(&self) -> bool {
        self.0.is_broken()
    }

    /// Writes the WAL into the database and closes the file.
    ///
    /// The journal must have made [`position`](Self::position) durable.
    ///
    /// # Errors
    ///
    /// The file stays as the journal describes it; the next wake or recovery reads that.
    pub fn hibernate(self) -> Result<(), StoreError> {
        self.0.hibernate()
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instance({})", self.key())
    }
}

/// [`Instance`] without the type of its kind.
trait Resident: Send {
    fn key(&self) -> &Key;
    fn call(&mut self, call: Call) -> Outcome<String>;
    fn message(&mut self, message: ClientMessage) -> Outcome<()>;
    fn closed(&mut self, session: &Session) -> Outcome<()>;
    fn attach(&mut self, attach: &Attach) -> Outcome<Attached>;
    fn refill(&mut self, refill: &Refill) -> Outcome<Attached>;
    fn fire_alarm(&mut self) -> Outcome<Fired>;
    fn receive(&mut self, parcel: &Parcel) -> Outcome<Receipt>;
    fn settle(&mut self, receiver: &Key, receipt: &Receipt) -> Outcome<()>;
    fn send_due(&mut self) -> Outcome<()>;
    fn dead_letters(&mut self, limit: usize) -> Outcome<Vec<DeadLetter>>;
    fn finish_job(&mut self, finished: Option<Finished>) -> Outcome<()>;
    fn maintain(&mut self, durable: Position) -> Result<bool, StoreError>;
    fn maintenance_is_pressing(&self) -> bool;
    fn position(&self) -> Position;
    fn has_file(&self) -> bool;
    fn may_sleep(&self) -> bool;
    fn is_broken(&self) -> bool;
    fn hibernate(self: Box<Self>) -> Result<(), StoreError>;
}
