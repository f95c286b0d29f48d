#!/usr/bin/env bash
# A real Apache Kafka (one KRaft node) to test against, from Maven Central's jars.
#   dev/kafka.sh start [DIR]   fetches the jars once, starts a broker on a free port, prints its address
#   dev/kafka.sh stop [DIR]    stops it (its data stay)
#   dev/kafka.sh restart [DIR] starts it again on the same port with the same data
# Beside the open listener there is one by TLS with SASL (PLAIN, SCRAM-SHA-256; user henge, password stream-secret): its address
# is in DIR/secure_address, the authority to trust in DIR/ca.pem.
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
  secure=$(free_port)
  echo "127.0.0.1:$port" >"$dir/address"
  # A listener that asks by TLS who it is: a certificate of its own, and one user.
  keytool -genkeypair -alias broker -keyalg EC -validity 30 -dname CN=localhost -ext "san=ip:127.0.0.1,dns:localhost" \
    -storetype PKCS12 -storepass broker-secret -keystore "$dir/broker.p12" >"$dir/log" 2>&1
  keytool -exportcert -rfc -alias broker -storepass broker-secret -keystore "$dir/broker.p12" >"$dir/ca.pem" 2>>"$dir/log"
  echo "127.0.0.1:$secure" >"$dir/secure_address"
  cat >"$dir/server.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,SASL_SSL://127.0.0.1:$secure,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port,SASL_SSL://127.0.0.1:$secure
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_henge="stream-secret";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PKCS12
ssl.keystore.location=$dir/broker.p12
ssl.keystore.password=broker-secret
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
    format --cluster-id=HengeTestClusterId0000 --add-scram 'SCRAM-SHA-256=[name=henge,password=stream-secret]' \
    -c "$dir/server.properties" >>"$dir/log" 2>&1 ||
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
