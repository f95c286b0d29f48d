#!/usr/bin/env bash
# Builds the web console into web-console/dist, which the server takes up when it is built. Does nothing if that is newer than
# what it is made of.
#   dev/console.sh         builds
#   dev/console.sh test    builds, and runs the tests of its logic
# Exit 3: Node.js or the packages cannot be had here; a server that is built now has no console, and says so.
set -euo pipefail
cd "$(dirname "$0")/../web-console"
mode=${1:-build}
cache=../dev/.cache/node
export PATH="$PWD/$cache/node_modules/node/bin:$PATH"

fits() { node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 22 || (a == 22 && b >= 12) || (a == 20 && b >= 19) ? 0 : 1)' 2>/dev/null; }

# npm has Node.js itself, where the machine's is too old to build with.
fits || { command -v npm >/dev/null && npm install --silent --no-audit --no-fund --prefix "$cache" node@22 >&2 && fits; } || {
  echo "console.sh: Node.js 20.19 or 22.12 or later and npm are needed to build the console" >&2
  exit 3
}

# Also what was begun and not ended.
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  npm ci --no-audit --no-fund >&2 || { echo "console.sh: npm's registry cannot be reached" >&2; exit 3; }
  touch node_modules/.package-lock.json
fi
if [ ! -e dist/index.html ] || [ -n "$(find . -path ./node_modules -prune -o -path ./dist -prune -o -path ./e2e -prune -o -type f -newer dist/index.html -print -quit)" ]; then
  npm run --silent build >&2
  touch dist/index.html
fi
if [ "$mode" = test ]; then npm test --silent >&2; fi
