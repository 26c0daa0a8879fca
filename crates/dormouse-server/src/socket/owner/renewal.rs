//! `{"type":"auth","token"}`: a socket goes on with a newer token of the same user.

use std::rc::Rc;
use std::sync::Arc;

use dormouse::{SessionId, User};
use dormouse_node::{Node, ObjectRef};
use dormouse_socket::{HubHandle, SocketCx, SocketId, ToHub, text_frame};

use super::{SocketOwner, SocketSession, send};
use crate::auth::{Auth, Identity, TokenFault};
use crate::socket::expiry::Expiries;
use crate::socket::frames;

/// What it takes to renew a token, also when its message is long handled.
struct Renewal {
    auth: Arc<Auth>,
    expiries: Rc<Expiries>,
    node: Node,
    socket: SocketId,
    object: ObjectRef,
    session: SessionId,
    user: Option<Arc<User>>,
}

impl SocketOwner {
    /// Answers a newer token. If its key is not known, keys are fetched first; nothing waits for that but
    /// the answer.
    pub(super) fn renew(&self, socket: &mut SocketCx<'_, SocketSession>, token: String) {
        let id = socket.id();
        let SocketSession::Object { object, session, .. } = socket.session() else { return };
        let renewal = Renewal {
            auth: Arc::clone(&self.auth),
            expiries: Rc::clone(&self.expiries),
            node: self.node.clone(),
            socket: id,
            object: object.clone(),
            session: session.id,
            user: session.user.clone(),
        };
        let identified = self.auth.identify(&token);
        if identified.as_ref().err() == Some(&TokenFault::UnknownKey)
            && let Some(round) = self.auth.ask_for_keys()
        {
            socket.await_answer();
            let hub = self.hub.clone();
            actix_rt::spawn(async move {
                round.end().await;
                renewal.answer_later(&token, &hub);
            });
            return;
        }
        let answer = renewal.settle(identified);
        self.take_newer_user(socket);
        send(socket, &answer);
    }

    /// Makes what a newer token says the socket's own.
    pub(super) fn take_newer_user(&self, socket: &mut SocketCx<'_, SocketSession>) {
        if let Some(newer) = self.expiries.take_newer_user(socket.id())
            && let SocketSession::Object { session, .. } = socket.session()
        {
            session.user = Some(newer);
        }
    }
}

impl Renewal {
    fn answer_later(&self, token: &str, hub: &HubHandle) {
        let answer = self.settle(self.auth.identify(token));
        let (socket, frames) = (self.socket, text_frame(&answer));
        hub.send(ToHub::Direct { socket, frames, after: 0, settles: 1 });
    }

    /// Notes a token that renews, and gives the answer.
    fn settle(&self, identified: Result<Identity, TokenFault>) -> String {
        // What a token names is the object that clients know.
        let (kind, key) = (self.object.root().kind(), self.object.root().key());
        match self.auth.renew(identified, self.user.as_deref(), kind, key) {
            Ok(identity) => {
                self.expiries.renew(self.socket, kind.name(), &identity);
                self.node.renewed(&self.object, self.socket, self.session, &identity.user);
                frames::authorized(identity.expires_at)
            }
            Err(denial) => frames::error(None, &denial.error()),
        }
    }
}
