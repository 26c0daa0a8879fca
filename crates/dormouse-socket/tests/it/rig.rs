//! A hub on this thread, an owner that notes its calls, and an object that is a list of events.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use dormouse_socket::{
    Accept, Batch, BatchBuilder, CloseCause, CloseCode, Deflate, EventMask, Hub, HubConfig,
    HubHandle, HubIndex, Owner, SocketCx, SocketId, ToHub, TopicId, Upgraded, binary_frame,
    hub_channel, text_frame,
};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::client::Client;

pub(crate) const TOPIC: TopicId = TopicId(7);

/// Longer than any test needs; see the client.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// One call that the hub made to its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Opened(SocketId),
    Message(SocketId, String),
    Refill(SocketId, u64),
    Closed(SocketId, CloseCause),
}

/// Notes every call. A message may begin with a command:
///
/// * `echo …` is sent back, as is every binary message;
/// * `call …` counts as one that awaits its answer;
/// * `filter <mask>` sets the filter and is answered with mask and offset;
/// * `close <code>` closes.
struct Recorder {
    calls: mpsc::UnboundedSender<Call>,
}

impl Owner for Recorder {
    type Session = u32;

    fn opened(&self, socket: SocketId, _session: &mut u32) {
        self.note(Call::Opened(socket));
    }

    fn message(&self, socket: &mut SocketCx<'_, u32>, text: &str) {
        *socket.session() += 1;
        match text.split_once(' ') {
            Some(("echo", _)) => socket.send(text_frame(text)),
            Some(("call", _)) => socket.await_answer(),
            Some(("filter", mask)) => {
                socket.set_filter(EventMask(mask.parse().expect("a mask is a number")));
                let offset = socket.offset();
                socket.send(text_frame(&format!("filtered {mask} after {offset}")));
            }
            Some(("close", code)) => {
                let code = code.parse().ok().and_then(CloseCode::new);
                socket.close(code.expect("a code that may be sent"), "as you wish");
            }
            _ => {}
        }
        self.note(Call::Message(socket.id(), text.to_owned()));
    }

    fn binary(&self, socket: &mut SocketCx<'_, u32>, bytes: &[u8]) {
        socket.send(binary_frame(bytes));
    }

    fn refill(&self, socket: SocketId, _session: &u32, topic: TopicId, after: u64) {
        assert_eq!(topic, TOPIC);
        self.note(Call::Refill(socket, after));
    }

    fn closed(&self, socket: SocketId, _session: u32, cause: CloseCause) {
        self.note(Call::Closed(socket, cause));
    }
}

impl Recorder {
    fn note(&self, call: Call) {
        // A test that has seen enough may have dropped its end.
        _ = self.calls.send(call);
    }
}

/// What a test has in its hands.
pub(crate) struct Rig {
    pub(crate) handle: HubHandle,
    hub: Rc<Hub<Recorder>>,
    pub(crate) calls: mpsc::UnboundedReceiver<Call>,
}

impl Rig {
    pub(crate) fn start(config: HubConfig) -> Rig {
        let (handle, inbox) = hub_channel(HubIndex(1));
        let (sender, calls) = mpsc::unbounded_channel();
        let hub = Hub::start(inbox, config, Recorder { calls: sender });
        Rig { handle, hub, calls }
    }

    /// Connects a socket that takes text only and has not been attached.
    pub(crate) async fn connect(&mut self) -> (Client, SocketId) {
        self.connect_with(accept(), None).await
    }

    /// Connects a socket that is attached at the tail of an empty log.
    pub(crate) async fn attach(&mut self) -> (Client, SocketId) {
        let (client, id) = self.connect().await;
        self.handle.send(ToHub::Attach {
            socket: id,
            topic: TOPIC,
            direct: Some(text_frame("initial")),
            batch: Batch::empty(),
            offset: 0,
            tail: true,
        });
        let mut client = client;
        assert_eq!(client.receive_text().await, "initial");
        (client, id)
    }

    /// Connects a socket, whose two kernel buffers are this small if it says so.
    pub(crate) async fn connect_with(
        &mut self,
        accept: Accept<u32>,
        buffer_bytes: Option<u32>,
    ) -> (Client, SocketId) {
        self.connect_upgraded(accept, buffer_bytes, |upgraded| upgraded).await
    }

    /// Connects a socket that agreed on compression, and takes binary messages too.
    pub(crate) async fn connect_deflating(
        &mut self,
        buffer_bytes: Option<u32>,
    ) -> (Client, SocketId) {
        let accept = Accept { binary: true, ..accept() };
        let agree = |upgraded: Upgraded| upgraded.with_deflate(Deflate::PLAIN);
        self.connect_upgraded(accept, buffer_bytes, agree).await
    }

    /// Connects a socket that is changed by `agree` before the hub gets it.
    pub(crate) async fn connect_upgraded(
        &mut self,
        accept: Accept<u32>,
        buffer_bytes: Option<u32>,
        agree: impl FnOnce(Upgraded) -> Upgraded,
    ) -> (Client, SocketId) {
        let listening = TcpSocket::new_v4().unwrap();
        let connecting = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = buffer_bytes {
            listening.set_send_buffer_size(bytes).unwrap();
            connecting.set_recv_buffer_size(bytes).unwrap();
        }
        listening.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = listening.listen(1).unwrap();
        let stream = connecting.connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();

        self.hub.accept(agree(Upgraded::new(accepted, Bytes::new())), accept);
        loop {
            match self.call().await {
                Call::Opened(id) => return (Client::new(stream), id),
                // The end of another one.
                Call::Closed(..) => {}
                other => panic!("{other:?} came before the socket was opened"),
            }
        }
    }

