//! What waits in an object's queue, and how it is answered.

use std::fmt;

use dormouse::{
    Attach, Call, ClientMessage, Error, Finished, Key, Offset, Receipt, Refill, Session,
};
use dormouse_socket::SocketId;

use crate::alarm_clock::Told;
use crate::courier::Courier;
use crate::jobs::Running;

/// How many times as many envelopes may wait before one that says that a socket is closed is dropped.
const CLOSED_PER_REFUSABLE: usize = 4;

/// One input of an object.
#[derive(Debug)]
pub(crate) enum Envelope {
    /// A query or mutation.
    Call {
        /// What to run.
        call: Call,
        /// Who waits for it.
        reply: Reply,
    },
    /// A message of a client that is no call.
    Message {
        /// What to handle.
        message: ClientMessage,
        /// Who hears of an error.
        reply: Reply,
    },
    /// A session has lost its socket.
    Closed {
        /// Which one.
        session: Session,
    },
    /// A socket that connects.
    Attach {
        /// Its session and what it knows.
        attach: Attach,
        /// Where to send the answer.
        socket: SocketId,
    },
    /// A socket that fell behind.
    Refill {
        /// Its session and what it has.
        refill: Refill,
        /// Where to send the answer.
        socket: SocketId,
    },
    /// Messages of another object.
    Deliver {
        /// Has them, and brings the receipt back.
        courier: Courier,
    },
    /// Somebody asks which of its messages were given up.
    DeadLetters {
        /// How many, at most.
        limit: usize,
        /// Who waits for a JSON array of them.
        reply: Reply,
    },
    /// What became of messages to another object.
    Settle {
        /// Whom they were for.
        receiver: Key,
        /// What it did.
        receipt: Receipt,
    },
    /// A job has ended.
    JobDone {
        /// Its result; `None` if it has none.
        finished: Option<Finished>,
        /// Dropped when the object has it.
        running: Running,
    },
    /// An alarm or a message is due.
    Alarm {
        /// Dropped when the object is done.
        told: Told,
    },
}

impl Envelope {
    /// How many may wait before it, where as many as `max` may wait that can be refused. `None`: what is
    /// never refused is bounded elsewhere, by the messages in the outbox and by the object's jobs.
    pub(crate) fn waiting_max(&self, max: usize) -> Option<usize> {
        match self {
            Envelope::Call { .. }
            | Envelope::Message { .. }
            | Envelope::Attach { .. }
            | Envelope::Refill { .. }
            | Envelope::Deliver { .. }
            | Envelope::DeadLetters { .. }
            | Envelope::Alarm { .. } => Some(max),
            // Nobody could be told that it was refused.
            Envelope::Closed { .. } => Some(max.saturating_mul(CLOSED_PER_REFUSABLE)),
            Envelope::Settle { .. } | Envelope::JobDone { .. } => None,
        }
    }
}

/// The answer to a call.
#[derive(Debug)]
pub struct Answered {
    /// The JSON of the result.
    pub result: Result<String, Error>,
    /// The newest event of the object when it answered: a socket must have seen it first.
    pub tail: Offset,
    /// Whether `result` is the recorded answer to an earlier call with the same idempotency key.
    pub is_replay: bool,
}

impl Answered {
    fn refused(err: Error) -> Answered {
        Answered { result: Err(err), tail: Offset::ZERO, is_replay: false }
    }
}

/// Who waits for an answer. It is called exactly once: a reply that is dropped answers
/// SERVICE_UNAVAILABLE, because silence is never an answer.
pub struct Reply(Option<Box<dyn FnOnce(Answered) + Send>>);

impl Reply {
    /// A reply that calls `answer`. It runs on a lane: it must be quick and never block.
    pub fn new(answer: impl FnOnce(Answered) + Send + 'static) -> Reply {
        Reply(Some(Box::new(answer)))
    }

    /// Answers.
    pub fn answer(mut self, answered: Answered) {
        if let Some(answer) = self.0.take() {
            answer(answered);
        }
    }

    pub(crate) fn refuse(self, err: Error) {
        self.answer(Answered::refused(err));
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(answer) = self.0.take() {
            let err = Error::unavailable(
                "the server stopped before it answered; it is not known whether the call was applied",
            );
            answer(Answered::refused(err));
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}
