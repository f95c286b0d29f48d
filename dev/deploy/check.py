"""What no tool knows of deploy/: names that the code has, and what a manifest has to say. Run by dev/deploy.sh."""

import json
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy/compose/grafana/dashboards/henge.json"
ALERTS = ROOT / "deploy/compose/prometheus/alerts.yml"
# Of the proxy's exporter and of Prometheus itself.
OTHERS = {"haproxy_server_check_code", "haproxy_server_status", "up"}


def need(holds, what):
    if not holds:
        sys.exit(what)


def expressions():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    need(panels, "no panels")
    return [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]


def dashboard(out):
    """The queries as rules, so that promtool reads them."""
    rules = [{"record": f"panel:{number}", "expr": query} for number, (_, query) in enumerate(expressions())]
    pathlib.Path(out).write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    ids = [panel["id"] for panel in json.loads(DASHBOARD.read_text())["panels"]]
    need(len(ids) == len(set(ids)), "two panels of one id")


def metrics():
    recorded = set()
    for path in ROOT.glob("*/src/metrics.rs"):
        recorded |= set(re.findall(r'"(henge_[a-z_]+)"', path.read_text()))
    need(recorded, "no metrics.rs has a metric")
    texts = [ALERTS.read_text()] + [query for _, query in expressions()]
    named = set(re.findall(r"\b(henge_[a-z_]+|haproxy_[a-z_]+)\b", "\n".join(texts)))
    unknown = sorted(n for n in named if re.sub("_(sum|count)$", "", n) not in recorded | OTHERS and n not in recorded)
    need(not unknown, f"recorded nowhere: {unknown}")


def settings():
    """Whatever looks like a variable of Henge must be one: the binary refuses others."""
    keys = set()
    for path in [*ROOT.glob("server/src/config.rs"), *ROOT.glob("server/src/config/*.rs")]:
        keys |= set(re.findall(r'key\(\s*"([a-z0-9_.]+)"', path.read_text()))
    need(keys, "no settings found")
    known = {"HENGE_" + key.replace(".", "_").upper() for key in keys}
    # Of compose itself, and as examples of what Kubernetes would inject.
    known |= {"HENGE_IMAGE", "HENGE_CACHE_MAX_BYTES", "HENGE_ADMIN_PASSWORD", "HENGE_METRICS_PASSWORD", "HENGE_SERVICE_HOST", "HENGE_SECTION_NAME"}
    wrong = []
    for path in [*ROOT.glob("deploy/**/*"), *ROOT.glob("docs/operations/*.md")]:
        if path.is_file():
            for name in set(re.findall(r"\bHENGE_[A-Z0-9_]+\b", path.read_text())) - known:
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
    need(not wrong, f"no settings: {sorted(wrong)}")
    # Names of the settings themselves, where pages and the chart quote them.
    sections = {key.split(".")[0] for key in keys if "." in key}
    pages = [*ROOT.glob("docs/operations/*.md"), *ROOT.glob("deploy/**/*.md"), *ROOT.glob("deploy/helm/henge/values.yaml")]
    for path in pages:
        for name in re.findall(r"`([a-z]+\.[a-z0-9_]+)[`= ]", path.read_text()):
            if name.split(".")[0] in sections and name not in keys and not name.endswith((".md", ".db", ".rs")):
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
    need(not wrong, f"no settings: {sorted(wrong)}")


def manifests(path):
    import yaml

    kinds = {}
    for one in yaml.safe_load_all(pathlib.Path(path).read_text()):
        if one:
            kinds.setdefault(one["kind"], []).append(one)
    (stateful,) = kinds["StatefulSet"]
    pod = stateful["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    need(pod["enableServiceLinks"] is False, "Kubernetes would inject HENGE_* variables")
    need(stateful["spec"]["podManagementPolicy"] == "Parallel", "pods that stand by would keep others from starting")
    need(stateful["spec"]["updateStrategy"] == {"type": "OnDelete"}, "pods that stand by would stop an update")
    need("tcpSocket" in container["livenessProbe"], "a pod that stands by would be restarted")
    need(container["readinessProbe"]["httpGet"]["path"] == "/status/health", "clients would be sent to a pod that stands by")
    ports = {port["name"] for port in container["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        how = container[probe].get("tcpSocket") or container[probe]["httpGet"]
        need(how["port"] in ports, f"{probe} asks a port that there is not")
    need(pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"], "too many rights")
    services = {service["metadata"]["name"]: service["spec"] for service in kinds["Service"]}
    nodes = services[stateful["spec"]["serviceName"]]
    need(nodes["clusterIP"] == "None" and nodes["publishNotReadyAddresses"], "pods that stand by would have no names")
    selector = stateful["spec"]["selector"]["matchLabels"]
    labels = stateful["spec"]["template"]["metadata"]["labels"]
    need(selector.items() <= labels.items(), "the selector does not select the pods")
    for one in [*services.values()]:
        need(one["selector"] == selector, "a service selects something else")
        for port in one["ports"]:
            need(port["targetPort"] in ports, "a service has a port that the pods have not")
    need(kinds["PodDisruptionBudget"][0]["spec"]["selector"]["matchLabels"] == selector, "the budget is of other pods")
    names = [variable["name"] for variable in container["env"]]
    need(len(names) == len(set(names)), "a variable is set twice")


def versions():
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    chart = (ROOT / "deploy/helm/henge/Chart.yaml").read_text()
    need(f'appVersion: "{version}"' in chart, f"Chart.yaml is not of {version}")
    need(f"henge:{version}" in (ROOT / "deploy/compose/compose.yaml").read_text(), f"compose.yaml is not of {version}")
    channel = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    need(f"FROM rust:{channel}-" in (ROOT / "deploy/Dockerfile").read_text(), f"the Dockerfile does not build with {channel}")


def commands():
    for page in [*ROOT.glob("docs/operations/*.md"), *ROOT.glob("deploy/**/*.md")]:
        for block in re.findall(r"^```sh[^\n]*\n(.*?)^```$", page.read_text(), re.M | re.S):
            said = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True)
            need(said.returncode == 0, f"{page.relative_to(ROOT)}: {said.stderr}\n{block}")


def anchors(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    plain = [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in re.findall(r"^#+ (.*)$", text, re.M)]
    return set(plain)


def links():
    wrong = []
    for page in [*ROOT.glob("docs/operations/*.md"), ROOT / "docs/operations.md", *ROOT.glob("deploy/**/*.md")]:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if "://" in link:
                continue
            name, _, anchor = link.partition("#")
            target = (page.parent / name) if name else page
            if not target.exists():
                wrong.append(f"{page.relative_to(ROOT)}: {link}")
            elif anchor and anchor not in anchors(target):
                wrong.append(f"{page.relative_to(ROOT)}: {link} (no such heading)")
    need(not wrong, "\n".join(wrong))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
