#!/usr/bin/env bash
# Builds Dormouse and the load tool, installs the peers when they are missing, and compares them all.
# Arguments go to `dormouse-bench all`: `run.sh --runs 1 --seconds 1 --only fanout,calls`.
set -euo pipefail

cd "$(dirname "$0")/../.."
here=crates/dormouse-bench
target="${CARGO_TARGET_DIR:-target}"

for folder in "$here/peers" "$here/tabs"; do
  # npm writes this file last, so its age tells whether the folder is what the lock file says.
  if [[ ! "$folder/node_modules/.package-lock.json" -nt "$folder/package-lock.json" ]]; then
    npm ci --prefix "$folder" --no-audit --no-fund >&2
  fi
done

cargo build --release --package dormouse-server --package dormouse-bench
exec "$target/release/dormouse-bench" all --dormouse "$target/release/dormouse" "$@"
