//! What was published on one topic and has not reached all of its sockets.

use std::collections::VecDeque;

use crate::batch::Batch;
use crate::form::Form;

use super::env::Env;
use super::socket::Socket;

/// Bytes of batches that are joined into one write. More would not make writing cheaper, but let a
/// burst jump over the bound of a socket's queue.
const JOINED_BYTES_MAX: usize = 64 * 1024;

/// The batches of one topic that are under way.
///
/// A visitor walks round the topic's list of sockets, some at a time, and gives each one all that it
/// lacks of what is under way, in one write. A batch joins wherever the visitor is, so that it begins
/// to arrive at once, and is done when the visitor has come round: the more events there are, the
/// more of them each write carries.
///
/// # Invariants
///
/// * A socket has seen every batch up to its own mark, and a batch stays under way until every
///   socket of the list has seen it.
/// * What was published before a socket was attached is under its mark: the answer that attached it
///   told of it.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Oldest first, so the first is done first.
    under_way: VecDeque<UnderWay>,
    /// All that is under way, joined. Made when it is needed.
    parcels: Vec<Parcel>,
    /// Batches that were ever published.
    published: Mark,
    /// Where in the list the next visit is.
    next: usize,
}

/// How many batches of a topic a socket has seen.
pub(super) type Mark = u64;

#[derive(Debug)]
struct UnderWay {
    batch: Batch,
    /// After so many visits it has been everywhere.
    visits_left: usize,
}

/// What goes to a socket in one write, in the forms that some sockets take, made when the first one
/// needs them.
#[derive(Debug)]
struct Parcel {
    batches: Vec<Batch>,
    plain: Batch,
    made: [Option<Batch>; Form::MADE_COUNT],
}

impl Round {
    /// Sends a batch round a list of so many sockets.
    pub(super) fn publish(&mut self, batch: Batch, sockets: usize) {
        self.published += 1;
        self.under_way.push_back(UnderWay { batch, visits_left: sockets });
        self.parcels.clear();
    }

    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Bytes of what is under way.
    pub(super) fn bytes(&self) -> usize {
        self.under_way.iter().map(|under_way| under_way.batch.len_bytes()).sum()
    }

    /// A socket joined at the end of the list. Gives its mark: nothing that is under way is for it.
    pub(super) fn joined(&mut self) -> Mark {
        // The visitor may pass it before it comes round.
        for under_way in &mut self.under_way {
            under_way.visits_left += 1;
        }
        self.published
    }

    /// Where the next visit is, in a list of so many sockets, and how many may follow each other
    /// before [`advance`](Self::advance). `None`: there is nothing under way.
    pub(super) fn stretch(&mut self, sockets: usize) -> Option<(usize, usize)> {
        let visits_left = self.under_way.front()?.visits_left;
        if self.next >= sockets {
            self.next = 0;
        }
        Some((self.next, visits_left.min(sockets - self.next)))
    }

    /// Notes so many visits. Gives the bytes of the batches that are done.
    pub(super) fn advance(&mut self, visits: usize) -> usize {
        self.next += visits;
        for under_way in &mut self.under_way {
            under_way.visits_left = under_way.visits_left.saturating_sub(visits);
        }
        let mut bytes_done = 0;
        while let Some(done) = self.under_way.pop_front_if(|first| first.visits_left == 0) {
            bytes_done += done.batch.len_bytes();
            self.parcels.clear();
        }
        bytes_done
    }

    /// Gives a socket of the list what it lacks.
    pub(super) fn visit<S>(&mut self, socket: &mut Socket<S>, env: &mut Env) {
        let lacking = usize::try_from(self.published - socket.seen).unwrap_or(usize::MAX);
        socket.seen = self.published;
        if lacking >= self.under_way.len() {
            self.join();
            for parcel in &mut self.parcels {
                socket.deliver(parcel.in_form(socket.form(), env), env);
            }
        } else {
            for under_way in self.under_way.range(self.under_way.len() - lacking..) {
                let batch = under_way.batch.in_form(socket.form(), &mut env.deflater);
                socket.deliver(&batch, env);
            }
        }
    }

    fn join(&mut self) {
        if !self.parcels.is_empty() {
            return;
        }
        let mut rest: Vec<Batch> = self.under_way.iter().map(|it| it.batch.clone()).collect();
        while !rest.is_empty() {
            let later = rest.split_off(joinable(&rest));
            let plain = Batch::join(&rest);
            self.parcels.push(Parcel { batches: rest, plain, made: Default::default() });
            rest = later;
        }
    }
}

impl Parcel {
    fn in_form(&mut self, form: Form, env: &mut Env) -> &Batch {
        let Some(index) = form.index() else { return &self.plain };
        self.made[index].get_or_insert_with(|| {
            // Before joining, as what is joined differs from hub to hub, and what was published does
            // not.
            let make = |batch: &Batch| batch.in_form(form, &mut env.deflater);
            Batch::join(&self.batches.iter().map(make).collect::<Vec<_>>())
        })
    }
}

/// How many batches from the first on make one write: as many as fit and follow each other without
/// a hole, which must stay visible to the sockets.
fn joinable(batches: &[Batch]) -> usize {
    let mut bytes = 0;
    let mut last_offset: Option<u64> = None;
    let joins = |batch: &&Batch| {
        bytes += batch.len_bytes();
        let follows = match (last_offset, batch.first_offset()) {
            (Some(last), Some(first)) => first.checked_sub(1) == Some(last),
            _ => true,
        };
        last_offset = batch.last_offset().or(last_offset);
        bytes <= JOINED_BYTES_MAX && follows
    };
    batches.iter().take_while(joins).count().max(1)
}

#[cfg(test)]
mod tests {
    use crate::batch::{BatchBuilder, To};

    use super::*;

    fn batch(offset: Option<u64>, bytes: usize) -> Batch {
        let mut builder = BatchBuilder::new();
        let json = "x".repeat(bytes);
        match offset {
            Some(offset) => builder.log(offset, 0, &json),
            None => builder.lossy(To::Everyone, &json),
        };
        builder.finish()
    }

    #[test]
    fn batches_are_joined_up_to_a_hole_or_the_bound() {
        let following = [batch(Some(1), 9), batch(None, 9), batch(Some(2), 9)];
        let with_hole = [batch(Some(1), 9), batch(Some(2), 9), batch(Some(4), 9)];
        let large = [batch(Some(1), JOINED_BYTES_MAX), batch(Some(2), 9)];

        assert_eq!(joinable(&following), 3);
        assert_eq!(joinable(&with_hole), 2);
        assert_eq!(joinable(&large), 1);
    }
}
