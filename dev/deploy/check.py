"""What no tool knows of deploy/: names that the code has, and what a manifest has to say. Run by dev/deploy.sh."""

import json
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).parents[2]
DASHBOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
RULES = sorted((ROOT / "deploy/prometheus").glob("*.yml"))
TESTS = sorted((ROOT / "deploy/prometheus/tests").glob("*.yml"))
# Of the proxy's exporter and of Prometheus itself.
OTHERS = {"haproxy_server_check_code", "haproxy_server_current_sessions", "haproxy_server_status", "up"}
ROLES = ["coordinator", "broker", "historical", "ingest"]


def need(holds, what):
    if not holds:
        sys.exit(what)


def rules():
    import yaml

    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def targets():
    """Of each query of a dashboard: where it stands, and the query."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield f"{path.stem}: {panel['title']}", target


def expressions():
    return [(where, target["expr"]) for where, target in targets() if target["datasource"]["uid"] == "prometheus"]


def dashboards(out):
    """The queries as rules, so that promtool reads them; panels that lie beside each other, of data sources that there are."""
    import yaml

    asked = [{"record": f"panel:{number}", "expr": query} for number, (_, query) in enumerate(expressions())]
    need(len(asked) > 40, f"only {len(asked)} queries found")
    pathlib.Path(out).write_text(json.dumps({"groups": [{"name": "panels", "rules": asked}]}))
    provisioned = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/henge.yaml").read_text())
    sources = {one["uid"]: one["type"] for one in provisioned["datasources"]}
    uids = set()
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        need(board["uid"] == path.stem and board["uid"] not in uids, f"{path.stem}: its uid is {board['uid']}")
        uids.add(board["uid"])
        ids = [panel["id"] for panel in board["panels"]]
        need(len(ids) == len(set(ids)), f"{path.stem}: two panels of one id")
        taken = {}
        for panel in board["panels"]:
            at = panel["gridPos"]
            need(at["x"] + at["w"] <= 24, f"{path.stem}: {panel['title']} is beyond the edge")
            for cell in [(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])]:
                need(cell not in taken, f"{path.stem}: {panel['title']} lies on {taken.get(cell)}")
                taken[cell] = panel["title"]
            need(panel["type"] == "row" or panel["targets"], f"{path.stem}: {panel['title']} asks nothing")
    for where, target in targets():
        source = target["datasource"]
        need(sources.get(source["uid"]) == source["type"], f"{where}: there is no data source {source}")
        if "builder" in target:
            said = json.loads(target["expr"])
            need(said == {"builder": target["builder"], "settings": target["settings"]}, f"{where}: asks two things")


def metrics():
    """What rules, dashboards and chart name is recorded, by Henge or by a rule, and what is recorded is on the page of operations."""
    recorded = {}
    for path in [*ROOT.glob("*/src/metrics.rs")]:
        text = path.read_text()
        names = dict(re.findall(r'const (\w+): &str = "(henge_[a-z_]+)"', text))
        listed = text[text.index("SERIES") : text.index("];", text.index("SERIES"))]
        for name, meaning in re.findall(r'\(\s*"?(\w+)"?,\s*"([^"]+)",?\s*\)', listed):
            recorded[names.get(name, name)] = meaning
        need(set(re.findall(r'"(henge_[a-z_]+)"', text)) <= set(recorded), f"{path}: not all of its series were found")
    need(len(recorded) > 50, f"only {len(recorded)} series found")
    by_rule = {rule["record"] for rule in rules() if "record" in rule}
    texts = [path.read_text() for path in [*RULES, *TESTS]] + [(ROOT / "deploy/helm/henge/values.yaml").read_text()]
    texts += [query for _, query in expressions()]
    named = set(re.findall(r"\b(henge_[a-z_]+|henge:[a-z0-9_:]+|haproxy_[a-z_]+)\b", "\n".join(texts)))
    known = {*recorded, *OTHERS, *by_rule}
    unknown = sorted(n for n in named if n not in known and re.sub("_(sum|count|bucket)$", "", n) not in recorded)
    need(not unknown, f"recorded nowhere: {unknown}")
    page = (ROOT / "docs/operations.md").read_text()
    lacking = sorted(name for name, meaning in recorded.items() if f"| `{name}` | {meaning} |" not in page)
    need(not lacking, f"docs/operations.md does not tell of {lacking}")
    told = set(re.findall(r"^\| `(henge_[a-z_]+)` \|", page, re.M))
    need(told == set(recorded), f"docs/operations.md tells of {sorted(told - set(recorded))}")


def tried():
    """Each alert has a test in which it fires, and one in which it does not; what is recorded has one that looks at it."""
    import yaml

    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    records = {rule["record"] for rule in rules() if "record" in rule}
    fires, rests, looked = set(), set(), set()
    for test in [test for path in TESTS for test in yaml.safe_load(path.read_text())["tests"]]:
        for case in test.get("alert_rule_test", []):
            (fires if case["exp_alerts"] else rests).add(case["alertname"])
        looked |= {case["expr"] for case in test.get("promql_expr_test", []) if case["exp_samples"]}
    need(alerts == fires, f"never seen to fire: {sorted(alerts - fires)}")
    need(alerts == rests, f"never seen to rest: {sorted(alerts - rests)}")
    need(records == looked, f"never looked at: {sorted(records - looked)}")


def compose(path):
    """Of the file as compose reads it: nodes of each role, and that proxy and Prometheus know all of them."""
    import yaml

    services = yaml.safe_load(pathlib.Path(path).read_text())["services"]
    nodes = {name: one["environment"] for name, one in services.items() if "HENGE_ROLES" in one.get("environment", {})}
    folders = [volume["source"] for name in nodes for volume in services[name]["volumes"]]
    need(len(folders) == len(set(folders)) == len(nodes), "two nodes have one folder")
    roles = {}
    for name, variables in nodes.items():
        need(variables["HENGE_CLUSTER_NODE"] == name and variables["HENGE_CLUSTER_ADDRESS"] == f"{name}:8888", f"{name} has another name")
        roles.setdefault(variables["HENGE_ROLES"], set()).add(f"{name}:8888")
    need(set(roles) == set(ROLES) and all(len(those) > 1 for those in roles.values()), f"roles: {roles}")
    secrets = {variables["HENGE_CLUSTER_SECRET"] for variables in nodes.values()}
    need(len(secrets) == 1 and len(secrets.pop()) >= 16, "the secret of the cluster is not one")
    for name in nodes:
        need(not services[name].get("ports"), f"{name} can be reached from outside")
    jobs = {job["job_name"]: job for job in yaml.safe_load((ROOT / "deploy/compose/prometheus/prometheus.yml").read_text())["scrape_configs"]}
    scraped = {some["labels"]["role"]: set(some["targets"]) for some in jobs["henge"]["static_configs"]}
    need(scraped == roles, f"Prometheus asks others: {scraped}")
    checked, backend = {}, None
    for line in (ROOT / "deploy/compose/haproxy.cfg").read_text().splitlines():
        words = line.split()
        if words[:1] == ["backend"]:
            backend = words[1]
        elif words[:1] == ["server"]:
            checked.setdefault(backend.rstrip("s"), set()).add(words[2])
    need(checked == roles, f"the proxy asks others: {checked}")


def settings():
    """Whatever looks like a variable of Henge must be one: the binary refuses others."""
    keys = set()
    for path in [*ROOT.glob("server/src/config.rs"), *ROOT.glob("server/src/config/*.rs")]:
        keys |= set(re.findall(r'key\(\s*"([a-z0-9_.]+)"', path.read_text()))
    need(keys, "no settings found")
    known = {"HENGE_" + key.replace(".", "_").upper() for key in keys}
    # Of compose itself, of Grafana and of the tests, and as examples of what Kubernetes would inject.
    known |= {"HENGE_IMAGE", "HENGE_CACHE_MAX_BYTES", "HENGE_ADMIN_PASSWORD", "HENGE_METRICS_PASSWORD", "HENGE_GRAFANA_PASSWORD", "HENGE_SERVICE_HOST", "HENGE_SECTION_NAME"}
    known |= {"HENGE_URL", "HENGE_USER", "HENGE_PASSWORD", "HENGE_TEST_PREVIOUS"}
    wrong = []
    for path in [*ROOT.glob("deploy/**/*"), *ROOT.glob("docs/operations/*.md")]:
        if path.is_file():
            for name in set(re.findall(r"\bHENGE_[A-Z0-9_]+\b", path.read_text())) - known:
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
    need(not wrong, f"no settings: {sorted(wrong)}")
    # Names of the settings themselves, where pages and the chart quote them.
    sections = {key.split(".")[0] for key in keys if "." in key}
    # Fields of an alert.
    keys |= {"query.metric", "query.sql"}
    pages = [*ROOT.glob("docs/operations/*.md"), *ROOT.glob("deploy/**/*.md"), *ROOT.glob("deploy/helm/henge/values.yaml")]
    for path in pages:
        for name in re.findall(r"`([a-z]+\.[a-z0-9_]+)[`= ]", path.read_text()):
            if name.split(".")[0] in sections and name not in keys and not name.endswith((".md", ".db", ".rs")):
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
    need(not wrong, f"no settings: {sorted(wrong)}")


def documents(path):
    import yaml

    kinds = {}
    for one in yaml.safe_load_all(pathlib.Path(path).read_text()):
        if one:
            kinds.setdefault(one["kind"], []).append(one)
    return kinds


def manifests(path):
    kinds = documents(path)
    services = {service["metadata"]["name"]: service["spec"] for service in kinds["Service"]}
    budgets = {one["metadata"]["name"]: one["spec"] for one in kinds["PodDisruptionBudget"]}
    sets = {one["metadata"]["name"]: one["spec"] for one in kinds["StatefulSet"]}
    pods, done = {}, set()
    for name, stateful in sets.items():
        pod = stateful["template"]["spec"]
        labels = stateful["template"]["metadata"]["labels"]
        (container,) = pod["containers"]
        args = container["args"]
        roles = args[args.index("--roles") + 1].split(",")
        done |= set(roles)
        pods[name] = labels
        need(set(roles) <= set(ROLES), f"{name}: roles {roles}")
        said = {label.removeprefix("henge-role-") for label in labels if label.startswith("henge-role-")}
        need(said == set(roles), f"{name}: its labels say {said}")
        need(pod["enableServiceLinks"] is False, "Kubernetes would inject HENGE_* variables")
        need(stateful["podManagementPolicy"] == "Parallel", "nodes that wait for others would keep them from starting")
        need(stateful["minReadySeconds"] >= 10, f"{name}: the next pod would go before this one is at work")
        need("tcpSocket" in container["livenessProbe"], "a pod would be restarted because PostgreSQL is away")
        ready = container["readinessProbe"]
        if roles == ["coordinator"]:
            need("tcpSocket" in ready, "a coordinator that stands by would never be ready")
        else:
            need(ready["httpGet"]["path"] == "/status/health", f"{name}: ready before the coordinator has heard of it")
        if "ingest" in roles:
            need(pod["terminationGracePeriodSeconds"] >= 90, f"{name}: killed before its tasks are handed over")
        ports = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            how = container[probe].get("tcpSocket") or container[probe]["httpGet"]
            need(how["port"] in ports, f"{probe} asks a port that there is not")
        need(pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"], "too many rights")
        selector = stateful["selector"]["matchLabels"]
        need(selector.items() <= labels.items(), "the selector does not select the pods")
        need(budgets[name]["selector"]["matchLabels"] == selector, "the budget is of other pods")
        for spread in pod["topologySpreadConstraints"]:
            need(spread["labelSelector"]["matchLabels"] == selector, "other pods are spread")
        variables = {variable["name"]: variable for variable in container["env"]}
        need(len(variables) == len(container["env"]), "a variable is set twice")
        need("secretKeyRef" in variables["HENGE_CLUSTER_SECRET"]["valueFrom"], "the secret of the cluster is in the manifest")
        need(("HENGE_AUTH_FIRST_PASSWORD" in variables) == ("coordinator" in roles), f"{name}: who needs the first password")
        need(("HENGE_STORAGE_CACHE_MAX_BYTES" in variables) == ("historical" in roles), f"{name}: whose copies are bounded")
        if "HENGE_STORAGE_CACHE_MAX_BYTES" in variables:
            (claim,) = stateful["volumeClaimTemplates"]
            size = claim["spec"]["resources"]["requests"]["storage"]
            unit = {"Gi": 2**30, "Ti": 2**40}[size[-2:]]
            bytes_max = int(variables["HENGE_STORAGE_CACHE_MAX_BYTES"]["value"])
            need(bytes_max <= 0.95 * float(size[:-2]) * unit, f"{name}: {bytes_max} bytes of copies do not fit on {size}")
        nodes = services[stateful["serviceName"]]
        need(nodes["clusterIP"] == "None" and nodes["publishNotReadyAddresses"], "pods that are not ready would have no names")
        need(f".{stateful['serviceName']}." in variables["HENGE_CLUSTER_ADDRESS"]["value"], "nodes would not find each other")
    need(done == set(ROLES), f"roles that nobody has: {set(ROLES) - done}")
    for one in services.values():
        chosen = [name for name, labels in pods.items() if one["selector"].items() <= labels.items()]
        brokers = [name for name, labels in pods.items() if "henge-role-broker" in labels]
        need(chosen == (list(pods) if one.get("clusterIP") == "None" else brokers), f"a service selects {chosen}")
        for port in one["ports"]:
            need(port["targetPort"] in ports, "a service has a port that the pods have not")
    if "NetworkPolicy" in kinds:
        policies = {one["metadata"]["name"].rsplit("-", 1)[1]: one["spec"] for one in kinds["NetworkPolicy"]}
        need(all(policies["nodes"]["podSelector"]["matchLabels"].items() <= labels.items() for labels in pods.values()), "some nodes are open")
        need("henge-role-broker" in policies["clients"]["podSelector"]["matchLabels"], "clients reach more than brokers")
        need({} not in [who.get("podSelector", 0) for who in policies["nodes"]["ingress"][0]["from"]], "all pods reach nodes")
    for one in kinds.get("PrometheusRule", []):
        told = [rule for group in one["spec"]["groups"] for rule in group["rules"]]
        own = [rule for rule in rules() if rule in told]
        need(told == own, "rules that deploy/prometheus has not")
        need(0 < len(rules()) - len(told) < 5 and any("record" in rule for rule in told), f"{len(told)} rules of {len(rules())}")
    scaled = [*kinds.get("HorizontalPodAutoscaler", []), *kinds.get("ScaledObject", [])]
    for one in scaled:
        target = one["spec"]["scaleTargetRef"]
        need(target["kind"] == "StatefulSet" and "replicas" not in sets[target["name"]], "what scales and the chart would fight")
    need(len({one["spec"]["scaleTargetRef"]["name"] for one in scaled}) == len(scaled), "two scale the same nodes")


def custom(path, *definitions):
    """Resources of operators, by the schemas that the operators bring."""
    import jsonschema
    import yaml

    def strict(schema):
        if isinstance(schema, list):
            return [strict(one) for one in schema]
        if not isinstance(schema, dict):
            return schema
        schema = {key: strict(value) for key, value in schema.items()}
        if isinstance(schema.get("pattern"), str) and schema["pattern"].startswith("^(?i)"):
            # Go takes flags anywhere, Python at the beginning only.
            schema["pattern"] = "(?i)^" + schema["pattern"].removeprefix("^(?i)")
        if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
            schema.setdefault("additionalProperties", False)
        return schema

    schemas = {}
    for definition in definitions:
        spec = yaml.safe_load(pathlib.Path(definition).read_text())["spec"]
        for version in spec["versions"]:
            # What `metadata` has is not said there.
            schema = strict(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            schemas[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    found = 0
    for ones in documents(path).values():
        for one in ones:
            if schema := schemas.get((one["apiVersion"], one["kind"])):
                jsonschema.validate(one, schema)
                found += 1
    need(found, "there is none")
    print(f"{found} of them")


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
