//! What messages of sockets mean. Runs on the hub's thread; nothing here waits.

mod renewal;

use std::mem;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use dormouse::{
    Error, Heard, IdempotencyKey, Kind, Offset, Random, Refill, Request, Resolved, Sender, Session,
    SessionId, Since, Timestamp,
};
use dormouse_node::{Answered, Arrival, Knowledge, Node, ObjectRef, Reply};
use dormouse_socket::{
    CloseCause, HubHandle, Owner, SocketCx, SocketId, ToHub, TopicId, binary_frame, text_frame,
};
use serde_json::Value;

use crate::admission::{AddressBlock, Admission, Applicant, ObjectSeat, Refusal};
use crate::auth::{Access, Auth, Denial, Identity};
use crate::socket::expiry::Expiries;
use crate::socket::frames::{self, CallId, CallMessage, ClientMessage};
use crate::socket::route::Filter;

/// The owner of the sockets of one hub.
pub(crate) struct SocketOwner {
    node: Node,
    hub: HubHandle,
    auth: Arc<Auth>,
    expiries: Rc<Expiries>,
}

/// What a hub keeps for each socket.
pub(crate) enum SocketSession {
    /// A socket of an object.
    Object {
        object: ObjectRef,
        session: Session,
        seat: Seat,
        /// Until the object has been asked to attach the socket.
        start: Option<Box<Start>>,
    },
    /// A socket of `/echo`.
    Echo { seat: Seat },
}

/// The place of a socket in the counts of the node. It is kept in few bytes: the session knows by what
/// else it was counted.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    /// `None` until the socket is admitted.
    held_in: Option<Arc<Admission>>,
    address: Option<AddressBlock>,
}

/// With what a socket starts.
pub(crate) struct Start {
    pub(crate) since: Option<Since>,
    pub(crate) filter: Option<Filter>,
    /// As which session it was here before.
    pub(crate) comes_back: Option<SessionId>,
    /// Whether it is told who is present.
    pub(crate) watches: bool,
    /// Of its token, if it has one.
    pub(crate) identity: Option<Identity>,
    /// Whether it is told when it can go on where it stopped.
    pub(crate) says_resumed: bool,
}

impl SocketSession {
    /// The session of a socket that has just been accepted.
    ///
    /// It has no seat yet: see [`admit`](Self::admit).
    pub(crate) fn new(object: ObjectRef, joined_at: Timestamp, start: Start) -> SocketSession {
        let id = SessionId::from_random(Random::system().bytes());
        let user = start.identity.as_ref().map(|identity| Arc::clone(&identity.user));
        SocketSession::Object {
            object,
            session: Session { id, user, joined_at },
            seat: Seat::default(),
            start: Some(Box::new(start)),
        }
    }

    /// The session of a socket of `/echo`, without a seat.
    pub(crate) fn echo() -> SocketSession {
        SocketSession::Echo { seat: Seat::default() }
    }

    /// Takes a seat, which is given back when the session is dropped.
    ///
    /// # Errors
    ///
    /// The limit that is reached.
    pub(crate) fn admit(
        &mut self,
        admission: &Arc<Admission>,
        address: Option<AddressBlock>,
        sockets_open: u64,
    ) -> Result<(), Refusal> {
        admission.admit(self.applicant(address), sockets_open)?;
        *self.seat() = Seat { held_in: Some(Arc::clone(admission)), address };
        Ok(())
    }

    /// By what it is counted, if it comes from this address.
    pub(crate) fn applicant(&self, address: Option<AddressBlock>) -> Applicant<'_> {
        match self {
            SocketSession::Object { object, session, .. } => {
                let root = object.root();
                let (topic, sockets_max) = (root.topic(), root.kind().sockets_max());
                let object = Some(ObjectSeat { topic, sockets_max });
                Applicant { address, user: session.user.as_deref(), object }
            }
            SocketSession::Echo { .. } => Applicant { address, user: None, object: None },
        }
    }

    /// What its kind says when an object has all the sockets that it may have.
    pub(crate) fn full(&self) -> Option<&'static str> {
        match self {
            SocketSession::Object { object, .. } => object.root().kind().full(),
            SocketSession::Echo { .. } => None,
        }
    }

    fn seat(&mut self) -> &mut Seat {
        match self {
            SocketSession::Object { seat, .. } | SocketSession::Echo { seat } => seat,
        }
    }
}

