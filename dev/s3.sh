#!/usr/bin/env bash
# A real S3 server (moto from PyPI, which keeps its objects in memory) to test against.
#   dev/s3.sh start [DIR]   installs it once, starts it on a free port with the bucket `deep`, prints its address
#   dev/s3.sh stop [DIR]    stops it
# DIR holds its log and pid (default: dev/.cache/s3/run). Any credentials will do. Exit 3: it cannot be had here.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=$here/.cache/s3/venv
complete=$venv/.complete-5.2.5
command=${1:-start}
dir=${2:-$here/.cache/s3/run}

fetch() {
  [ -e "$complete" ] && return
  rm -rf "$venv"
  mkdir -p "$(dirname "$venv")"
  if python3 -m venv "$venv" >&2 && "$venv/bin/python" -m pip install -q 'moto[server]==5.2.5' >&2; then
    touch "$complete"
  else
    echo "s3.sh: no S3 server (needs python3-venv and PyPI)" >&2
    exit 3
  fi
}

case $command in
start)
  command -v python3 >/dev/null || { echo "s3.sh: no python3" >&2; exit 3; }
  fetch
  rm -rf "$dir"
  mkdir -p "$dir"
  port=$("$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  "$venv/bin/moto_server" -H 127.0.0.1 -p "$port" >"$dir/log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
  address=http://127.0.0.1:$port
  for _ in $(seq 1 300); do
    if "$venv/bin/python" -c "import urllib.request as u; u.urlopen(u.Request('$address/deep', method='PUT'))" 2>/dev/null; then
      echo "$address"
      exit 0
    fi
    kill -0 "$(cat "$dir/pid")" 2>/dev/null || break
    sleep 0.2
  done
  echo "s3.sh: the server did not start; its log ends:" >&2
  tail -n 20 "$dir/log" >&2
  exit 1
  ;;
stop)
  if [ -f "$dir/pid" ]; then
    kill "$(cat "$dir/pid")" 2>/dev/null || true
    for _ in $(seq 1 50); do kill -0 "$(cat "$dir/pid")" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$(cat "$dir/pid")" 2>/dev/null || true
  fi
  ;;
*) echo "s3.sh: start or stop, not '$command'" >&2; exit 2 ;;
esac
