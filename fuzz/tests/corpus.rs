//! What the fuzzers found worth keeping, once more.

use std::fs;
use std::panic;
use std::path::Path;

/// Feeds every file of a corpus.
fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the corpus is a folder") {
        let path = entry.expect("its files can be listed").path();
        let bytes = fs::read(&path).expect("its files can be read");
        let replayed = panic::catch_unwind(|| target(&bytes));
        assert!(replayed.is_ok(), "{} is a finding again", path.display());
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}

#[test]
fn frames_of_the_corpus_are_read_without_a_finding() {
    replay("frames", dormouse_fuzz::frames);
}

#[test]
fn handshakes_of_the_corpus_are_judged_without_a_finding() {
    replay("handshake", dormouse_fuzz::handshake);
}
