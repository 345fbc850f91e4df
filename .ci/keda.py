"""Writes KEDA's resources, from the files that are named, as TypeScript for its compiler to hold against
their types: it takes no field that they do not have.
"""

import json
import sys
from pathlib import Path

import yaml

documents = [document for path in sys.argv[1:] for document in yaml.safe_load_all(Path(path).read_text())]
# What is Kubernetes's own has no group.
documents = [document for document in documents if document["apiVersion"].startswith("keda.sh/")]
if not documents:
    sys.exit("FAILED: no resource of KEDA's in what is named")
known = {document["metadata"]["name"] for document in documents if document["kind"] == "TriggerAuthentication"}
for document in documents:
    for trigger in document["spec"].get("triggers", []):
        reference = trigger.get("authenticationRef", {}).get("name")
        if reference is not None and reference not in known:
            sys.exit(f"FAILED: {document['metadata']['name']}: there is no TriggerAuthentication {reference}")
kinds = sorted({document["kind"] for document in documents})
print(f'import type {{ {", ".join(f"I{kind}" for kind in kinds)} }} from "@kubernetes-models/keda/keda.sh/v1alpha1";')
for document in documents:
    print(f"({json.dumps(document, indent=2)}) satisfies I{document['kind']};")
