//! Memory that objects leave behind, given back to the system.
//!
//! An object that hibernates frees what it had, some 95 kB, most of it SQLite's. The allocator of the
//! GNU libc keeps freed memory inside its heaps for as long as anything behind it is in use, so that
//! a process with a thousand objects asleep would stay as large as with all of them awake.

use std::time::Duration;

use dormouse_node::Node;

/// How often somebody looks whether objects have left.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// So many objects that have left are worth giving memory back while others still leave: some 6 MB.
const LEFT_MANY: u64 = 64;

/// Gives memory back whenever objects have left, for as long as the server runs.
pub(crate) async fn give_back(node: Node) {
    let mut given_back = 0;
    let mut seen = 0;
    loop {
        actix_rt::time::sleep(LOOK_INTERVAL).await;
        let left = node.stats().hibernations_total();
        let is_quiet = left == seen;
        seen = left;
        if left - given_back < if is_quiet { 1 } else { LEFT_MANY } {
            continue;
        }
        given_back = left;
        // Not here: it takes milliseconds where much has been freed.
        if actix_rt::task::spawn_blocking(trim_heaps).await.is_err() {
            return;
        }
    }
}

/// Lets the allocator give back whole pages of what was freed. A thread that allocates meanwhile waits
/// until its own heap is done.
fn trim_heaps() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes a number and no pointers, and may be made by any thread at any time.
    #[expect(unsafe_code, reason = "std has no word for the allocator")]
    unsafe {
        libc::malloc_trim(0);
    }
}
