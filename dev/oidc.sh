#!/usr/bin/env bash
# Signs in with tokens of a real OpenID Connect provider (oidc-provider-mock from PyPI: RS256 by Authlib). It is started twice:
# a token of its first life is signed by a key that it has no more. What cannot be had here is said loudly and not run.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$PWD/dev/.cache/oidc
complete=$venv/.complete-0.3.4
run=$(mktemp -d)
provider=
trap 'kill $provider 2>/dev/null || true; rm -rf "$run"' EXIT
if [ ! -e "$complete" ]; then
  rm -rf "$venv"
  if python3 -m venv "$venv" && "$venv/bin/python" -m pip install -q 'oidc-provider-mock==0.3.4'; then
    touch "$complete"
  else
    echo "===== NOT RUN: sign-in by a real OpenID Connect provider (needs python3-venv and PyPI)" >&2
    exit 0
  fi
fi
port=$("$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
issuer=http://127.0.0.1:$port
start() {
  "$venv/bin/python" -W ignore -m oidc_provider_mock --port "$port" --user-claims '{"sub": "ann", "roles": ["staff", "admin"]}' \
    >>"$run/log" 2>&1 &
  provider=$!
  for _ in $(seq 1 200); do
    "$venv/bin/python" -c "import urllib.request; urllib.request.urlopen('$issuer/.well-known/openid-configuration')" \
      2>/dev/null && return
    sleep 0.1
  done
  echo "oidc.sh: the provider did not start; its log:" >&2
  cat "$run/log" >&2
  exit 1
}
token() { "$venv/bin/python" dev/oidc.py "$issuer" "$1" ann; }
start
withdrawn=$(token henge)
kill $provider
wait $provider 2>/dev/null || true
start
export HENGE_TEST_OIDC=$issuer
HENGE_TEST_OIDC_TOKENS=$(printf '{"good": "%s", "other_audience": "%s", "withdrawn": "%s"}' \
  "$(token henge)" "$(token grafana)" "$withdrawn")
export HENGE_TEST_OIDC_TOKENS
cargo test --release -p henge-server --test it "$@" a_real_provider_signs_people_in
