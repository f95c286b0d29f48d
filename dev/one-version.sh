#!/usr/bin/env bash
# Two versions of these crates resolve without an error and fail only as type mismatches, or double the build.
set -euo pipefail
cd "$(dirname "$0")/.."
twice=$(cargo tree --workspace -e normal --prefix none 2>/dev/null | awk '{print $1, $2}' | sort -u |
  awk '$1 ~ /^(arrow|parquet|object_store|sqlparser|datafusion|zstd-sys)$/ {print $1}' | uniq -d)
[ -z "$twice" ] || { echo "more than one version of: $twice" >&2; exit 1; }
