#!/usr/bin/env bash
# Runs every test. Starts a real Kafka and a real PostgreSQL on free ports first and tells the tests their addresses; where
# one cannot be had, says loudly which suite did not run.
#   dev/test.sh         bounded lengths, for every change
#   dev/test.sh soak    the acceptance lengths
# Further arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=bounded
if [ "${1:-}" = soak ]; then mode=soak; shift; fi
dev/need.sh test

if [ "$mode" = soak ]; then
  export HENGE_TEST_LEDGER_EVENTS=${HENGE_TEST_LEDGER_EVENTS:-2000000}
  export HENGE_TEST_KILLS=${HENGE_TEST_KILLS:-50}
  export HENGE_ORACLE_CASES=${HENGE_ORACLE_CASES:-50000}
  export HENGE_SQL_CASES=${HENGE_SQL_CASES:-20000}
  export HENGE_FLIPS=${HENGE_FLIPS:-10000}
  export HENGE_FUZZ_SECONDS=${HENGE_FUZZ_SECONDS:-600}
  export HENGE_TEST_MEMORY_EVENTS=${HENGE_TEST_MEMORY_EVENTS:-10000000}
else
  # A change is tried with the same cases wherever it is tried, as the oracles' are; new ones are for the soak to find.
  export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-1}
  export HENGE_SEED=${HENGE_SEED:-1}
fi

run=$(mktemp -d)
trap 'dev/kafka.sh stop "$run/kafka"; dev/postgres.sh stop "$run/postgres"; rm -rf "$run"' EXIT
status=0
address=$(dev/kafka.sh start "$run/kafka") || status=$?
if [ $status = 0 ]; then
  export HENGE_TEST_KAFKA=$address
elif [ $status != 3 ]; then
  exit $status
else
  echo "=====================================================================" >&2
  echo "NO KAFKA: the ledger, crash and memory suites against a real broker DID NOT RUN" >&2
  echo "=====================================================================" >&2
fi

status=0
address=$(dev/postgres.sh start "$run/postgres") || status=$?
if [ $status = 0 ]; then
  export HENGE_TEST_POSTGRES=$address
elif [ $status != 3 ]; then
  exit $status
else
  echo "=====================================================================" >&2
  echo "NO POSTGRESQL: the catalog, lease, fencing and outage suites ran on SQLite alone" >&2
  echo "=====================================================================" >&2
fi

cargo test --release --workspace "$@"
# A selection of tests is not about clients, nor about who signs them in.
if [ $# -eq 0 ]; then
  dev/clients.sh
  dev/oidc.sh
fi
