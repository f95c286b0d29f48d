#!/usr/bin/env bash
# Copies the peer runner to OUT and gives the queries whose text Druid's dialect writes otherwise a `-- [druid]` text: the
# time column is __time, and constants compared with it are timestamps.
#   dev/druid-dialect.sh PERF OUT
set -euo pipefail
cp -r "$1" "$2"
chmod -R u+w "$2"
python3 - "$2" <<'P'
import pathlib, re, sys

queries = pathlib.Path(sys.argv[1]) / "queries"
for name, column in [("lineitem", "l_shipdate"), ("druidx", "l_shipdate"), ("wiki", "time")]:
    path = queries / f"{name}.sql"
    blocks = re.split(r"^(?=-- name:)", path.read_text(), flags=re.M)
    out = [blocks[0]]
    for block in blocks[1:]:
        head, body = block.split("\n", 1)
        common = re.split(r"^-- \[", body, flags=re.M)[0].strip()
        druid = re.sub(rf"\b{column}\b", "__time", common)
        druid = re.sub(r"'(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)'", r"TIMESTAMP '\1'", druid)
        druid = re.sub(r"\buser\b", '"user"', druid).replace('""user""', '"user"')
        druid = re.sub(r"\bapprox_quantile\(", "APPROX_QUANTILE(", druid)
        druid = re.sub(r"\bis(Robot|Anonymous) = (true|false)", r"is\1 = '\2'", druid)
        druid = re.sub(r"AS (t|y|c|q|r|u|a|s)\b", r'AS \1', druid)
        out.append(f"{head}\n{body.rstrip()}\n-- [druid]\n{druid}\n")
    path.write_text("".join(out))
P
