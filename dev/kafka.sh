#!/usr/bin/env bash
# A real Apache Kafka (one KRaft node) to test against, from Maven Central's jars.
#   dev/kafka.sh start [DIR]   fetches the jars once, starts a broker on a free port, prints its address
#   dev/kafka.sh stop [DIR]    stops it (its data stay)
#   dev/kafka.sh restart [DIR] starts it again on the same port with the same data
# DIR holds the broker's data, log and pid (default: dev/.cache/kafka/run). Exit 3: the jars cannot be had here.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
libs=$here/.cache/kafka/libs
command=${1:-start}
dir=${2:-$here/.cache/kafka/run}

fetch() {
  [ -f "$libs/.complete" ] && return
  mkdir -p "$libs"
  mvn -q -B -f "$here/kafka/pom.xml" dependency:copy-dependencies -DoutputDirectory="$libs" -DincludeScope=runtime >&2 ||
    { echo "kafka.sh: Maven Central cannot be reached; no Kafka" >&2; exit 3; }
  touch "$libs/.complete"
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

run() {
  local address
  address=$(cat "$dir/address")
  java -Xmx768m -Xms256m -XX:+UseSerialGC -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$libs/*" \
    kafka.Kafka "$dir/server.properties" >>"$dir/log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
  for _ in $(seq 1 600); do
    if (exec 3<>"/dev/tcp/${address%:*}/${address#*:}") 2>/dev/null; then echo "$address"; return; fi
    kill -0 "$(cat "$dir/pid")" 2>/dev/null || break
    sleep 0.2
  done
  echo "kafka.sh: the broker did not start; its log ends:" >&2
  tail -n 20 "$dir/log" >&2
  exit 1
}

case $command in
start)
  command -v java >/dev/null || { echo "kafka.sh: no java; apt-get install default-jre-headless maven" >&2; exit 3; }
  fetch
  rm -rf "$dir"
  mkdir -p "$dir"
  port=$(free_port)
  controller=$(free_port)
  echo "127.0.0.1:$port" >"$dir/address"
  cat >"$dir/server.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
log.dirs=$dir/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.retention.hours=-1
P
  java -Xmx128m -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$libs/*" kafka.tools.StorageTool \
    format --cluster-id=HengeTestClusterId0000 -c "$dir/server.properties" >"$dir/log" 2>&1 ||
    { cat "$dir/log" >&2; exit 1; }
  run
  ;;
restart) run ;;
stop)
  if [ -f "$dir/pid" ]; then
    kill "$(cat "$dir/pid")" 2>/dev/null || true
    for _ in $(seq 1 100); do kill -0 "$(cat "$dir/pid")" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$(cat "$dir/pid")" 2>/dev/null || true
  fi
  ;;
*) echo "kafka.sh: start, stop or restart, not '$command'" >&2; exit 2 ;;
esac
