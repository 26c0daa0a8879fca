# Conveniences. Everything works without `just`: the recipes call what the README names.

# List the recipes.
default:
    @just --list

# Start the server on http://127.0.0.1:8094.
start *args:
    scripts/start.sh {{ args }}

# Start the server on http://127.0.0.1:8094 and the demo on http://localhost:3014.
demo *args:
    scripts/demo.sh {{ args }}

# Start the server on http://127.0.0.1:8094 and the chat on http://localhost:3015.
chat *args:
    scripts/chat.sh {{ args }}

# Run all tests.
test:
    scripts/test.sh

# Run RUNS simulations of the store, from seed SEED on. A seed that fails is printed.
sim seed runs:
    SIM_SEED={{ seed }} SIM_RUNS={{ runs }} cargo test --release -p dormouse-store --lib -- \
        --exact simulator::tests::the_seeds_of_the_environment_hold --nocapture

# Fuzz `frames` or `handshake` for so many seconds.
fuzz target seconds="600":
    scripts/fuzz.sh {{ target }} {{ seconds }}

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
