#!/usr/bin/env bash
# Builds the server and starts it on http://127.0.0.1:8094, with its data in ./data, and a chat on http://localhost:3015.
# Server and page share a secret, DORMOUSE_AUTH_SECRET: a new one unless it is set. Needs Rust, a C compiler and Node 20.19
# or newer. Arguments go to `dormouse serve`.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/require.sh
source scripts/require.sh
require_c_compiler
require_client
require_npm_packages examples/chat

# The page makes tokens for whoever names themselves; the server takes those that were made with this secret.
DORMOUSE_AUTH_SECRET=${DORMOUSE_AUTH_SECRET:-$(node -p 'crypto.randomBytes(32).toString("base64url")')}
export DORMOUSE_AUTH_SECRET

cargo build --release --locked -p dormouse-server
"${CARGO_TARGET_DIR:-./target}/release/dormouse" serve "$@" &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM
npm run --prefix examples/chat dev
