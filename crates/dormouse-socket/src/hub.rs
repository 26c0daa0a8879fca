//! The hub: all sockets of one thread, served by one task.
//!
//! A turn of the hub takes what has come since the last one: new sockets, messages of other threads,
//! sockets that the kernel is ready for, and the one timer; then it gives some sockets what was
//! published. After each step it looks at the sockets that were touched: writes what is queued for
//! them and decides what became of them. Then it lets the other tasks of its thread run.

mod closing;
mod env;
mod messages;
mod reading;
mod ready;
mod round;
mod slots;
mod socket;
mod timing;
mod topics;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future as _;
use std::mem;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::coop;
use tokio::time::Instant;

use crate::config::HubConfig;
use crate::deflate::Inflater;
use crate::event_stream;
use crate::form::Form;
use crate::id::{EventMask, TopicId};
use crate::inbox::{HubInbox, Incoming};
use crate::owner::Owner;
use crate::upgrade::Upgraded;

use self::slots::Slots;
use self::socket::Start;
use self::timing::Timing;
use self::topics::Topics;

pub(crate) use self::env::Env;
pub(crate) use self::socket::Socket;

/// Bytes of the read buffer that all sockets of a hub share.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// How long what clients send is handled before others have their turn. One large message may take
/// longer.
const READING_PER_TURN: Duration = Duration::from_micros(100);

/// How much longer than reading took sockets get what was published, if there is so much: clients
/// that send all they can leave this part of the thread to those that listen.
const VISITING_PER_READING: u32 = 3;

/// When the core is offered to other threads between two parts of a round and one takes it for longer, it is
/// not offered again for a while.
const CORE_TAKEN_MAX: Duration = Duration::from_millis(1);

/// So many times as long as it was taken: offering it to strangers costs a tenth of the time at most.
const OFFERS_PAUSE: u32 = 10;

/// The door to the sockets of this thread.
pub struct Hub<O: Owner> {
    door: Rc<Door<O::Session>>,
}

/// With what a socket starts.
#[derive(Clone, Debug)]
pub struct Accept<S> {
    /// The object it belongs to.
    pub topic: TopicId,
    /// Which log events it wants.
    pub filter: EventMask,
    /// The log offset that the client already knows; 0 if none. Direct frames for later events wait
    /// until the owner has answered.
    pub from: u64,
    /// Whether binary messages are taken. Otherwise they close the socket with 1003.
    pub binary: bool,
    /// Whether it gets what is published for [watchers](crate::To::Watchers).
    pub watches: bool,
    /// Whether the owner answers [`Owner::opened`] with [`ToHub::Attach`](crate::ToHub::Attach). The end of the
    /// handshake then waits for that, for a heartbeat's 32nd part at most, and goes out in the same write.
    pub greeted: bool,
    /// The owner's value.
    pub session: S,
}

/// Where new sockets wait until the hub takes its next turn, so that accepting one never finds the
/// hub at work.
struct Door<S> {
    arrivals: RefCell<Vec<(Upgraded, Accept<S>)>>,
    waker: RefCell<Option<Waker>>,
}

impl<O: Owner> Hub<O> {
    /// Starts a hub on this thread.
    ///
    /// It runs until [`ToHub::Drain`](crate::ToHub::Drain) has closed its last socket, or its thread ends.
    ///
    /// # Panics
    ///
    /// If there is no [`LocalSet`](tokio::task::LocalSet), such as that of an actix worker.
    pub fn start(inbox: HubInbox, config: HubConfig, owner: O) -> Rc<Hub<O>> {
        let door = Rc::new(Door { arrivals: RefCell::default(), waker: RefCell::default() });
        let mut driver = Driver::new(inbox, config, owner, Rc::clone(&door));
        // The driver gives way after every turn by itself. The runtime's budget counts single reads
        // and writes; spending it would cut a broadcast in the middle.
        let turns = coop::unconstrained(std::future::poll_fn(move |cx| driver.turn(cx)));
        tokio::task::spawn_local(turns);
        Rc::new(Hub { door })
    }

    /// Takes a stream over, after the 101 went out. The owner is told soon, not before this returns.
    ///
    /// A hub that drains closes it with 1012 and tells the owner nothing.
    pub fn accept(&self, upgraded: Upgraded, accept: Accept<O::Session>) {
        self.door.arrivals.borrow_mut().push((upgraded, accept));
        if let Some(waker) = self.door.waker.take() {
            waker.wake();
        }
    }
}

impl<O: Owner> fmt::Debug for Hub<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

/// What the hub's task owns.
struct Driver<O: Owner> {
    owner: O,
    inbox: HubInbox,
    door: Rc<Door<O::Session>>,
    env: Env,
    sockets: Slots<Socket<O::Session>>,
    topics: Topics,
    timing: Timing,
    /// The core is not offered to others before this.
    offers_from: Instant,
    /// Scratch space, empty between uses.
    incoming: Vec<Incoming>,
    /// Slots whose sockets may be read. Not empty when reading them took too long.
    ready: VecDeque<u32>,
    buffer: Vec<u8>,
    inflater: Inflater,
}

