//! What a commit, a wake and an open object cost on this machine.
//!
//! ```text
//! cargo run --release -p dormouse-store --example commit_rate [folder]
//! ```
//!
//! The folder decides which disk is measured; without one it is the system's temporary folder.
#![expect(clippy::print_stdout, reason = "a program whose output is its result")]

use std::error::Error;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use dormouse_store::{
    Access, CatalogEntry, Clock as _, Key, MigrationSet, ObjectFile, Position, Store, StoreError,
    StoreOptions, SystemClock, Template,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Two writes per transaction, as a counter with an event log has.
const COUNTER: MigrationSet = MigrationSet {
    name: "counter",
    steps: &["CREATE TABLE counter (one INTEGER PRIMARY KEY, value INTEGER NOT NULL);
         INSERT INTO counter VALUES (1, 0);
         CREATE TABLE event (n INTEGER PRIMARY KEY, body TEXT NOT NULL);"],
};

const OBJECTS: usize = 1_000;
const IN_FLIGHT_MAX: u64 = 256;

fn main() -> Outcome<()> {
    let parent = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(parent)?;
    let clock = SystemClock::new();
    let template = Arc::new(Template::build("counter", vec![COUNTER], &[])?);

    let sync = median(&time_syncs(folder.path(), &clock)?);
    println!("fdatasync of 4 KiB                        {:>9.1} µs (median)", micros(sync));
    let store = Store::open(StoreOptions::new(folder.path().join("data")))?;
    let one = time_single_commits(&store, &template, &clock)?;
    println!("one commit at a time                      {:>9.1} µs (median)", micros(median(&one)));
    let p99 = one[one.len() * 99 / 100];
    println!("                                          {:>9.1} µs (99 %)", micros(p99));

    let created = create_objects(&store, &template, &clock)?;
    println!(
        "create an object, its commit included     {:>9.1} µs (median)",
        micros(median(&created))
    );
    let woken = time_wakes(&store, &template, &clock)?;
    println!(
        "wake: open and read a row                 {:>9.1} µs (median)",
        micros(median(&woken))
    );
    let phantoms = time_phantoms(&store, &template, &clock)?;
    println!(
        "wake of an object that does not exist     {:>9.1} µs (median)",
        micros(median(&phantoms))
    );
    let bytes = memory_per_object(&store, &template)?;
    println!("memory of an open object                  {bytes:>9} bytes");

    for (threads, objects) in [(1, 1), (1, OBJECTS), (2, OBJECTS)] {
        let before = store.stats();
        let (rate, refused) = commit_rate(&store, &template, &clock, threads, objects)?;
        let stats = store.stats();
        let commits = stats.appended.get() - before.appended.get();
        let batches = (stats.batch_bytes.count() - before.batch_bytes.count()).max(1);
        println!(
            "{objects:>5} objects, {threads} threads, {IN_FLIGHT_MAX} in flight      {rate:>9.0} commits/s \
             ({} bytes each, {} per batch, {refused} refused for want of room)",
            (stats.batch_bytes.sum - before.batch_bytes.sum) / commits.max(1),
            commits / batches,
        );
    }
    store.shut_down()?;
    Ok(())
}

fn time_syncs(folder: &Path, clock: &SystemClock) -> Outcome<Vec<Duration>> {
    let file = fs::File::create(folder.join("zeros"))?;
    file.write_all_at(&vec![0; 8 << 20], 0)?;
    file.sync_all()?;
    let mut times = Vec::new();
    for index in 0..2_000 {
        file.write_all_at(&[1; 4096], index * 4096)?;
        let start = clock.monotonic();
        file.sync_data()?;
        times.push(clock.monotonic() - start);
    }
    times.sort();
    Ok(times)
}

fn time_single_commits(
    store: &Store,
    template: &Arc<Template>,
    clock: &SystemClock,
) -> Outcome<Vec<Duration>> {
    let durable = watch(store);
    let mut object = store.open_object(&Key::new("counter", "single")?, template)?;
    let mut times = Vec::new();
    for _ in 0..5_000 {
        let start = clock.monotonic();
        let position = increment(&mut object, clock)?;
        wait_for(store, &durable, position)?;
        times.push(clock.monotonic() - start);
        if object.backfill_due() {
            object.backfill()?;
        }
    }
    object.hibernate()?;
    times.sort();
    Ok(times)
}

fn create_objects(
    store: &Store,
    template: &Arc<Template>,
    clock: &SystemClock,
) -> Outcome<Vec<Duration>> {
    let durable = watch(store);
    let mut times = Vec::new();
    for index in 0..OBJECTS {
        let start = clock.monotonic();
        let mut object = store.open_object(&nth(index)?, template)?;
        let position = increment(&mut object, clock)?;
        times.push(clock.monotonic() - start);
        wait_for(store, &durable, position)?;
        object.hibernate()?;
    }
    times.sort();
    Ok(times)
}

fn time_wakes(
    store: &Store,
    template: &Arc<Template>,
    clock: &SystemClock,
) -> Outcome<Vec<Duration>> {
    let mut times = Vec::new();
    for index in 0..OBJECTS {
        let start = clock.monotonic();
        let mut object = store.open_object(&nth(index)?, template)?;
        read(&mut object)?;
        times.push(clock.monotonic() - start);
        object.hibernate()?;
    }
    times.sort();
    Ok(times)
}

fn time_phantoms(
    store: &Store,
    template: &Arc<Template>,
    clock: &SystemClock,
) -> Outcome<Vec<Duration>> {
    let mut times = Vec::new();
    for index in 0..OBJECTS {
        let key = Key::new("counter", format!("nobody {index}"))?;
        let start = clock.monotonic();
        let mut object = store.open_object(&key, template)?;
        read(&mut object)?;
        times.push(clock.monotonic() - start);
    }
    times.sort();
    Ok(times)
}

fn memory_per_object(store: &Store, template: &Arc<Template>) -> Outcome<u64> {
    let clock = SystemClock::new();
    let durable = watch(store);
    let before = resident_bytes()?;
    let mut objects = Vec::new();
    for index in 0..OBJECTS {
        let mut object = store.open_object(&nth(index)?, template)?;
        let position = increment(&mut object, &clock)?;
        wait_for(store, &durable, position)?;
        objects.push(object);
    }
    let after = resident_bytes()?;
    for object in objects {
        object.hibernate()?;
    }
    Ok(after.saturating_sub(before) / OBJECTS as u64)
}

/// Commits on `threads` threads that share out the objects, for two seconds. Returns commits per
/// second, and how many were refused because the journal had no room.
fn commit_rate(
    store: &Store,
    template: &Arc<Template>,
    clock: &SystemClock,
    threads: usize,
    objects: usize,
) -> Outcome<(f64, u32)> {
    let barrier = Arc::new(Barrier::new(threads));
    let workers: Vec<_> = (0..threads)
        .map(|index| {
            let (store, template, clock) = (store.clone(), Arc::clone(template), *clock);
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || -> Outcome<(f64, u32)> {
                let mine = (index..objects).step_by(threads);
                let keys = mine.map(nth).collect::<Outcome<Vec<_>>>()?;
                let open = |key| store.open_object(key, &template);
                let mut objects = keys.iter().map(open).collect::<Result<Vec<_>, _>>()?;
                let durable = watch(&store);
                barrier.wait();
                let start = clock.monotonic();
                let (mut commits, mut refused): (u32, u32) = (0, 0);
                let count = objects.len();
                while clock.monotonic() - start < Duration::from_secs(2) {
                    let object = &mut objects[commits as usize % count];
                    let position = match increment(object, &clock) {
                        Ok(position) => position,
                        // The journal's room is short: as a client would, try again.
                        Err(StoreError::Unavailable(_)) => {
                            refused += 1;
                            settle(&store, &durable, &mut objects)?;
                            thread::yield_now();
                            continue;
                        }
                        Err(err) => return Err(err.into()),
                    };
                    commits += 1;
                    let oldest = position.get().saturating_sub(IN_FLIGHT_MAX / threads as u64);
                    wait_for(&store, &durable, Position::new(oldest))?;
                    let object = &mut objects[(commits as usize - 1) % count];
                    if object.backfill_due() {
                        wait_for(&store, &durable, object.newest_position())?;
                        object.backfill()?;
                    }
                }
                let seconds = (clock.monotonic() - start).as_secs_f64();
                for object in objects {
                    wait_for(&store, &durable, object.newest_position())?;
                    object.hibernate()?;
                }
                Ok((f64::from(commits) / seconds, refused))
            })
        })
        .collect();
    let mut total = (0.0, 0);
    for worker in workers {
        let (rate, refused) = worker.join().map_err(|_| "a worker panicked")??;
        total = (total.0 + rate, total.1 + refused);
    }
    Ok(total)
}

/// Backfills everything, so that segments can be released.
fn settle(store: &Store, durable: &Receiver<Position>, objects: &mut [ObjectFile]) -> Outcome<()> {
    for object in objects {
        if object.backfill_due() {
            wait_for(store, durable, object.newest_position())?;
            object.backfill()?;
        }
    }
    Ok(())
}

fn increment(object: &mut ObjectFile, clock: &SystemClock) -> Result<Position, StoreError> {
    object.begin(Access::Write)?;
    let now = clock.now();
    let conn = object.connection();
    let value: i64 = conn
        .prepare_cached("UPDATE counter SET value = value + 1 RETURNING value")?
        .query_row([], |row| row.get(0))?;
    conn.prepare_cached("INSERT INTO event (n, body) VALUES (?1, ?2)")?
        .execute((value, "{\"type\":\"increment\",\"value\":1,\"previousValue\":0}"))?;
    // As an event log does that keeps the last so many.
    conn.prepare_cached("DELETE FROM event WHERE n <= ?1")?.execute([value - 1_000])?;
    let commit = object.commit(CatalogEntry {
        created_at: object.created_at().unwrap_or(now),
        last_active_at: now,
        size_bytes: 0,
        next_due: None,
        summary: None,
    })?;
    Ok(commit.position.unwrap_or_default())
}

fn read(object: &mut ObjectFile) -> Outcome<i64> {
    object.begin(Access::Read)?;
    let sql = "SELECT value FROM counter";
    let value = object.connection().prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    object.rollback()?;
    Ok(value)
}

fn watch(store: &Store) -> Receiver<Position> {
    let (sender, receiver) = channel();
    // The receiver is gone when its measurement is over.
    store.commit_log().watch(Box::new(move |durable| _ = sender.send(durable)));
    receiver
}

fn wait_for(store: &Store, durable: &Receiver<Position>, position: Position) -> Outcome<()> {
    while store.commit_log().durable() < position {
        durable.recv()?;
    }
    // What has come since is of no use.
    while durable.try_recv().is_ok() {}
    Ok(())
}

fn nth(index: usize) -> Outcome<Key> {
    Ok(Key::new("counter", format!("object {index}"))?)
}

fn resident_bytes() -> Outcome<u64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).ok_or("statm has a second field")?.parse()?;
    Ok(pages * 4096)
}

fn median(sorted: &[Duration]) -> Duration {
    sorted[sorted.len() / 2]
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
