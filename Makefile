# Two commands do everything on a fresh Debian machine with Rust: `make run` and `make test`.
CARGO ?= cargo
DATA_DIR ?= var
PORT ?= 8888

.PHONY: run build test check deploy-check soak bench fmt clean-data

## Build and serve the demo: live datasources at http://127.0.0.1:8888
run: build
	exec target/release/henge quickstart --data-dir $(DATA_DIR) --port $(PORT)

build:
	dev/need.sh build
	dev/console.sh || [ $$? = 3 ]
	$(CARGO) build --release -p henge-server

## All tests, against a real Kafka where it can be had
test:
	dev/test.sh

## What a reviewer would run first
check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings
	dev/one-version.sh
	if command -v cargo-deny >/dev/null; then cargo-deny --all-features check; else echo "cargo-deny is not installed: licences were not checked" >&2; fi

## Image, compose, chart and units in deploy/, by the tools that read them
deploy-check:
	dev/deploy.sh

## The acceptance tests at full length (hours)
soak:
	dev/test.sh soak

## Speed beside the peers
bench:
	dev/bench.sh

fmt:
	$(CARGO) fmt --all

clean-data:
	rm -rf $(DATA_DIR)