impl<O: Owner> Driver<O> {
    fn new(inbox: HubInbox, config: HubConfig, owner: O, door: Rc<Door<O::Session>>) -> Driver<O> {
        Driver {
            owner,
            door,
            timing: Timing::new(&config),
            env: Env::new(config),
            sockets: Slots::new(inbox.index()),
            topics: Topics::default(),
            offers_from: Instant::now(),
            incoming: Vec::new(),
            ready: VecDeque::new(),
            buffer: vec![0; READ_BUFFER_BYTES],
            inflater: Inflater::default(),
            inbox,
        }
    }

    /// Does what there is to do, once. Ready when the hub has drained.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.env.now = Instant::now();
        let mut has_worked = self.take_arrivals(cx.waker());
        has_worked |= self.take_messages(cx.waker());
        let reading_time = self.take_ready(cx.waker());
        has_worked |= reading_time.is_some();
        has_worked |= self.take_time(cx);
        has_worked |= self.visit_for(reading_time.unwrap_or_default() * VISITING_PER_READING);
        self.inbox.stats().add(mem::take(&mut self.env.tally));

        if self.env.is_draining && self.sockets.is_empty() {
            return Poll::Ready(());
        }
        if has_worked {
            wake_after_others(cx);
        }
        Poll::Pending
    }

    /// Gives sockets what is under way for them, for at least this time or until all have it. `false` if
    /// there was nothing.
    fn visit_for(&mut self, time_min: Duration) -> bool {
        let begun = Instant::now();
        let mut has_visited = false;
        while self.visit_some() {
            has_visited = true;
            if begun.elapsed() >= time_min {
                self.offer_core();
                break;
            }
        }
        has_visited
    }

    /// Lets other threads have this core, unless one took it for long a short while ago.
    ///
    /// Lanes and the journal may share it, and take it for some tens of microseconds. A stranger takes it for
    /// a whole time slice, which sockets would wait for after each part of a round.
    fn offer_core(&mut self) {
        let begun = Instant::now();
        if begun < self.offers_from {
            return;
        }
        std::thread::yield_now();
        let taken = begun.elapsed();
        if taken > CORE_TAKEN_MAX {
            self.offers_from = begun + taken * OFFERS_PAUSE;
        }
    }

    fn take_arrivals(&mut self, waker: &Waker) -> bool {
        let arrivals = self.door.arrivals.take();
        if arrivals.is_empty() {
            self.door.waker.replace(Some(waker.clone()));
            return false;
        }
        for (upgraded, accept) in arrivals {
            if self.env.is_draining {
                self.turn_away(upgraded);
            } else {
                self.open(upgraded, accept);
            }
        }
        true
    }

    fn open(&mut self, upgraded: Upgraded, accept: Accept<O::Session>) {
        let Upgraded { stream, read_ahead, head, form } = upgraded;
        let Accept { topic, filter, from: offset, binary: takes_binary, .. } = accept;
        let Accept { watches, greeted, session, .. } = accept;
        let start = Start { stream, session, topic, filter, offset, takes_binary, watches, form };
        let ready = &self.env.ready;
        let id = self.sockets.insert(|id| Socket::new(id, ready.waker(id.slot()), start));
        self.inbox.stats().opened();

        if let Some(socket) = self.sockets.get_mut(id) {
            socket.decoder.keep_unread(&read_ahead);
            if !head.is_empty() {
                socket.begin(head, greeted, &mut self.env);
            }
            if let Form::EventStream(convention) = form {
                socket.push_written(event_stream::preface(id, convention), &mut self.env);
            }
            if let Some(session) = &mut socket.session {
                self.owner.opened(id, session);
            }
        }
        // Reading also replaces the waker that the HTTP dispatcher left in the stream, which would
        // keep the dispatcher's memory for as long as the socket is idle.
        self.env.ready.push(id.slot());
    }

    /// Reads sockets that may be read, for about [`READING_PER_TURN`]. Gives how long it took; `None`
    /// if there was none.
    fn take_ready(&mut self, waker: &Waker) -> Option<Duration> {
        if self.ready.is_empty() {
            self.env.ready.take(waker, &mut self.ready);
        }
        if self.ready.is_empty() {
            return None;
        }
        let begun = Instant::now();
        let mut reading_time = Duration::ZERO;
        while reading_time < READING_PER_TURN
            && let Some(slot) = self.ready.pop_front()
        {
            if let Some(socket) = self.sockets.at_mut(slot) {
                socket.flush(&mut self.env);
                socket.touch(&mut self.env);
                self.read(slot);
                self.look_at_touched();
            }
            reading_time = begun.elapsed();
        }
        Some(reading_time)
    }

    /// Ends a step: writes what is queued, and decides what became of each touched socket.
    fn look_at_touched(&mut self) {
        while let Some(slot) = self.env.touched.pop() {
            if let Some(socket) = self.sockets.at_mut(slot) {
                socket.untouch();
                socket.flush(&mut self.env);
                self.settle(slot);
            }
        }
    }
}

/// Wakes this task again, after the runtime has looked at its sockets and run who became ready.
///
/// A plain wake would let one turn follow the other as long as events come, and what comes in by
/// HTTP on this thread wait for the last of them.
fn wake_after_others(cx: &mut Context<'_>) {
    let mut others = pin!(tokio::task::yield_now());
    _ = others.as_mut().poll(cx);
}
