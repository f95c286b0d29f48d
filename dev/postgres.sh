#!/usr/bin/env bash
# A real PostgreSQL to test against, from Debian's package or any installation whose initdb can be found. Nothing in it
# survives the loss of power: it does not sync.
#   dev/postgres.sh start [DIR]   makes an empty one, starts it on a free port, prints the URL of a database in it
#   dev/postgres.sh stop [DIR]    stops it and removes its data
#   dev/postgres.sh restart [DIR] stops it as a crash would, and starts it again on the same port with the same data
# DIR holds where its data are, its log and its URL (default: dev/.cache/postgres/run). PGBIN names another installation's
# programs. Exit 3: there is no PostgreSQL here.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
command=${1:-start}
dir=${2:-$here/.cache/postgres/run}
bin=${PGBIN:-$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1 || true)}
bin=${bin:-$(dirname "$(command -v initdb || echo ./initdb)")}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# PostgreSQL does not run as root.
as=()
if [ "$(id -u)" = 0 ]; then
  user=postgres
  id "$user" >/dev/null 2>&1 || user=nobody
  as=(setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups env "HOME=/")
fi

run() {
  local data=$1
  (cd "$data" && "${as[@]}" "$bin/pg_ctl" -D "$data/cluster" -w -t 60 -s -l "$data/log" start >&2) ||
    { echo "postgres.sh: it did not start; its log ends:" >&2; tail -n 20 "$data/log" >&2; exit 1; }
  cat "$dir/address"
}

halt() { (cd "$1" && "${as[@]}" "$bin/pg_ctl" -D "$1/cluster" -m immediate -w -s stop >&2) || true; }

case $command in
start)
  [ -x "$bin/initdb" ] || { echo "postgres.sh: no initdb; apt-get install postgresql" >&2; exit 3; }
  mkdir -p "$dir"
  # Elsewhere than DIR, which another user may not be able to reach; the name of a socket must be short, too.
  data=$(mktemp -d /var/tmp/henge-postgres.XXXXXX)
  [ "$(id -u)" != 0 ] || chown "$user" "$data"
  echo "$data" >"$dir/data"
  port=$(free_port)
  (cd "$data" && "${as[@]}" "$bin/initdb" -D "$data/cluster" -U test -A trust -E UTF8 --no-locale -N >"$data/initdb.log" 2>&1) ||
    { cat "$data/initdb.log" >&2; exit 1; }
  "${as[@]}" tee -a "$data/cluster/postgresql.conf" >/dev/null <<P
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$data'
fsync = off
synchronous_commit = off
full_page_writes = off
shared_buffers = 32MB
max_connections = 300
P
  # Clients that ask for TLS get it, if a certificate can be made. The URL does not ask: it takes its time to connect.
  if command -v openssl >/dev/null && (cd "$data/cluster" && "${as[@]}" openssl req -x509 -newkey rsa:2048 -nodes -days 30 \
    -subj /CN=localhost -keyout server.key -out server.crt >/dev/null 2>&1); then
    echo "ssl = on" | "${as[@]}" tee -a "$data/cluster/postgresql.conf" >/dev/null
  fi
  echo "postgres://test@127.0.0.1:$port/postgres?sslmode=disable" >"$dir/address"
  run "$data"
  ;;
restart)
  halt "$(cat "$dir/data")"
  run "$(cat "$dir/data")"
  ;;
stop)
  if [ -f "$dir/data" ]; then
    data=$(cat "$dir/data")
    halt "$data"
    rm -rf "$data" "$dir/data" "$dir/address"
  fi
  ;;
*) echo "postgres.sh: start, stop or restart, not '$command'" >&2; exit 2 ;;
esac