impl Drop for SocketSession {
    fn drop(&mut self) {
        let Seat { held_in, address } = mem::take(self.seat());
        if let Some(admission) = held_in {
            admission.leave(self.applicant(address));
        }
    }
}

impl SocketOwner {
    /// Also starts what ends the sockets whose tokens expire. Must be called on the hub's thread.
    pub(crate) fn new(node: Node, hub: HubHandle, auth: Arc<Auth>) -> SocketOwner {
        let expiries = Expiries::start(hub.clone(), Arc::clone(node.clock()));
        SocketOwner { node, hub, auth, expiries }
    }

    fn call(
        &self,
        socket: &mut SocketCx<'_, SocketSession>,
        object: &ObjectRef,
        session: &Session,
        message: CallMessage,
    ) {
        let CallMessage { id, method, params, key } = message;
        // What clients know, and call, is the root.
        let is_shard = object.kind().is_shard();
        let object = object.root();
        let kind = object.kind();
        let caller = session.caller();
        let mut new_id = (self.node.clock().now(), Random::system());
        let bound = Some(object.key());
        let resolved = self.may_call(session, kind, &method).and_then(|()| {
            let key = key.map(IdempotencyKey::new).transpose()?;
            let request = Request { method: &method, params, bound, caller, key };
            let resolved = kind.resolve(request, &mut new_id)?;
            self.may_list(socket.id(), &resolved)?;
            Ok(resolved)
        });
        let resolved = match resolved {
            Ok(resolved) => resolved,
            Err(err) => return send(socket, &frames::error(Some(&id), &err)),
        };
        socket.await_answer();
        let reply = self.reply(socket.id(), id, is_shard);
        match resolved {
            Resolved::Object { call, .. } => self.node.call(object, call, reply),
            Resolved::Listing(call) => {
                let (kind, store, after) =
                    (Arc::clone(kind), self.node.store().clone(), socket.offset());
                actix_rt::task::spawn_blocking(move || {
                    let result = kind.list(store.catalog(), call);
                    let tail = Offset::new(after);
                    reply.answer(Answered { result, tail, is_replay: false });
                });
            }
        }
    }

    /// Whether the socket's user may use a method. One that does not exist is refused elsewhere.
    fn may_call(&self, session: &Session, kind: &Kind, method: &str) -> Result<(), Error> {
        let Some(method) = kind.method(method) else { return Ok(()) };
        let (user, access) = (session.user.as_deref(), Access::of(method));
        self.auth.admit(user, kind, access).map_err(|denial| denial.error())
    }

    /// Whether the socket's user may send a message. What they may see was asked when they connected.
    fn may_send(&self, session: &Session, kind: &Kind, sender: Sender) -> Result<(), Error> {
        match sender {
            Sender::Writer => {
                let admitted = self.auth.admit(session.user.as_deref(), kind, Access::Write);
                admitted.map_err(|denial| denial.error())
            }
            Sender::Reader => Ok(()),
        }
    }

    /// Whether the socket's token is for all that a call is about. It is for the socket's object.
    fn may_list(&self, socket: SocketId, call: &Resolved) -> Result<(), Error> {
        match call {
            Resolved::Listing(_) if !self.expiries.covers_kind(socket) => {
                Err(self.auth.deny(Denial::Object).error())
            }
            Resolved::Listing(_) | Resolved::Object { .. } => Ok(()),
        }
    }

    /// Sends the answer of a call to the socket it came from, after the events it must follow. A socket
    /// of a shard is at a place in another log, and does not wait.
    fn reply(&self, socket: SocketId, id: CallId, is_shard: bool) -> Reply {
        let hub = self.hub.clone();
        Reply::new(move |answered: Answered| {
            let frames = text_frame(&frames::answer(&id, &answered));
            let after = if is_shard { 0 } else { answered.tail.get() };
            hub.send(ToHub::Direct { socket, frames, after, settles: 1 });
        })
    }

    /// A message that the object's kind may know.
    fn hear(
        &self,
        socket: &mut SocketCx<'_, SocketSession>,
        object: &ObjectRef,
        session: &Session,
        name: &str,
        fields: Value,
    ) {
        let heard = object.kind().hear(name, session, fields);
        match heard.unwrap_or_else(|| Err(frames::unknown_type())) {
            Ok(Heard::Relay(relay)) => self.node.relay(object, relay),
            Ok(Heard::Object { message, sender }) => {
                if let Err(err) = self.may_send(session, object.root().kind(), sender) {
                    return send(socket, &frames::error(None, &err));
                }
                socket.await_answer();
                self.node.message(object, message, self.settlement(socket.id()));
            }
            Err(err) => send(socket, &frames::error(None, &err)),
        }
    }

