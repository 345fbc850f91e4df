"""Compares what stands in containers/ with the programs, from their source.

Writes the dashboard's queries as rules to the file that is named, for promtool to parse.
"""

import json
import re
import sys
from pathlib import Path

import yaml

GRAFANA = Path("containers/observability/grafana")
DASHBOARD = GRAFANA / "dashboards/waybill.json"
ALERTS = Path("containers/observability/alerts.yml")
KUBERNETES = Path("containers/kubernetes")
SERVICES = ["order", "delivery", "invoice", "email", "dashboard"]

wrong = []


def expect(holds, text):
    if not holds:
        wrong.append(text)


def rendered(name):
    """As the Prometheus exporter writes it."""
    return re.sub(r"[^a-zA-Z0-9_:]", "_", name)


def exported():
    """The metrics of the programs, each with its kind, and the names of all labels."""
    broker = Path("broker/src/telemetry.rs").read_text()
    constants = dict(re.findall(r'const (\w+): &str = "([^"]+)";', broker))
    sources = [(broker, r"(?<!_)\b(counter|gauge|histogram)!\(\s*(\w+)")]
    own = [path for folder in ["chassis/src", "services"] for path in Path(folder).rglob("*.rs")]
    sources += [
        (path.read_text(), r'\bmetrics::(counter|gauge|histogram)!\(\s*"([^"]+)"') for path in sorted(own)
    ]
    metrics, labels = {}, set()
    for text, pattern in sources:
        for kind, name in re.findall(pattern, text):
            metrics[rendered(constants.get(name, name))] = kind
        for call in re.findall(r"(?:counter|gauge|histogram)!\((.*?)\)\s*\.(?:increment|record|set)\(", text, re.S):
            labels |= {rendered(label) for label in re.findall(r'"([^"]+)"\s*=>', call)}
    return metrics, labels


def series(metrics):
    """What a query may ask for."""
    # With buckets, histograms would have others.
    expect("bucket" not in Path("chassis/src/telemetry.rs").read_text(), "histograms have buckets now: .ci/manifests.py must know")
    # Of Prometheus's own making.
    names = {"up"}
    for name, kind in metrics.items():
        names |= {name, f"{name}_sum", f"{name}_count"} if kind == "histogram" else {name}
    return names


WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool"}


def asked(query):
    """The series and the labels that a query names."""
    query = re.sub(r'"[^"]*"', '""', query)
    labels = set()
    for inside in re.findall(r"\{([^}]*)\}", query):
        labels |= set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside))
    grouping = r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)"
    for inside in re.findall(grouping, query):
        labels |= set(re.findall(r"\w+", inside))
    query = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", re.sub(grouping, "", query))
    names = re.findall(r"(?<![\w$])([a-zA-Z_:][\w:]*)\b(?!\s*\()", query)
    return set(names) - WORDS, labels


def check_queries(rules_file):
    metrics, labels = exported()
    expect(len([name for name in metrics if name.startswith("messaging_")]) >= 6, "the broker's metrics are not found")
    expect(len([name for name in metrics if name.startswith("waybill_")]) >= 5, "the services' metrics are not found")
    known, known_labels = series(metrics), labels | {"quantile", "job", "service", "instance"}
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [
        (f"panel {panel['title']!r}", target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", [])
    ]
    parsed = [query.replace("$__rate_interval", "1m") for _, query in queries]
    parsed = [{"record": f"query:{n}", "expr": query} for n, query in enumerate(parsed)]
    Path(rules_file).write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": parsed}]}))

    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    recorded = {rule["record"]: rule["expr"] for rule in rules if "record" in rule}
    known |= set(recorded)
    queries += [(f"record {name}", query) for name, query in recorded.items()]
    for rule in rules:
        if "alert" not in rule:
            continue
        expect(rule.get("annotations", {}).get("summary"), f"alert {rule['alert']} does not say what to do")
        used = re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))
        queries.append((f"alert {rule['alert']}", rule["expr"] + " # " + " ".join(used)))
        expect(set(used) <= known_labels, f"alert {rule['alert']} shows labels that there are not")
    shown = set()
    for place, query in queries:
        names, used = asked(query.split(" # ")[0])
        expect(names, f"{place} asks for nothing")
        for name in names - known:
            expect(False, f"{place} asks for {name}, which no program exports")
        for label in used - known_labels:
            expect(False, f"{place} asks for label {label}, which no metric has")
        if place.startswith("panel"):
            shown |= names.union(*(asked(recorded[name])[0] for name in names & set(recorded)))
    for name in sorted(metrics):
        expect(any(one == name or one.startswith(f"{name}_") for one in shown), f"the dashboard does not show {name}")
    check_grafana()
    print(f"-- {len(queries)} queries ask for what the {len(metrics)} metrics of the programs are")


