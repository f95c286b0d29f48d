#!/usr/bin/env bash
# Runs every test. Starts a real Kafka, PostgreSQL and S3 server on free ports first and tells the tests their addresses; where
# one cannot be had, says loudly which suite did not run.
#   dev/test.sh         bounded lengths, for every change
#   dev/test.sh soak    the acceptance lengths
# Further arguments go to `cargo test`. HENGE_TEST_PREVIOUS names a binary of the version before, if there is one: then nodes of
# both versions are at work together in `chaos`, and `rolling` upgrades every node under load.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=bounded
if [ "${1:-}" = soak ]; then mode=soak; shift; fi
dev/need.sh test
console=0
dev/console.sh test || console=$?
case $console in
0) ;;
3)
  echo "=====================================================================" >&2
  echo "NO NODE.JS: the server is built without the console, whose tests DID NOT RUN" >&2
  echo "=====================================================================" >&2
  ;;
*) exit "$console" ;;
esac

if [ "$mode" = soak ]; then
  export HENGE_TEST_LEDGER_EVENTS=${HENGE_TEST_LEDGER_EVENTS:-2000000}
  export HENGE_TEST_KILLS=${HENGE_TEST_KILLS:-50}
  export HENGE_ORACLE_CASES=${HENGE_ORACLE_CASES:-50000}
  export HENGE_SQL_CASES=${HENGE_SQL_CASES:-20000}
  export HENGE_FLIPS=${HENGE_FLIPS:-10000}
  export HENGE_FUZZ_SECONDS=${HENGE_FUZZ_SECONDS:-600}
  export HENGE_TEST_MEMORY_EVENTS=${HENGE_TEST_MEMORY_EVENTS:-10000000}
  export HENGE_TEST_CHAOS_SECONDS=${HENGE_TEST_CHAOS_SECONDS:-600}
  export HENGE_TEST_CHAOS_SEEDS=${HENGE_TEST_CHAOS_SEEDS:-6}
else
  # A change is tried with the same cases wherever it is tried, as the oracles' are; new ones are for the soak to find.
  export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-1}
  export HENGE_SEED=${HENGE_SEED:-1}
fi

run=$(mktemp -d)
trap 'for peer in kafka postgres s3 redis; do "dev/$peer.sh" stop "$run/$peer"; done; rm -rf "$run"' EXIT

# start PEER VARIABLE WHAT: starts a peer and tells the tests its address; where it cannot be had, says WHAT that means.
start() {
  local address status=0
  address=$("dev/$1.sh" start "$run/$1") || status=$?
  case $status in
  0) export "$2=$address" ;;
  3)
    echo "=====================================================================" >&2
    echo "NO ${1^^}: $3" >&2
    echo "=====================================================================" >&2
    ;;
  *) exit "$status" ;;
  esac
}

start kafka HENGE_TEST_KAFKA "the ledger, crash, memory and failover suites against a real broker DID NOT RUN"
if [ -f "$run/kafka/secure_address" ]; then
  HENGE_TEST_KAFKA_SECURE=$(cat "$run/kafka/secure_address")
  export HENGE_TEST_KAFKA_SECURE HENGE_TEST_KAFKA_CA=$run/kafka/ca.pem
fi
start postgres HENGE_TEST_POSTGRES "the catalog, lease, fencing and outage suites ran on SQLite alone, failover DID NOT RUN"
start redis HENGE_TEST_REDIS "what is kept of answers in a real Redis server was NOT TRIED"
start s3 HENGE_TEST_S3 "the suites of deep storage, its faults and failover against a real S3 server DID NOT RUN"
# Whom it asks says the test that starts it.
if HENGE_TEST_PROMETHEUS=$(dev/prometheus.sh prometheus); then
  export HENGE_TEST_PROMETHEUS
else
  echo "=====================================================================" >&2
  echo "NO PROMETHEUS: what dashboards and rules ask of it was NOT TRIED" >&2
  echo "=====================================================================" >&2
fi

cargo test --release --workspace "$@"
# A selection of tests is not about clients, who signs them in, what the pages of operations say, nor what people see.
if [ $# -eq 0 ]; then
  dev/clients.sh
  dev/oidc.sh
  dev/by-hand.sh
  dev/console-walk.sh
  dev/rules.sh || [ $? = 3 ]
fi
