#!/usr/bin/env bash
# Runs a fuzzer: scripts/fuzz.sh frames|handshake [SECONDS]. Stops at the first finding, which it leaves in
# fuzz/findings. What reached something new is listed at the end; fuzz/corpus has a small part of that.
# Needs a C++ compiler. No nightly Rust: coverage is a matter of LLVM, and there is no `unsafe` here to watch.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:?which fuzzer: frames or handshake}
seconds=${2:-600}

# shellcheck source=scripts/require.sh
source scripts/require.sh
require_cxx_compiler

host=$(rustc -vV | sed -n 's/^host: //p')
folder=${CARGO_TARGET_DIR:-target}/fuzz
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Ccodegen-units=1"

# With --target the flags are not those of build scripts and macros.
RUSTFLAGS=$(echo $coverage) cargo build --release --locked --target "$host" --target-dir "$folder" \
    -p dormouse-fuzz --features libfuzzer --bin "fuzz-$target"

grown=$folder/corpus/$target
kept=$folder/kept/$target
mkdir -p "$grown" "$kept" fuzz/findings
"$folder/$host/release/fuzz-$target" -max_total_time="$seconds" -max_len=4096 -timeout=10 -print_final_stats=1 \
    -artifact_prefix=fuzz/findings/ -dict="fuzz/$target.dict" "$grown" "fuzz/corpus/$target"
"$folder/$host/release/fuzz-$target" -set_cover_merge=1 -max_len=256 "$kept" "fuzz/corpus/$target" "$grown"
echo "short inputs that together reach all that is known: $kept"
