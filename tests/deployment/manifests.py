"""The files of docs/deployment/fleet as tests read them: what each container runs, with which settings and secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

DEPLOYMENT = Path(__file__).parents[2] / "docs" / "deployment"
FLEET = DEPLOYMENT / "fleet"
DOCKERFILE = (DEPLOYMENT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((FLEET / "compose.yaml").read_text(encoding="utf-8"))
OBJECTS: list[dict[str, Any]] = [*yaml.safe_load_all((FLEET / "kubernetes.yaml").read_text(encoding="utf-8"))]
#: the user of the image, and its data folder
USER = int(re.findall(r"--uid (\d+)", DOCKERFILE)[0])
DATA = re.findall(r"SPIDERFOOT_DATA=(\S+)", DOCKERFILE)[0]
#: values that the secrets may have
SECRETS = {
    "database_password": "5e1fa9",
    "outbox_database": "postgresql://hooks:5e1fa9@database/hooks",
    "webhook_secret": "a5ecretTextOf32LettersAndDigits0",
    "siem_url": "https://siem.example.com/collector",
}


def object_of(kind: str, name: str) -> dict[str, Any]:
    """Return an object of the manifests."""
    (found,) = (one for one in OBJECTS if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return found


def templates() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each object that makes pods, and their template."""
    for one in OBJECTS:
        spec = one.get("spec", {})
        spec = spec["jobTemplate"]["spec"] if one["kind"] == "CronJob" else spec
        if "template" in spec:
            yield one["metadata"]["name"], spec["template"]


def pod_of(name: str) -> dict[str, Any]:
    """Return what the pods of an object are."""
    spec: dict[str, Any] = dict(templates())[name]["spec"]
    return spec


def environment_of(container: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a container, as Kubernetes makes them of secrets and of each other."""
    found: dict[str, str] = {}
    for one in container["env"]:
        text = one.get("value") or secrets[one["valueFrom"]["secretKeyRef"]["key"].lower()]
        found[one["name"]] = re.sub(r"\$\((\w+)\)", lambda name: found[name[1]], text)
    return found


def settings_of_compose(folder: Path, secrets: Mapping[str, str] = SECRETS) -> Path:
    """Write the settings and the secrets of the containers into a folder; return the path of the settings."""
    for name, value in secrets.items():
        (folder / name).touch(0o600)
        (folder / name).write_text(f"{value}\n", encoding="utf-8")
    text = (FLEET / "webhooks.ini").read_text(encoding="utf-8")
    path = folder / "webhooks.ini"
    path.write_text(text.replace("/run/secrets/", f"{folder}/"), encoding="utf-8")
    return path
