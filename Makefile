# Two commands matter: `make demo` shows the main job, `make test` is everyday work.
# The others need what they name. See README.md.

# rustup's directory is often not in the PATH of a fresh shell.
export PATH := $(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help bootstrap bootstrap-tests demo test test-system test-faults test-orders test-pooler bench bench-hot bench-peer fuzz stack-up stack-down lint fmt deny advisories soak

help: ## what the targets do
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 24

bootstrap: ## installs what is missing on Debian or Ubuntu; silent when nothing is
	@deploy/bootstrap.sh

bootstrap-tests: bootstrap
	@deploy/bootstrap.sh tests

demo: bootstrap ## the main job on an embedded Kafka, registry and PostgreSQL
	cargo run --release --locked --quiet -- demo $(ARGS)

test: bootstrap-tests lint ## every check of everyday work
	cargo test --locked --all-targets
	@if cargo deny --version >/dev/null 2>&1; then $(MAKE) --no-print-directory deny; \
	else echo 'make test: dependencies not checked, cargo-deny is not installed (make deny installs it)'; fi

lint: ## formatting and clippy, warnings are errors
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo check --locked --quiet --manifest-path tests/fuzz/Cargo.toml --lib --target-dir target

fmt: ## formats the code
	cargo fmt

deny: ## licences, bans and sources of dependencies; installs cargo-deny first (takes minutes)
	@cargo deny --version >/dev/null 2>&1 || { echo 'installing cargo-deny, this takes minutes'; cargo install --locked cargo-deny; }
	cargo deny --locked check licenses bans sources

advisories: ## known vulnerabilities of dependencies; fetches the advisory database from the net
	cargo deny --locked check advisories

test-system: bootstrap ## the short system test on the real stack
	tests/system/run.sh

test-faults: bootstrap ## the fault tests on the real stack
	cargo test --locked --features faults

test-pooler: bootstrap ## plans through PgBouncer, which must be installed (apt-get install pgbouncer)
	cargo test --locked --features system --test postgres pooler

test-orders: bootstrap ## every captured history in hundreds of orders, from every offset; takes a while
	SILVERSINK_ORDERS=all cargo test --locked --release --test captures -- --nocapture --test-threads 2

bench: bootstrap ## the performance goals, each beside its yardstick; ARGS="--only latency" for one
	tests/bench/run.sh $(ARGS)

bench-peer: bootstrap ## events per second next to Debezium's JDBC sink on the real stack, about a quarter of an hour
	tests/bench/peer.sh $(ARGS)

bench-hot: bootstrap ## nanoseconds and allocations per record of each step of the client, next to the prototype's
	cargo bench --locked --quiet --bench hot -- $(ARGS)

fuzz: ## every fuzz target for ARGS seconds (default 60); needs a C++ compiler
	tests/fuzz/run.sh $(ARGS)

stack-up: ## Kafka, Connect with Debezium, registry and PostgreSQL on loopback
	tests/stack/up.sh

stack-down: ## stops what stack-up started
	tests/stack/down.sh

soak: ## ten million simulated histories of a source; ARGS or SILVERSINK_HISTORIES sets the number
	SILVERSINK_HISTORIES=$(or $(ARGS),$(SILVERSINK_HISTORIES),10000000) cargo test --release --locked --test source_simulation no_row_ends_wrong -- --nocapture
