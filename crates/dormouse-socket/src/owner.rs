//! Who decides what messages mean.

use bytes::Bytes;

use crate::close::{CloseCause, CloseCode};
use crate::hub::{Env, Socket};
use crate::id::{EventMask, SocketId, TopicId};

/// The side of a hub that knows what sockets are for.
///
/// It lives on the hub's thread and is called only from there, one call at a time. A call must not
/// block: every socket of the thread waits for it. For each socket, `opened` comes first and
/// `closed` last, each exactly once.
pub trait Owner: 'static {
    /// What the owner keeps per socket. Small: there is one for every idle socket.
    type Session: 'static;

    /// A socket was accepted. The owner has its object answer with [`ToHub::Attach`].
    ///
    /// [`ToHub::Attach`]: crate::ToHub::Attach
    fn opened(&self, socket: SocketId, session: &mut Self::Session);

    /// A text message arrived.
    fn message(&self, socket: &mut SocketCx<'_, Self::Session>, text: &str);

    /// A binary message arrived, on a socket that was accepted with `binary`.
    fn binary(&self, socket: &mut SocketCx<'_, Self::Session>, bytes: &[u8]) {
        _ = (socket, bytes);
    }

    /// A socket that was behind can take events after `after` again. The owner has its object answer
    /// with [`ToHub::Attach`](crate::ToHub::Attach).
    fn refill(&self, socket: SocketId, session: &Self::Session, topic: TopicId, after: u64);

    /// The socket takes no more messages and gets no more frames than those already queued.
    fn closed(&self, socket: SocketId, session: Self::Session, cause: CloseCause);
}

/// One socket, while its message is handled.
#[derive(Debug)]
pub struct SocketCx<'a, S> {
    id: SocketId,
    socket: &'a mut Socket<S>,
    session: &'a mut S,
    env: &'a mut Env,
}

impl<'a, S> SocketCx<'a, S> {
    pub(crate) fn new(
        id: SocketId,
        socket: &'a mut Socket<S>,
        session: &'a mut S,
        env: &'a mut Env,
    ) -> SocketCx<'a, S> {
        SocketCx { id, socket, session, env }
    }

    /// The socket's id.
    pub fn id(&self) -> SocketId {
        self.id
    }

    /// The object that the socket belongs to.
    pub fn topic(&self) -> TopicId {
        self.socket.topic()
    }

    /// The owner's value for this socket.
    pub fn session(&mut self) -> &mut S {
        self.session
    }

    /// Sends one or more whole frames to this socket, after everything that is queued for it and
    /// after the direct frames that wait for an event.
    pub fn send(&mut self, frames: Bytes) {
        let after = self.socket.offset();
        self.socket.push_direct(frames, after, self.env);
    }

    /// The last log event that was handled for this socket: sent, queued to be sent, or filtered.
    pub fn offset(&self) -> u64 {
        self.socket.offset()
    }

    /// Changes which log events the socket gets, for events after [`offset`](Self::offset).
    pub fn set_filter(&mut self, filter: EventMask) {
        self.socket.set_filter(filter);
    }

    /// Counts one message that a later [`ToHub::Direct`](crate::ToHub::Direct) settles. A socket
    /// with too many of them is not read until some are settled.
    pub fn await_answer(&mut self) {
        self.socket.await_answer();
    }

    /// Closes the socket once what is queued for it has been written. Messages that follow are
    /// ignored.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        self.socket.request_close(code, reason.to_owned(), self.env);
    }
}