    /// Hands the hub a stream of which `read_ahead` was read already.
    pub(crate) async fn connect_read_ahead(&mut self, read_ahead: &[u8]) -> Client {
        self.hand_over(|stream| Upgraded::new(stream, Bytes::copy_from_slice(read_ahead))).await
    }

    /// Hands a hub that drains a stream on which the end of the handshake is to be sent.
    pub(crate) async fn connect_late(&mut self, head: Bytes) -> Client {
        self.hand_over(|stream| Upgraded::new(stream, Bytes::new()).with_head(head)).await
    }

    async fn hand_over(&mut self, upgrade: impl FnOnce(TcpStream) -> Upgraded) -> Client {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        self.hub.accept(upgrade(accepted), accept());
        Client::new(stream)
    }

    /// The next call to the owner.
    pub(crate) async fn call(&mut self) -> Call {
        timeout(WAIT_MAX, self.calls.recv()).await.expect("a call comes").expect("the hub runs")
    }

    /// The next call that says that a socket was closed; others are passed over.
    pub(crate) async fn closed(&mut self) -> (SocketId, CloseCause) {
        loop {
            if let Call::Closed(id, cause) = self.call().await {
                return (id, cause);
            }
        }
    }

    /// Receives one text frame, and meanwhile answers the hub as the object of `log` does, with at
    /// most `answer_bytes` at a time.
    pub(crate) async fn receive_text(
        &mut self,
        client: &mut Client,
        log: &Log,
        answer_bytes: usize,
    ) -> String {
        loop {
            tokio::select! {
                text = client.receive_text() => return text,
                Some(call) = self.calls.recv() => {
                    if let Call::Refill(id, after) = call {
                        log.answer(&self.handle, id, after, answer_bytes);
                    }
                }
            }
        }
    }

    /// Waits until the hub has handled everything sent so far.
    pub(crate) async fn settle(&mut self) {
        // A turn takes the whole inbox; the second yield covers the turn that was running.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn direct(&self, socket: SocketId, text: &str, after: u64, settles: u32) {
        self.handle.send(ToHub::Direct { socket, frames: text_frame(text), after, settles });
    }
}

/// Text only, all events, nothing known.
pub(crate) fn accept() -> Accept<u32> {
    Accept {
        topic: TOPIC,
        filter: EventMask::ALL,
        from: 0,
        binary: false,
        watches: false,
        greeted: true,
        session: 0,
    }
}

/// Numbers below a bound, from a seed that is not zero.
pub(crate) fn seeded(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut rng = seed;
    move |below| {
        // Xorshift64: deterministic, no dependency, and good enough to pick a branch.
        rng ^= rng << 13;
        rng ^= rng >> 7;
        rng ^= rng << 17;
        rng % below
    }
}

/// An object as the transport sees it: events by offset, the first of which is 1.
#[derive(Default)]
pub(crate) struct Log {
    events: Vec<(u8, String)>,
}

impl Log {
    /// Appends events of a type, padded to a size, and publishes them as one batch.
    pub(crate) fn publish(&mut self, handle: &HubHandle, types: &[u8], event_bytes: usize) {
        let after = self.tail();
        for &type_index in types {
            let offset = self.tail() + 1;
            self.events.push((type_index, event(offset, event_bytes)));
        }
        handle.send(ToHub::Publish { topic: TOPIC, batch: self.batch(after, usize::MAX).0 });
    }

    /// The offset of the newest event.
    pub(crate) fn tail(&self) -> u64 {
        self.events.len() as u64
    }

    /// Offset and type of every event.
    pub(crate) fn types(&self) -> impl Iterator<Item = (u64, u8)> {
        (1..).zip(self.events.iter().map(|(type_index, _)| *type_index))
    }

    /// Answers `opened` and `refill` as an object does, with at most `answer_bytes` at a time.
    pub(crate) fn answer(
        &self,
        handle: &HubHandle,
        socket: SocketId,
        after: u64,
        answer_bytes: usize,
    ) {
        let (batch, offset) = self.batch(after, answer_bytes);
        let tail = offset == self.tail();
        handle.send(ToHub::Attach { socket, topic: TOPIC, direct: None, batch, offset, tail });
    }

    /// Events after `after`: at least one, and more as long as they fit.
    fn batch(&self, after: u64, bytes: usize) -> (Batch, u64) {
        let mut builder = BatchBuilder::new();
        let mut offset = after;
        for (type_index, json) in &self.events[usize::try_from(after).unwrap()..] {
            if !builder.is_empty() && builder.len_bytes() + json.len() > bytes {
                break;
            }
            offset += 1;
            builder.log(offset, *type_index, json);
        }
        (builder.finish(), offset)
    }
}

/// An event that says its offset first.
fn event(offset: u64, bytes: usize) -> String {
    let mut text = format!("{offset} ");
    text.extend(std::iter::repeat_n('.', bytes.saturating_sub(text.len())));
    text
}

/// The offset that an event says, or `None` for other frames.
pub(crate) fn offset_of(text: &str) -> Option<u64> {
    text.split_once(' ')?.0.parse().ok()
}
