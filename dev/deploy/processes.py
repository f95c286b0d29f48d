"""What compose.yaml says, as processes instead of containers: each node with the environment that it has there, the proxy and
Prometheus with their files, the command that makes the user of metrics as it stands. Run by `dev/deploy.sh --run`.

Addresses are all that is changed: of the nodes, PostgreSQL and the S3 server, which are processes of this machine too."""

import base64
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

ROOT = pathlib.Path(__file__).parents[2]
PASSWORD = "HENGE_METRICS_PASSWORD"


def free():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def call(url, user=None, data=None):
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    if user:
        request.add_header("Authorization", "Basic " + base64.b64encode(":".join(user).encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def within(seconds, what, holds):
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.2)
    return found


class Cluster:
    def __init__(self, services, secrets, run, binaries, metadata, s3):
        self.run, self.secrets, self.processes = run, secrets, {}
        henge, haproxy, prometheus, libraries = binaries
        self.nodes = {name: one["environment"] for name, one in services.items() if "HENGE_ROLES" in one.get("environment", {})}
        self.ports = {name: free() for name in self.nodes}
        for name, variables in self.nodes.items():
            own = {
                "HENGE_METADATA_URL": metadata,
                "HENGE_STORAGE_DEEP": "s3://deep/compose",
                "HENGE_STORAGE_S3_ENDPOINT": s3,
                "HENGE_CLUSTER_ADDRESS": f"127.0.0.1:{self.ports[name]}",
                "HENGE_PORT": str(self.ports[name]),
                # What the image sets.
                "HENGE_HOST": "0.0.0.0",
                "HENGE_DATA_DIR": str(run / name),
            }
            self.start(name, [henge, "server"], {**variables, **own})
        self.proxy, seen = free(), free()
        settings = self.here((ROOT / "deploy/compose/haproxy.cfg").read_text()).replace(" resolvers docker", "")
        settings = settings.replace("bind :8888", f"bind 127.0.0.1:{self.proxy}").replace("bind :8404", f"bind 127.0.0.1:{seen}")
        (run / "haproxy.cfg").write_text(settings)
        self.start("haproxy", [haproxy, "-f", str(run / "haproxy.cfg")], {"LD_LIBRARY_PATH": libraries})
        settings = self.here((ROOT / "deploy/compose/prometheus/prometheus.yml").read_text()).replace("proxy:8404", f"127.0.0.1:{seen}")
        settings = settings.replace("/run/secrets/metrics-password", str(run / "password")).replace("interval: 10s", "interval: 1s")
        (run / "password").write_text(secrets[PASSWORD])
        (run / "prometheus.yml").write_text(settings.replace("/etc/henge-rules", f"{ROOT}/deploy/prometheus"))
        self.prometheus, self.command = free(), prometheus

    def here(self, text):
        for name, port in self.ports.items():
            text = text.replace(f"{name}:8888", f"127.0.0.1:{port}")
        return text

    def start(self, name, command, variables):
        log = open(self.run / f"{name}.log", "w")
        self.processes[name] = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def watch(self):
        flags = [f"--config.file={self.run}/prometheus.yml", f"--storage.tsdb.path={self.run}/tsdb"]
        self.start("prometheus", [self.command, *flags, f"--web.listen-address=127.0.0.1:{self.prometheus}"], {})

    def ask(self, query):
        status, body = call(f"http://127.0.0.1:{self.prometheus}/api/v1/query?query={urllib.parse.quote(query)}")
        assert status in (0, 200, 503), f"{query}: {body}"
        return [(one["metric"], one["value"][1]) for one in json.loads(body)["data"]["result"]] if status == 200 else []

    def up(self):
        up = {}
        for labels, value in self.ask('up{job="henge"}'):
            up.setdefault(labels["role"], []).append(value)
        return {role: sorted(values) for role, values in up.items()}

    def codes(self):
        return {labels["server"]: value for labels, value in self.ask("haproxy_server_check_code")}

    def alerts(self):
        status, body = call(f"http://127.0.0.1:{self.prometheus}/api/v1/alerts")
        return {one["labels"]["alertname"] for one in json.loads(body)["data"]["alerts"]} if status == 200 else {"no answer"}

    def end(self):
        for one in self.processes.values():
            one.terminate()
        for one in self.processes.values():
            try:
                one.wait(30)
            except subprocess.TimeoutExpired:
                one.kill()


def hold(cluster, services):
    proxy, admin = f"http://127.0.0.1:{cluster.proxy}", ("admin", cluster.secrets["HENGE_ADMIN_PASSWORD"])
    metrics = ("metrics", cluster.secrets[PASSWORD])
    sql = {"query": "SELECT server_type, COUNT(*) FROM sys.servers GROUP BY 1", "resultFormat": "array"}

    def answer(user=None):
        return call(f"{proxy}/druid/v2/sql", user, sql)

    within(60, "the proxy sends to a broker", lambda: call(f"{proxy}/status/health")[0] == 200)
    command = services["setup-metrics"]["command"][0].replace("$$", "$")
    variables = {"PATH": os.environ["PATH"], "HENGE": proxy, "ADMIN_PASSWORD": admin[1], "METRICS_PASSWORD": metrics[1], "GRAFANA_PASSWORD": cluster.secrets["HENGE_GRAFANA_PASSWORD"]}
    subprocess.run(["/bin/sh", "-ec", command], env=variables, check=True, capture_output=True, timeout=60)
    cluster.watch()

    expected = {role: ["1", "1"] for role in ("broker", "coordinator", "historical", "ingest")}
    within(30, "Prometheus reads every node", lambda: cluster.up() == expected)
    assert sorted(value for _, value in cluster.ask("henge_server_leading")) == ["0"] * 7 + ["1"], "one leads"
    leads = {"200": 7, "404": 1}
    within(30, "the proxy's checks", lambda: {code: list(cluster.codes().values()).count(code) for code in leads} == leads)
    assert answer()[0] == 401, "strangers ask"
    told = dict(json.loads(answer(admin)[1]))
    assert (told["broker"], told["historical"], told["indexer"]) == (2, 2, 2), told
    for name, port in cluster.ports.items():
        assert call(f"http://127.0.0.1:{port}/metrics")[0] == 401, f"strangers read metrics of {name}"
        assert call(f"http://127.0.0.1:{port}/druid/v2/sql", metrics, sql)[0] in (403, 503) or name.startswith("broker"), name
    within(10, "no alert", lambda: not cluster.alerts())
    boards = [json.loads(path.read_text()) for path in (ROOT / "deploy/grafana/dashboards").glob("*.json")]
    asked = [target["expr"] for board in boards for panel in board["panels"] for target in panel.get("targets", []) if "builder" not in target]
    shown = [expr for expr in asked if cluster.ask(expr)]
    assert len(shown) > 40, f"the dashboards show little: {shown}"
    print(f"all is well: no alerts, {len(shown)} of {len(asked)} queries of the dashboards have series")

    (stands_by,) = [name for name, code in cluster.codes().items() if code == "404"]
    # The one that the proxy keeps this machine's clients with.
    sessions = {labels["server"]: int(count) for labels, count in cluster.ask('haproxy_server_sessions_total{proxy="brokers"}')}
    broker = max(sessions, key=sessions.get)
    for name in ("historical1", broker, stands_by):
        cluster.processes[name].kill()
    died = time.monotonic()
    within(10, "the proxy sends to the other broker", lambda: answer(admin)[0] == 200)
    print(f"without {broker} the proxy's clients are answered after {time.monotonic() - died:.1f} s")
    gone = {"HengeNodeAway", "HengeNobodyStandsBy"}
    within(30, f"alerts {gone} begin", lambda: cluster.alerts() == gone)
    print(f"without historical1, {broker} and {stands_by}: {', '.join(sorted(gone))} begin")


def main(config, secrets, run, henge, haproxy, prometheus, libraries, metadata, s3):
    services = yaml.safe_load(pathlib.Path(config).read_text())["services"]
    secrets = dict(line.split("=", 1) for line in pathlib.Path(secrets).read_text().split())
    run = pathlib.Path(run)
    cluster = Cluster(services, secrets, run, (henge, haproxy, prometheus, libraries), metadata, s3)
    try:
        hold(cluster, services)
    except BaseException:
        for log in sorted(run.glob("*.log")):
            print(f"== {log.name}", *log.read_text().splitlines()[-5:], sep="\n", file=sys.stderr)
        raise
    finally:
        cluster.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
