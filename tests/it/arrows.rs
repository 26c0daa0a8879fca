//! Dependencies point one way. Read from `cargo metadata`, so that the design cannot drift.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Which of our crates each of our crates may use.
const ALLOWED: [(&str, &[&str]); 8] = [
    ("dormouse-store", &[]),
    ("dormouse-socket", &[]),
    ("dormouse", &["dormouse-store"]),
    ("dormouse-kinds", &["dormouse"]),
    ("dormouse-node", &["dormouse", "dormouse-store", "dormouse-socket"]),
    (
        "dormouse-server",
        &["dormouse", "dormouse-kinds", "dormouse-node", "dormouse-socket", "dormouse-store"],
    ),
    // The load tool is a stranger to the server, as these tests are.
    ("dormouse-bench", &[]),
    ("dormouse-fuzz", &["dormouse-socket"]),
];

/// The crates that may know actix.
const ACTIX: [&str; 4] = ["dormouse-fuzz", "dormouse-node", "dormouse-server", "dormouse-socket"];

/// The crates that are synchronous.
const SYNCHRONOUS: [&str; 3] = ["dormouse", "dormouse-kinds", "dormouse-store"];

/// The dependencies of each of our crates, without those of their tests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let text = |value: &Value| value.as_str().expect("names are text").to_owned();
    metadata["packages"]
        .as_array()
        .expect("packages are a list")
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("a list");
            let names = dependencies
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| text(&dependency["name"]))
                .collect();
            (text(&package["name"]), names)
        })
        .collect()
}

#[test]
fn our_crates_use_each_other_only_along_the_arrows() {
    let all = dependencies();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();

    for (name, dependencies) in all.iter().filter(|(name, _)| name.starts_with("dormouse")) {
        let allowed = allowed
            .get(name.as_str())
            .unwrap_or_else(|| panic!("{name} is new: say here what it may use"));
        for dependency in dependencies.iter().filter(|name| name.starts_with("dormouse")) {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not use {dependency}");
        }
    }
    for (name, _) in ALLOWED {
        assert!(all.contains_key(name), "{name} is gone: remove it here");
    }
}

#[test]
fn actix_is_known_only_to_the_node_the_server_the_socket_transport_and_its_fuzzers() {
    for (name, dependencies) in dependencies() {
        let knows = dependencies.iter().any(|name| name == "actix" || name.starts_with("actix-"));
        assert!(!knows || ACTIX.contains(&name.as_str()), "{name} must not know actix");
    }
}

#[test]
fn what_the_author_of_a_kind_uses_knows_no_runtime() {
    let all = dependencies();

    for name in SYNCHRONOUS {
        for runtime in ["tokio", "futures", "futures-util", "async-trait"] {
            assert!(!all[name].contains(runtime), "{name} must not use {runtime}");
        }
    }
}
