#!/usr/bin/env bash
# Runs the commands of docs/operations/by-hand.md as they stand there: the blocks that begin with ```sh by-hand, in their order, in
# one shell that ends at the first command that fails; then, in any case, those of ```sh by-hand-end.
#   HENGE=path        the binary (target/release/henge)
#   BY_HAND_SECONDS=n how long it may take in all (600)
#   dev/by-hand.sh --print   prints the commands and runs nothing
# What cannot be had here (Java, Maven Central, PostgreSQL, PyPI) is said loudly, and nothing is run.
set -euo pipefail
cd "$(dirname "$0")/.."
page=docs/operations/by-hand.md

blocks() { awk -v mark="$1" '$0 == "```sh " mark {on = 1; next} $0 == "```" {on = 0} on' "$page"; }

if [ "${1:-}" = --print ]; then
  blocks by-hand
  blocks by-hand-end
  exit 0
fi

henge=${HENGE:-target/release/henge}
seconds=${BY_HAND_SECONDS:-600}
not_run() { echo "===== NOT RUN: the commands of $page: $*" >&2; exit 0; }
[ -x "$henge" ] || { echo "by-hand.sh: no binary $henge; make build, or HENGE=path" >&2; exit 1; }
henge=$(realpath "$henge")
for needed in curl java psql pg_dump pg_restore python3; do
  command -v "$needed" >/dev/null || not_run "no $needed"
done
for needed in dev/postgres.sh dev/s3.sh dev/kafka.sh; do
  [ -x "$needed" ] || not_run "no $needed"
done

scratch=$(mktemp -d)
export HENGE=$henge RUN=$scratch/run
mkdir "$RUN"
# What steers tests is no setting of the nodes, nor is what is set for a node of one's own.
# shellcheck disable=SC2086
unset ${!HENGE_@}
# 3 is how the servers' scripts say that they cannot be had; $at tells the command that failed.
{
  echo 'set -eEuo pipefail'
  echo 'trap '\''code=$?; echo "by-hand.sh: ended with $code at: $BASH_COMMAND" >&2; exit $code'\'' ERR'
  blocks by-hand
} >"$scratch/commands"
{
  echo "run=$RUN"
  # The nodes are not children of the shell that ends them.
  echo 'gone() { for _ in $(seq 1 300); do kill -0 "$1" 2>/dev/null || return 0; sleep 0.1; done; kill -9 "$1" 2>/dev/null || true; }'
  echo 'wait() { for pid in "$run"/*[0-9]/pid; do if [ -f "$pid" ]; then gone "$(cat "$pid")"; fi; done; }'
  blocks by-hand-end
} >"$scratch/end"
grep -q 'kill -9' "$scratch/commands" && grep -q -- '--roles' "$scratch/commands" && grep -q 'postgres.sh stop' "$scratch/end" ||
  { echo "by-hand.sh: $page does not have the blocks that it should" >&2; exit 1; }

group=
finish() {
  if [ -n "$group" ]; then kill -- "-$group" 2>/dev/null || true; fi
  bash "$scratch/end" >"$scratch/end.log" 2>&1 || cat "$scratch/end.log" >&2
  # Whatever is left is of the group that was started here.
  if [ -n "$group" ]; then kill -9 -- "-$group" 2>/dev/null || true; fi
  rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT TERM

# A group of its own, with everything that the commands leave in the background.
setsid bash "$scratch/commands" </dev/null &
group=$!
code=0
(
  sleep "$seconds" &
  pause=$!
  trap 'kill $pause 2>/dev/null' EXIT
  wait $pause && echo "by-hand.sh: not done after $seconds seconds" >&2 && kill -- "-$group" 2>/dev/null
) &
watch=$!
wait "$group" || code=$?
kill "$watch" 2>/dev/null || true
wait "$watch" 2>/dev/null || true

case $code in
0) echo "by-hand.sh: the commands of $page did what it says" ;;
3) not_run "a server cannot be had here, see above" ;;
*)
  for log in "$RUN"/*[0-9]/log; do
    [ -f "$log" ] || continue
    echo "===== $log ends:" >&2
    tail -n 20 "$log" >&2
  done
  exit "$code"
  ;;
esac
