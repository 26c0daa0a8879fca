#!/usr/bin/env bash
# Builds the server and starts it on http://127.0.0.1:8094, with its data in ./data.
# Needs Rust and a C compiler. Arguments go to `dormouse serve`.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/require.sh
source scripts/require.sh
require_c_compiler

cargo build --release --locked -p dormouse-server
exec "${CARGO_TARGET_DIR:-./target}/release/dormouse" serve "$@"
