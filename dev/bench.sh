#!/usr/bin/env bash
# Prints Henge's figures, and with a folder of peer tools beside the checkout (../shared/perf) those of its peers in the same
# run. Nothing is asserted.
#   DATA=dir       generated data (made here if missing and the generators are at hand)
#   WORKLOADS=...  lineitem,druidx,wiki
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release -p henge-server -p henge-bench
bench=target/release/henge-bench
run=$(mktemp -d)
trap 'kill $server 2>/dev/null || true; dev/kafka.sh stop "$run/kafka"; rm -rf "$run"' EXIT
server=

echo "== byte buffer to queryable, one core"
$bench ingest
echo "== Kafka to queryable"
if address=$(dev/kafka.sh start "$run/kafka"); then $bench kafka --bootstrap "$address"; else echo "no Kafka"; fi
dev/kafka.sh stop "$run/kafka"
echo "== start, empty"
$bench start --data-dir "$run/empty"

perf=../shared/perf
[ -d "$perf" ] || exit 0
data=${DATA:-dev/.cache/bench}
workloads=${WORKLOADS:-lineitem,druidx,wiki}
mkdir -p "$data"
python3 -c 'import duckdb, chdb, datafusion, pyarrow' 2>/dev/null || pip install -q duckdb chdb datafusion pyarrow numpy tpchgen-cli
[ -f "$data/tpch/lineitem.parquet" ] || python3 $perf/gen/gen_tpch.py --scale 1 --out "$data/tpch"
[ -f "$data/ssb/lineorder_flat.parquet" ] || python3 $perf/gen/gen_ssb.py --scale 1 --tpch "$data/tpch/tpch" --out "$data/ssb"
case $workloads in *wiki*) [ -f "$data/events/wiki.jsonl" ] || python3 $perf/gen/gen_events.py --kind wiki --out "$data/events" ;; esac
[ -d "$data/store" ] || python3 $perf/peers.py load --data "$data" --store "$data/store" --workloads "$workloads"

store=${STORE:-$data/henge}
target/release/henge server --data-dir "$store" --port 18888 --set log.level=warn &
server=$!
until curl -sf http://127.0.0.1:18888/status/health >/dev/null; do sleep 0.2; done
have() { curl -s "http://127.0.0.1:18888/druid/v2/datasources" | grep -q "\"$1\""; }
have lineitem || $bench load --url http://127.0.0.1:18888 --table lineitem --file "$data/tpch/lineitem.parquet"
have lineorder_flat || $bench load --url http://127.0.0.1:18888 --table lineorder_flat --file "$data/ssb/lineorder_flat.parquet"
case $workloads in *wiki*) have wiki || $bench load --url http://127.0.0.1:18888 --table wiki --file "$data/events/wiki.jsonl" ;; esac
echo "== bytes of published segments"
curl -s "http://127.0.0.1:18888/druid/coordinator/v1/datasources?simple"
echo
echo "== trivial query over HTTP"
$bench http --url http://127.0.0.1:18888 --datasource lineitem
echo "== SQL beside the native query that it is planned as"
$bench sql-native --url http://127.0.0.1:18888
echo "== a row policy beside its condition written by hand"
$bench policy-cost --url http://127.0.0.1:18888
echo "== peers"
dev/druid-dialect.sh "$perf" "$run/perf"
python3 "$run/perf/peers.py" run --data "$data" --store "$data/store" --workloads "$workloads" --http henge=http://127.0.0.1:18888/druid/v2/sql
kill $server
wait $server || true
server=
echo "== start over these tables"
$bench start --data-dir "$store" --datasource lineitem
