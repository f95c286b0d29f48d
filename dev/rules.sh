#!/usr/bin/env bash
# Checks deploy/prometheus and deploy/grafana by promtool (of Debian's package prometheus; PROMTOOL names another): syntax and
# tests of the rules, that each rule has a test, that all they name is recorded, and the queries of the dashboards.
set -euo pipefail
cd "$(dirname "$0")/.."
promtool=${PROMTOOL:-$(type -P promtool || true)}
debian=$PWD/dev/.cache/deploy/debian
if [ -z "$promtool" ] && [ ! -x "$debian/usr/bin/promtool" ] && command -v apt-get >/dev/null && command -v dpkg >/dev/null; then
  # Unpacked and not installed: the package would start a server.
  debs=$(mktemp -d)
  mkdir -p "$debian"
  (cd "$debs" && apt-get download -qq -o APT::Sandbox::User=root prometheus) >&2 && dpkg -x "$debs"/prometheus_*.deb "$debian" || true
  rm -rf "$debs"
fi
if [ -z "$promtool" ] && [ -x "$debian/usr/bin/promtool" ]; then promtool=$debian/usr/bin/promtool; fi
if [ -z "$promtool" ]; then
  echo "NOT CHECKED: rules and dashboards (promtool of Debian's package prometheus is not there)" >&2
  exit 3
fi
python3 -c 'import yaml' 2>/dev/null || { echo "NOT CHECKED: rules and dashboards (python3-yaml is not there)" >&2; exit 3; }
run=$(mktemp -d)
trap 'rm -rf "$run"' EXIT
"$promtool" check rules deploy/prometheus/*.yml
"$promtool" test rules deploy/prometheus/tests/*.yml
python3 dev/deploy/check.py tried
python3 dev/deploy/check.py dashboards "$run/panels.yml"
"$promtool" check rules "$run/panels.yml" >/dev/null
python3 dev/deploy/check.py metrics
