#!/usr/bin/env bash
# A real Redis server (keeps nothing on disk here) to test against. Debian's package redis-tools is enough: its redis-check-rdb is
# the server under another name, and no service comes with it.
#   dev/redis.sh start [DIR]   starts it on a free port of 127.0.0.1, with a password, prints its address
#   dev/redis.sh stop [DIR]    stops it
# DIR holds its log and pid (default: dev/.cache/redis/run). Exit 3: it cannot be had here (apt-get install redis-tools).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
command=${1:-start}
dir=${2:-$here/.cache/redis/run}

case $command in
start)
  program=$(type -P redis-server || type -P redis-check-rdb) ||
    { echo "redis.sh: no redis-server (apt-get install redis-tools)" >&2; exit 3; }
  rm -rf "$dir"
  mkdir -p "$dir"
  for _ in $(seq 1 10); do
    port=$((20000 + RANDOM % 20000))
    (exec -a redis-server "$program" --bind 127.0.0.1 --port "$port" --requirepass testing --save '' --appendonly no --maxmemory 256mb \
      --maxmemory-policy allkeys-lru --dir "$dir") >"$dir/log" 2>&1 </dev/null &
    echo $! >"$dir/pid"
    for _ in $(seq 1 100); do
      if grep -q 'Ready to accept connections' "$dir/log"; then
        echo "redis://:testing@127.0.0.1:$port"
        exit 0
      fi
      kill -0 "$(cat "$dir/pid")" 2>/dev/null || break
      sleep 0.1
    done
  done
  echo "redis.sh: the server did not start; its log ends:" >&2
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
*) echo "redis.sh: start or stop, not '$command'" >&2; exit 2 ;;
esac
