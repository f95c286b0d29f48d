#!/usr/bin/env bash
# Prints where a program of Prometheus is: of the machine's, or of Debian's package, unpacked once and not installed, as the package
# would start a server.
#   dev/prometheus.sh prometheus|promtool
# Exit 3: it cannot be had here.
set -euo pipefail
debian=$(cd "$(dirname "$0")" && pwd)/.cache/deploy/debian
case ${1:-} in prometheus | promtool) ;; *) echo "prometheus.sh: prometheus or promtool, not '${1:-}'" >&2; exit 2 ;; esac
type -P "$1" && exit 0
if [ ! -x "$debian/usr/bin/$1" ] && command -v apt-get >/dev/null && command -v dpkg >/dev/null; then
  debs=$(mktemp -d)
  mkdir -p "$debian"
  (cd "$debs" && apt-get download -qq -o APT::Sandbox::User=root prometheus) >&2 && dpkg -x "$debs"/prometheus_*.deb "$debian" || true
  rm -rf "$debs"
fi
[ -x "$debian/usr/bin/$1" ] || { echo "prometheus.sh: no $1 (of Debian's package prometheus)" >&2; exit 3; }
echo "$debian/usr/bin/$1"
