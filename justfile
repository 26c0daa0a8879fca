# Conveniences. Everything works without `just`: the recipes call what the README names.

# List the recipes.
default:
    @just --list

# Start the server on http://127.0.0.1:8094.
start *args:
    scripts/start.sh {{ args }}

# Run all tests.
test:
    scripts/test.sh

# Formatting and lints only.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Measure, side by side with Bun, workerd and ws. Prints one table.
bench *args:
    crates/dormouse-bench/run.sh {{ args }}

# Screenshots of the page, for people to look at.
screenshots folder:
    node tests/browser/screenshots.mjs {{ folder }}
