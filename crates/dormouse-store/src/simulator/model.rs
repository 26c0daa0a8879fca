//! What ought to be stored.

use crate::commit_log::Position;

/// All objects, at each of their transactions that may still turn out to be the last.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub names: Vec<String>,
    histories: Vec<Vec<Version>>,
    /// The last transaction of any object.
    pub newest: Position,
    /// Up to here effects were released.
    pub acknowledged: Position,
}

/// An object after one of its transactions.
#[derive(Clone, Debug)]
struct Version {
    position: Position,
    state: State,
}

/// An object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// How often it was deleted.
    pub resets: u64,
    /// Oldest first, numbered without holes; `None` if the object does not exist.
    pub entries: Option<Vec<Entry>>,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub n: u32,
    /// Decides the text.
    pub tag: u64,
    pub bytes: usize,
}

impl Model {
    pub(super) fn new(objects: usize) -> Model {
        let start = Version { position: Position::ZERO, state: State::default() };
        Model {
            names: (0..objects).map(|index| format!("object-{index}")).collect(),
            histories: vec![vec![start]; objects],
            newest: Position::ZERO,
            acknowledged: Position::ZERO,
        }
    }

    /// What an object is after its last transaction.
    pub(super) fn newest_of(&self, index: usize) -> &State {
        self.at(index, self.newest)
    }

    /// What an object is after everything up to `position`.
    pub(super) fn at(&self, index: usize, position: Position) -> &State {
        let versions = self.histories[index].iter().rev();
        let mut before = versions.skip_while(|version| version.position > position);
        &before.next().expect("the first version is never dropped").state
    }

    /// Adds a transaction.
    ///
    /// # Errors
    ///
    /// What is wrong, if its position does not follow on the last one.
    pub(super) fn commit(
        &mut self,
        index: usize,
        position: Position,
        state: State,
    ) -> Result<(), String> {
        if position != self.newest.next() {
            return Err(format!("position {position} follows on {}", self.newest));
        }
        self.newest = position;
        self.histories[index].push(Version { position, state });
        Ok(())
    }

    /// Forgets what the journal has lost. Returns how many transactions that were.
    ///
    /// # Errors
    ///
    /// What is wrong, if some of it was acknowledged, or the journal has more than there was.
    pub(super) fn end_at(&mut self, end: Position) -> Result<u64, String> {
        if end < self.acknowledged {
            let acknowledged = self.acknowledged;
            return Err(format!("{acknowledged} was acknowledged, the journal ends at {end}"));
        }
        if end > self.newest {
            return Err(format!("the journal ends at {end}, the last commit was {}", self.newest));
        }
        let lost = self.newest.get() - end.get();
        for versions in &mut self.histories {
            versions.retain(|version| version.position <= end);
            let last = versions.pop().expect("the first version is never dropped");
            *versions = vec![Version { position: Position::ZERO, ..last }];
        }
        self.newest = end;
        self.acknowledged = end;
        Ok(lost)
    }
}

impl State {
    /// The number of the next entry.
    pub(super) fn next_n(&self) -> u32 {
        let last = self.entries.as_ref().and_then(|entries| entries.last());
        last.map_or(1, |entry| entry.n + 1)
    }

    /// Compares with what is stored: number and text of each row.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub(super) fn compare(&self, found: Option<&[(u32, String)]>) -> Result<(), String> {
        let (Some(entries), Some(rows)) = (&self.entries, found) else {
            let (expected, found) = (self.entries.is_some(), found.is_some());
            if expected == found {
                return Ok(());
            }
            return Err(format!("exists: {found}, ought to: {expected}"));
        };
        if let Some(hole) = rows.windows(2).find(|pair| pair[1].0 != pair[0].0 + 1) {
            return Err(format!("{} follows on {}", hole[1].0, hole[0].0));
        }
        let numbers = |first: Option<u32>, last: Option<u32>| match (first, last) {
            (Some(first), Some(last)) => format!("{first} to {last}"),
            _ => "none".to_owned(),
        };
        if !entries.iter().map(|entry| entry.n).eq(rows.iter().map(|row| row.0)) {
            let found = numbers(rows.first().map(|it| it.0), rows.last().map(|it| it.0));
            let expected = numbers(entries.first().map(|it| it.n), entries.last().map(|it| it.n));
            return Err(format!("has entries {found}, ought to have {expected}"));
        }
        match entries.iter().zip(rows).find(|(entry, row)| entry.text() != row.1) {
            Some((entry, _)) => Err(format!("entry {} has another text", entry.n)),
            None => Ok(()),
        }
    }
}

impl Entry {
    /// Its text: different for each tag, all through.
    pub(super) fn text(&self) -> String {
        let piece = format!("{:016x} ", self.tag);
        let mut text = piece.repeat(self.bytes / piece.len() + 1);
        text.truncate(self.bytes);
        text
    }
}
