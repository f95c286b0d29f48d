#!/usr/bin/env bash
# Installs what a Debian machine lacks (as root), or says what to install.
#   dev/need.sh build     to build: a C compiler, make, Perl, Rust; npm for the web console
#   dev/need.sh test      to test as well: Java and Maven for a real Kafka and the JDBC driver, Python for its clients,
#                         PostgreSQL (no server is started by it), Chromium for the console, libfaketime for clocks that are off, a Redis server
set -euo pipefail
missing=()
has() { command -v "$1" >/dev/null 2>&1; }
has cc || missing+=(gcc)
has make || missing+=(make)
has g++ || missing+=(g++)
# OpenSSL's own build asks for more of it than what every Debian has.
perl -MIPC::Cmd -MFindBin -e 1 2>/dev/null || missing+=(perl)
has python3 || missing+=(python3)
wanted=()
# Without it the server is built without the console, and says so.
has npm || wanted+=(npm)
# Without these the suites that need a real Kafka, a real PostgreSQL, real clients or a browser do not run, and dev/test.sh says so.
if [ "${1:-build}" = test ]; then
  has javac || wanted+=(default-jdk-headless)
  python3 -c 'import ensurepip' 2>/dev/null || wanted+=(python3-venv)
  has mvn || wanted+=(maven)
  has chromium || wanted+=(chromium)
  # Its server would run from now on: dev/rules.sh needs promtool alone, dev/deploy.sh unpacks what it needs.
  python3 -c 'import yaml' 2>/dev/null || wanted+=(python3-yaml)
  has redis-server || has redis-check-rdb || wanted+=(redis-tools)
  ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || wanted+=(libfaketime)
  has initdb || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || wanted+=(postgresql)
fi
install() {
  echo "installing $*" >&2
  apt-get update -qq >&2 || return 1
  case " $* " in *" postgresql "*)
    # Its programs are wanted, and not a server that runs from now on.
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
      echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
  esac
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}
may_install() { [ "$(id -u)" = 0 ] && has apt-get; }
if [ ${#missing[@]} -gt 0 ]; then
  may_install && install "${missing[@]}" || { echo "please install: ${missing[*]}" >&2; exit 1; }
fi
if [ ${#wanted[@]} -gt 0 ]; then
  may_install && install "${wanted[@]}" || echo "not installed: ${wanted[*]}" >&2
fi
has cargo || { echo "please install Rust 1.95 or later: https://rustup.rs" >&2; exit 1; }