def check_grafana():
    """What its dashboards ask is there, under the name by which they ask for it."""
    compose = yaml.safe_load(Path("docker-compose.yml").read_text())["services"]
    sources = {}
    for path in (GRAFANA / "datasources").glob("*.yml"):
        for source in yaml.safe_load(path.read_text())["datasources"]:
            sources[source["uid"]] = source["type"]
            host = re.fullmatch(r"http://(\w+):\d+", source["url"]).group(1)
            expect(host in compose, f"{path}: compose has no service {host}")
    asked_for = set()
    for path in (GRAFANA / "dashboards").glob("*.json"):
        dashboard = json.loads(path.read_text())
        for part in [one for panel in dashboard["panels"] for one in [panel, *panel.get("targets", [])]]:
            source = part.get("datasource")
            if source is not None:
                expect(sources.get(source["uid"]) == source["type"], f"{path}: there is no data source {source}")
                asked_for.add(source["uid"])
    expect(asked_for == set(sources), f"no dashboard asks {set(sources) - asked_for}")


def documents(path):
    return {document["kind"]: document for document in yaml.safe_load_all(path.read_text())}


def group_of(service):
    """The name of its consumer group, where that is not its own."""
    named = re.search(r'pub const GROUP: &str = "(\w+)";', Path(f"services/{service}/src/lib.rs").read_text())
    return named.group(1) if named else service


def check_kubernetes():
    compose = yaml.safe_load(Path("docker-compose.yml").read_text())["services"]
    dockerfile = Path("Dockerfile").read_text()
    user, group = map(int, re.search(r"\nUSER (\d+):(\d+)\n", dockerfile).groups())
    settings = set(re.findall(r"^#?([A-Z_]+)=", Path(".env.example").read_text(), re.M))
    partitions = re.search(r'name: "order", partitions: (\d+)', Path("contracts/src/lib.rs").read_text())
    scrapes = yaml.safe_load(Path("containers/observability/prometheus.yml").read_text())["scrape_configs"]
    scraped = {name: sd["port"] for job in scrapes for sd in job["dns_sd_configs"] for name in sd["names"]}
    config = set(documents(KUBERNETES / "config.yaml")["ConfigMap"]["data"])
    pods = {"migrate": documents(KUBERNETES / "migrate.yaml")["Job"]}
    for service in SERVICES:
        found = documents(KUBERNETES / f"{service}.yaml")
        pods[service] = found["Deployment"]
        port = int(re.search(rf"AS {service}\n(?:.*\n)*?EXPOSE (\d+)\n", dockerfile).group(1))
        expect(scraped.get(service) == port, f"Prometheus does not scrape {service} on its port")
        expect(found["Service"]["spec"]["ports"][0]["port"] == port, f"{service}: another port than the image's")
        container = found["Deployment"]["spec"]["template"]["spec"]["containers"][0]
        expect(container["ports"][0]["containerPort"] == port, f"{service}: another port than the image's")
        grace = found["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        expect(f"{grace}s" == compose[service]["stop_grace_period"], f"{service}: another grace period than compose's")
        labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
        for kind, selector in [
            ("Service", found["Service"]["spec"]["selector"]),
            ("Deployment", found["Deployment"]["spec"]["selector"]["matchLabels"]),
            ("PodDisruptionBudget", found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]),
        ]:
            expect(selector.items() <= labels, f"{service}: its {kind} selects other pods")
    for name, pod in pods.items():
        spec = pod["spec"]["template"]["spec"]
        who = spec["securityContext"]
        expect((who["runAsUser"], who["runAsGroup"]) == (user, group), f"{name}: another user than the image's")
        for variable in spec["containers"][0]["env"]:
            known = variable["name"] in settings or f"$({variable['name']})" in str(spec)
            expect(known, f"{name}: no program reads {variable['name']}")
            key = variable.get("valueFrom", {}).get("configMapKeyRef", {}).get("key")
            expect(key is None or key in config, f"{name}: config.yaml has no {key}")
    for folder in [KUBERNETES, KUBERNETES / "scaling"]:
        listed = set(yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"])
        there = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
        expect(listed == there, f"{folder}: kustomization.yaml lists {listed ^ there} or not")
    scaled = [path for path in (KUBERNETES / "scaling").glob("*.yaml") if path.stem in SERVICES]
    for path in scaled:
        scale = documents(path)["ScaledObject"]
        spec, trigger = scale["spec"], scale["spec"]["triggers"][0]
        expect(spec["scaleTargetRef"]["name"] == path.stem, f"{path}: scales another")
        expect(spec["maxReplicaCount"] == int(partitions.group(1)), f"{path}: not as many as topic order has partitions")
        expect(f"log.lag('{group_of(path.stem)}')" in trigger["metadata"]["query"], f"{path}: asks for another group's lag")
        expect(trigger["metadata"]["userName"] == f"waybill_{path.stem}", f"{path}: asks as another role")
        expect("replicas" not in pods[path.stem]["spec"], f"{path.stem}: has a number of replicas and is scaled")
    print(f"-- {len(pods)} workloads have the ports, user, grace and settings of the images and of compose")


def check_build():
    """What the image's build needs reaches it: cargo reads the manifest of every member."""
    members = re.search(r"\nmembers = \[(.*?)\]", Path("Cargo.toml").read_text(), re.S).group(1)
    reached = set(re.findall(r"^!(\S+)$", Path(".dockerignore").read_text(), re.M))
    for member in re.findall(r'"([^"]+)"', members):
        expect(member.split("/")[0] in reached, f"{member} does not reach the image's build: name it in .dockerignore")


check_queries(sys.argv[1])
check_kubernetes()
check_build()
for text in wrong:
    print(f"FAILED: {text}", file=sys.stderr)
sys.exit(bool(wrong))
