"""Validates what is named against the schemas that lie in KEDA's Go module.

    keda.py MODULE FILE...

A field that KEDA does not know is an error, as is a trigger that misses or misspells what its scaler
takes: those a cluster would find only once something is to be scaled.
"""

import json
import sys
from pathlib import Path

import jsonschema
import yaml

module, files = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
wrong = []


def closed(schema):
    """The same schema, which takes no other fields than those it lists."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(value) for key, value in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    return schema


def schemas():
    """A validator for each version and kind of resource."""
    found = {}
    for path in (module / "config/crd/bases").glob("*.yaml"):
        spec = yaml.safe_load(path.read_text())["spec"]
        for version in spec["versions"]:
            schema = closed(version["schema"]["openAPIV3Schema"])
            found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = jsonschema.Draft202012Validator(schema)
    return found


def scalers():
    """What each kind of trigger takes, by name. Older modules do not say."""
    path = module / "schema/generated/scalers-schema.json"
    if not path.exists():
        return None
    return {one["type"]: {each["name"]: each for each in one["parameters"]} for one in json.loads(path.read_text())["scalers"]}


def check_trigger(where, trigger, authentications, takes):
    """All that its scaler needs is there, and nothing that it would not read."""
    reference = trigger.get("authenticationRef", {}).get("name")
    if reference is not None and reference not in authentications:
        wrong.append(f"{where}: there is no TriggerAuthentication {reference}")
    for names, by in [
        (set(trigger["metadata"]), "metadataVariableReadable"),
        (authentications.get(reference, set()), "triggerAuthenticationVariableReadable"),
    ]:
        for name in sorted(names):
            if not takes.get(name, {}).get(by):
                wrong.append(f"{where}: scaler {trigger['type']} takes no {name} there")
    given = set(trigger["metadata"]) | authentications.get(reference, set())
    for name, parameter in takes.items():
        if not parameter.get("optional") and name not in given:
            wrong.append(f"{where}: scaler {trigger['type']} needs {name}")


known, taken = schemas(), scalers()
# What is Kubernetes's own has no group.
documents = [(path, one) for path in files for one in yaml.safe_load_all(path.read_text()) if "/" in one["apiVersion"]]
for path, document in documents:
    validator = known.get((document["apiVersion"], document["kind"]))
    if validator is None:
        wrong.append(f"{path}: KEDA has no {document['kind']} of {document['apiVersion']}")
        continue
    wrong += [f"{path}: {error.json_path[2:]}: {error.message}" for error in validator.iter_errors(document)]
if not wrong and taken is not None:
    given = {
        document["metadata"]["name"]: {
            one["parameter"] for key in ["secretTargetRef", "configMapTargetRef"] for one in document["spec"].get(key, [])
        }
        for _, document in documents
        if document["kind"] == "TriggerAuthentication"
    }
    for path, document in documents:
        for trigger in document["spec"].get("triggers", []):
            if trigger["type"] in taken:
                check_trigger(path, trigger, given, taken[trigger["type"]])
            else:
                wrong.append(f"{path}: KEDA has no scaler {trigger['type']}")

for text in wrong:
    print(f"FAILED: {text}", file=sys.stderr)
if not documents:
    sys.exit("FAILED: no resource of KEDA's in what is named")
sys.exit(bool(wrong))
