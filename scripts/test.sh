#!/usr/bin/env bash
# Runs all tests: formatting, lints, unit and end-to-end tests in Rust, the TypeScript client, the page and the demo in
# Chromium, a conformance suite for WebSockets, other people's clients.
# Installs what it needs: a C compiler, Python and Chromium from Debian, npm packages of clients/typescript,
# examples/two-tabs, examples/chat, tests/browser and tests/interop, Python packages of tests/interop in .tools.
set -euo pipefail
cd "$(dirname "$0")/.."
unset RUST_BACKTRACE # Capturing backtraces slows every error path down.

# shellcheck source=scripts/require.sh
source scripts/require.sh
require_c_compiler
require_browser
require_client
require_npm_packages clients/typescript/test/react-18
require_npm_packages examples/two-tabs
require_npm_packages examples/chat
require_npm_packages tests/browser
require_npm_packages tests/interop
require_python_packages tests/interop/requirements.txt .tools/interop

step() { printf '\n== %s\n' "$*"; }

step "formatting"
cargo fmt --all --check

step "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings

step "servers that the tests start"
cargo build --workspace --bins --locked

step "the TypeScript client: types, package, size, tests"
DORMOUSE_BIN=$(realpath "${CARGO_TARGET_DIR:-target}/debug/dormouse") npm run --prefix clients/typescript check
npm run --prefix examples/two-tabs typecheck
npm run --prefix examples/chat typecheck

step "browser tests"
DORMOUSE_BIN=$(realpath "${CARGO_TARGET_DIR:-target}/debug/dormouse") npm test --prefix tests/browser

step "conformance of the sockets"
export DORMOUSE_BIN
DORMOUSE_BIN=$(realpath "${CARGO_TARGET_DIR:-target}/debug/dormouse")
.tools/interop/bin/python tests/interop/conformance.py

step "other people's clients"
.tools/interop/bin/python -m unittest discover --start-directory tests/interop
npm test --prefix tests/interop
unset DORMOUSE_BIN

step "documentation tests"
cargo test --workspace --doc --locked --quiet

step "unit and end-to-end tests"
if command -v cargo-nextest >/dev/null 2>&1; then
    cargo nextest run --workspace --locked
else
    cargo test --workspace --lib --bins --tests --examples --locked
fi
