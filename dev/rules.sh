#!/usr/bin/env bash
# Checks deploy/prometheus and deploy/grafana by promtool (of Debian's package prometheus; PROMTOOL names another): syntax and
# tests of the rules, that each rule has a test, that all they name is recorded, and the queries of the dashboards.
set -euo pipefail
cd "$(dirname "$0")/.."
promtool=${PROMTOOL:-$(dev/prometheus.sh promtool || true)}
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
