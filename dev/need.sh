#!/usr/bin/env bash
# Installs what a Debian machine lacks (as root), or says what to install.
#   dev/need.sh build     to build: a C compiler, make, Rust
#   dev/need.sh test      to test as well: Java and Maven, for a real Kafka
set -euo pipefail
missing=()
has() { command -v "$1" >/dev/null 2>&1; }
has cc || missing+=(gcc)
has make || missing+=(make)
has g++ || missing+=(g++)
has python3 || missing+=(python3)
if [ "${1:-build}" = test ]; then
  has java || missing+=(default-jre-headless)
  has mvn || missing+=(maven)
fi
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && has apt-get; then
    echo "installing ${missing[*]}" >&2
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
  else
    echo "please install: ${missing[*]}" >&2
    exit 1
  fi
fi
has cargo || { echo "please install Rust 1.95 or later: https://rustup.rs" >&2; exit 1; }
