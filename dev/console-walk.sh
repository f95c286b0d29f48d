#!/usr/bin/env bash
# Walks through the web console in a real browser, on live data: every page in both themes, with a server that asks for no
# credentials and with one that does. Pictures of what was seen are left in web-console/e2e/out.
#   HENGE=path   the binary (target/release/henge)
# What cannot be had here (Chromium, Node.js) is said loudly, and nothing is walked.
set -euo pipefail
cd "$(dirname "$0")/.."
not_run() { echo "===== NOT RUN: the walk through the console: $*" >&2; exit 0; }
henge=$(realpath "${HENGE:-target/release/henge}")
[ -x "$henge" ] || { echo "console-walk.sh: no binary $henge; make build, or HENGE=path" >&2; exit 1; }
browser=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
[ -n "$browser" ] || not_run "no chromium"
dev/console.sh || not_run "no Node.js"
PATH="$PWD/dev/.cache/node/node_modules/node/bin:$PATH"

run=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait; rm -rf "$run"' EXIT
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# serve NAME ARGUMENT...: a server with live data; its address is in $url.
serve() {
  local name=$1 port
  shift
  port=$(free_port)
  url=http://127.0.0.1:$port
  # What steers tests is no setting of a node.
  env -i PATH="$PATH" HOME="$HOME" "$henge" quickstart --data-dir "$run/$name" --port "$port" "$@" >"$run/$name.log" 2>&1 &
  pids+=($!)
  for _ in $(seq 1 300); do
    if curl -sf "$url/status/health" >/dev/null; then return; fi
    kill -0 "$!" 2>/dev/null || break
    sleep 0.2
  done
  echo "console-walk.sh: the server did not start; its log ends:" >&2
  tail -n 20 "$run/$name.log" >&2
  exit 1
}

# Alerts tell a receiver of the walk itself, which is on this machine.
serve open --rate 50 --set ingest.http_hosts=127.0.0.1
export HENGE_URL=$url
password=$(python3 -c 'import secrets; print(secrets.token_urlsafe(18))')
serve signed-in --rate 20 --set auth.required=true --set "auth.first_password=$password"
export HENGE_AUTH_URL=$url HENGE_AUTH_PASSWORD=$password CHROMIUM=$browser
curl -s "$HENGE_URL/console/" | grep -q 'id="root"' || { echo "console-walk.sh: $henge was built without the console" >&2; exit 1; }
cd web-console
npm run --silent e2e
