#!/usr/bin/env bash
# Real clients against a real server: pydruid, SQLAlchemy, phoenixdb, pyarrow and ADBC from PyPI, the JDBC drivers of Avatica and
# of Arrow Flight SQL from Maven Central; and, where a folder of client tests stands beside the checkout (../shared/clients), those too.
# What cannot be had here is said loudly and not run.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=$PWD/dev/.cache
# What steers tests is no setting of the server.
# shellcheck disable=SC2086
unset ${!HENGE_@}
run=$(mktemp -d)
servers=()
trap 'kill "${servers[@]}" 2>/dev/null || true; wait "${servers[@]}" 2>/dev/null || true; rm -rf "$run"' EXIT

# Of the user admin; clients that send none need none here.
password=clients-password
base=
# Starts a server of its own name and settings, which $base is the address of.
serve() {
  local name=$1 log=$run/$1.log
  shift
  target/release/henge server --data-dir "$run/$name" --port 0 --set auth.first_password="$password" "$@" >"$log" 2>&1 &
  servers+=($!)
  base=
  for _ in $(seq 1 300); do
    base=$(sed -n 's/^serving at //p' "$log")
    [ -n "$base" ] && return
    sleep 0.1
  done
  echo "clients.sh: the server did not start; its log:" >&2
  cat "$log" >&2
  exit 1
}
serve own

absent() { echo "===== NOT RUN: $*" >&2; }
python=$cache/clients/bin/python
# Named by what is in it: a folder that an earlier version of this script filled lacks something.
complete=$cache/clients/.complete-adbc
if [ ! -e "$complete" ]; then
  rm -rf "$cache/clients"
  if python3 -m venv "$cache/clients" && "$python" -m pip install -q 'pydruid==0.6.9' 'sqlalchemy<2' requests pyarrow protobuf adbc-driver-flightsql &&
    "$python" -m pip install -q --no-deps 'phoenixdb==1.2.2'; then
    touch "$complete"
  fi
fi
if [ -e "$complete" ]; then
  "$python" -W ignore dev/clients/clients.py "$base" "$password"
  jars=$cache/clients/jars
  if command -v mvn >/dev/null && command -v javac >/dev/null &&
    { [ -e "$jars/.complete-flight" ] || mvn -q -B -f dev/clients/pom.xml dependency:copy-dependencies -DoutputDirectory="$jars" >&2; }; then
    touch "$jars/.complete-flight"
    java -cp "$jars/*" dev/clients/Jdbc.java "$base"
    java --add-opens=java.base/java.nio=ALL-UNNAMED \
      -cp "$jars/*" dev/clients/FlightJdbc.java "${base#http://}" "$password" 2>"$run/java" || { cat "$run/java" >&2; exit 1; }
  else
    absent "the JDBC drivers (need a JDK, Maven and Maven Central)"
  fi
else
  absent "pydruid, phoenixdb, pyarrow, ADBC and the JDBC drivers (need python3-venv and PyPI)"
fi
if [ -d ../shared/clients ]; then
  # Grafana's plugin guesses types from five rows and fails at nulls: its queries need these keys, and do not set them.
  serve shared --set 'query.default_context={"skipEmptyBuckets": true, "sortByDimsFirst": true}'
  code=0
  VENV=$cache/shared-clients ../shared/clients/run_all.sh "$base" || code=$?
  case $code in
  0) ;;
  2) absent "../shared/clients (need python3-venv and PyPI)" ;;
  *) echo "===== ../shared/clients: NOT ALL PASSED, see above" >&2 && exit 1 ;;
  esac
fi