    /// Tells a socket if its message failed.
    fn settlement(&self, socket: SocketId) -> Reply {
        let hub = self.hub.clone();
        Reply::new(move |answered: Answered| {
            let frames = match &answered.result {
                Ok(_) => Bytes::new(),
                Err(err) => text_frame(&frames::error(None, err)),
            };
            hub.send(ToHub::Direct { socket, frames, after: answered.tail.get(), settles: 1 });
        })
    }

    fn filter(
        &self,
        socket: &mut SocketCx<'_, SocketSession>,
        object: &ObjectRef,
        names: Vec<String>,
    ) {
        match Filter::new(names, object.kind().event_types()) {
            Ok(filter) => {
                socket.set_filter(filter.mask);
                let offset = socket.offset();
                send(socket, &frames::filtered(&filter.names, offset));
            }
            Err(err) => send(socket, &frames::error(None, &err)),
        }
    }
}

impl Owner for SocketOwner {
    type Session = SocketSession;

    fn opened(&self, socket: SocketId, session: &mut SocketSession) {
        let SocketSession::Object { object, session, start, .. } = session else { return };
        let Some(start) = start.take() else { return };
        let Start { since, filter, comes_back, watches, identity, says_resumed } = *start;
        if let Some(identity) = identity {
            self.expiries.insert(socket, object.root().kind().name(), &identity);
        }
        let mut mask = u128::MAX;
        if let Some(filter) = filter {
            mask = filter.mask.0;
            let offset = since.as_ref().map_or(0, |since| since.offset.get());
            let frames = text_frame(&frames::filtered(&filter.names, offset));
            self.hub.send(ToHub::Direct { socket, frames, after: 0, settles: 0 });
        }
        let arrival = Arrival { session: session.clone(), comes_back, watches };
        let knows = Knowledge { since, mask, says_resumed };
        *session = self.node.attach(object, socket, arrival, knows);
    }

    fn message(&self, socket: &mut SocketCx<'_, SocketSession>, text: &str) {
        self.take_newer_user(socket);
        let (object, session) = match socket.session() {
            SocketSession::Object { object, session, .. } => (object.clone(), session.clone()),
            SocketSession::Echo { .. } => return socket.send(text_frame(text)),
        };
        match frames::parse(text) {
            Ok(ClientMessage::Ping) => {
                let pong = frames::pong(self.node.clock().now(), socket.offset());
                send(socket, &pong);
            }
            Ok(ClientMessage::Filter(message)) => self.filter(socket, &object, message.events),
            Ok(ClientMessage::Auth(message)) => self.renew(socket, message.token),
            Ok(ClientMessage::Call(message)) => self.call(socket, &object, &session, message),
            Ok(ClientMessage::OfKind { name, fields }) => {
                self.hear(socket, &object, &session, &name, fields);
            }
            Err(bad) => send(socket, &frames::error(bad.id.as_ref(), &bad.err)),
        }
    }

    fn binary(&self, socket: &mut SocketCx<'_, SocketSession>, bytes: &[u8]) {
        // Only `/echo` takes binary messages.
        if matches!(socket.session(), SocketSession::Echo { .. }) {
            socket.send(binary_frame(bytes));
        }
    }

    fn refill(&self, socket: SocketId, session: &SocketSession, _: TopicId, after: u64) {
        if let SocketSession::Object { object, session, .. } = session {
            let refill = Refill { session: session.clone(), after: Offset::new(after) };
            self.node.refill(object, socket, refill);
        }
    }

    fn closed(&self, socket: SocketId, session: SocketSession, cause: CloseCause) {
        if let SocketSession::Object { object, session, .. } = &session {
            tracing::debug!(%socket, key = %object.key(), cause = cause.as_str(), "socket closed");
            self.expiries.remove(socket);
            self.node.detach(object, socket, session, cause);
        }
    }
}

fn send(socket: &mut SocketCx<'_, SocketSession>, json: &str) {
    let frame: Bytes = text_frame(json);
    socket.send(frame);
}
