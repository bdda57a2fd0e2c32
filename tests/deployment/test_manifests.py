"""The files for a fleet: they are right by their schemas, agree with each other and with the image, and name nothing
that the package does not have."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from sfwebhooks.cli import parser
from sfwebhooks.config.settings import Settings, load
from sfwebhooks.metrics_server import PATH
from sfwebhooks.outbox.postgres.dsn import Dsn
from sfwebhooks.service import GRACE_SECONDS
from tests.deployment.manifests import (
    COMPOSE,
    DATA,
    DEPLOYMENT,
    DOCKERFILE,
    FLEET,
    OBJECTS,
    SECRETS,
    USER,
    environment_of,
    object_of,
    pod_of,
    settings_of_compose,
    templates,
)

#: what `run --metrics` answers
SERVED = {PATH, "/live", "/ready"}
#: seconds of SpiderFoot's own that a scan which is stopped may take beyond `drain_timeout`
HOST_SECONDS = 30
SENDERS = ("sender", "forwarder")


def settings_of_kubernetes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return the settings of the ConfigMap, as a container of the senders reads them."""
    for name, value in environment_of(pod_of("sender")["containers"][0], SECRETS).items():
        monkeypatch.setenv(name, value)
    (folder / "webhooks.ini").write_text(object_of("ConfigMap", "sfwebhooks")["data"]["webhooks.ini"])
    return load(folder / "webhooks.ini")


def patience_of(settings: Settings) -> float:
    """Return the seconds that `run` takes at most to end."""
    return max(one.timeout for one in settings.endpoints) + 2 * GRACE_SECONDS


def seconds(text: str) -> int:
    found = re.fullmatch(r"(\d+)s", text)
    assert found
    return int(found[1])


# --- both


def test_both_have_the_same_settings_but_for_the_spool() -> None:
    compose = (FLEET / "webhooks.ini").read_text(encoding="utf-8")
    given = object_of("ConfigMap", "sfwebhooks")["data"]["webhooks.ini"]
    keys = [[line for line in text.splitlines() if not line.startswith("#")] for text in (compose, given)]
    as_variables = [re.sub(r"file:/run/secrets/(\w+)", lambda name: f"env:{name[1].upper()}", one) for one in keys[0]]
    assert [one for one in as_variables if one not in keys[1]] == ["spool = sqlite"]
    assert [one for one in keys[1] if one not in as_variables] == ["spool = none"]


def test_both_create_the_user_of_the_database_in_the_same_way() -> None:
    assert object_of("ConfigMap", "database")["data"]["database.sql"] == (FLEET / "database.sql").read_text("utf-8")


@pytest.mark.parametrize("path", [FLEET / "compose.yaml", FLEET / "kubernetes.yaml"], ids=lambda path: path.name)
def test_no_secret_is_in_a_file(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "kind: Secret\n" not in text
    addresses = re.findall(r"postgresql://\w+:([^@\s]+)@", text)
    assert set(addresses) <= {"PASSWORD", "$(DATABASE_PASSWORD)"}
    assert not re.search(r"password\w*: *[\"'\w]", text.replace("database_password", ""), re.IGNORECASE)


# --- Compose


def test_the_file_is_as_the_specification_of_compose_says() -> None:
    compose_spec = pytest.importorskip("compose_spec", reason="it is not there for Python 3.9")
    compose_spec.PyCompose.from_json(json.dumps(COMPOSE)).validate()


def test_the_settings_of_compose_have_no_mistake(tmp_path: Path) -> None:
    found = load(settings_of_compose(tmp_path))
    assert (found.mistakes, found.warnings, found.enabled, found.has_spool) == ((), (), True, True)
    place = found.place(tmp_path)
    assert isinstance(place, Dsn)
    assert place.parts["host"] in COMPOSE["services"]
    named = set(re.findall(r"file:/run/secrets/(\w+)", (FLEET / "webhooks.ini").read_text(encoding="utf-8")))
    assert named == set(COMPOSE["services"]["sender"]["secrets"])


def test_each_secret_of_compose_is_a_file() -> None:
    assert COMPOSE["secrets"] == {name: {"file": f"./secrets/{name}"} for name in SECRETS}
    used = {name for service in COMPOSE["services"].values() for name in service["secrets"]}
    assert used == set(SECRETS)


def test_each_file_that_compose_mounts_is_there() -> None:
    assert all((FLEET / one["file"]).is_file() for one in COMPOSE["configs"].values())
    used = {one["source"] for service in COMPOSE["services"].values() for one in service["configs"]}
    assert used == set(COMPOSE["configs"])


@pytest.mark.parametrize("name", SENDERS)
def test_a_sender_of_compose_runs_what_the_package_has(name: str, tmp_path: Path) -> None:
    service = COMPOSE["services"][name]
    program, *arguments = service["command"]
    given = parser().parse_args(arguments)
    assert (program, given.metrics) == ("sfwebhooks", ("0.0.0.0", 9464))
    (asked,) = re.findall(r"http://127\.0\.0\.1:(\d+)(/\w+)", service["healthcheck"]["test"][-1])
    assert (int(asked[0]), asked[1]) == (given.metrics[1], "/ready")
    assert seconds(service["stop_grace_period"]) >= patience_of(load(settings_of_compose(tmp_path)))


def test_compose_has_two_senders() -> None:
    assert COMPOSE["services"]["sender"]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("name", [*SENDERS, "scanner"])
def test_a_container_of_ours_may_do_little_and_writes_to_its_data_folder(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["user"] == f"{USER}:{USER}"
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    folders = [one.partition(":") for one in service["tmpfs"]]
    volumes = [one.partition(":")[2] for one in service.get("volumes", ())]
    assert DATA in [*volumes, *(folder for folder, _, _ in folders)]
    assert service["environment"]["SPIDERFOOT_DATA"] == DATA
    assert service["environment"]["SFWEBHOOKS_CONFIG"] == service["configs"][0]["target"]
    for folder, _, options in folders:
        assert folder == "/tmp" or options == f"uid={USER},gid={USER},mode=0700"


def test_the_spool_is_on_a_volume_that_the_forwarder_has_too() -> None:
    services = COMPOSE["services"]
    assert services["scanner"]["volumes"] == services["forwarder"]["volumes"] == [f"scanner:{DATA}"]
    assert "scanner" in COMPOSE["volumes"]


def test_the_scanner_is_reached_at_the_port_of_the_image_from_its_machine_only() -> None:
    (port,) = COMPOSE["services"]["scanner"]["ports"]
    (exposed,) = re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.M)
    assert port == f"127.0.0.1:5001:{exposed}"
    assert seconds(COMPOSE["services"]["scanner"]["stop_grace_period"]) > HOST_SECONDS


# --- Kubernetes


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize(
    "path", [FLEET / "kubernetes.yaml", DEPLOYMENT / "kubernetes.yaml"], ids=lambda path: str(path)
)
def test_each_object_is_as_the_schema_of_kubernetes_says(path: Path, version: str) -> None:
    for one in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        kubernetes_validate.validate(one, version, strict=True)


def test_the_settings_of_kubernetes_have_no_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings_of_kubernetes(tmp_path, monkeypatch)
    assert (found.mistakes, found.warnings, found.enabled, found.has_spool) == ((), (), True, False)
    place = found.place(tmp_path)
    assert isinstance(place, Dsn)
    assert place.parts["host"] == object_of("Service", "database")["metadata"]["name"]
    text = object_of("ConfigMap", "sfwebhooks")["data"]["webhooks.ini"]
    for name in ("sender", "scan"):
        (container,) = pod_of(name)["containers"]
        assert set(re.findall(r"env:(\w+)", text)) <= set(environment_of(container, SECRETS))


def test_a_sender_of_kubernetes_runs_what_the_package_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = pod_of("sender")
    (container,) = pod["containers"]
    program, *arguments = container["command"]
    given = parser().parse_args(arguments)
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert (program, given.metrics) == ("sfwebhooks", ("0.0.0.0", ports["metrics"]))
    for probe in ("livenessProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        assert (asked["port"], asked["path"] in SERVED) == ("metrics", True)
    settings = settings_of_kubernetes(tmp_path, monkeypatch)
    assert pod["terminationGracePeriodSeconds"] >= patience_of(settings)
    scan = pod_of("scan")
    assert scan["terminationGracePeriodSeconds"] >= settings.drain_timeout + HOST_SECONDS


@pytest.mark.skipif(not find_spec("sf"), reason="there is no scanner here")
def test_the_scan_is_a_command_of_spiderfoot() -> None:
    spec = find_spec("sf")
    assert spec and spec.origin
    code = Path(spec.origin).read_text(encoding="utf-8")
    program, *words = pod_of("scan")["containers"][0]["command"]
    assert f'CMD ["{program}", ' in DOCKERFILE
    for option, value in zip(words[::2], words[1::2]):
        (argument,) = re.findall(rf'add_argument\("{option}",(.*)', code)
        assert "choices=" not in argument or f'"{value}"' in argument


def test_there_are_two_senders_of_which_one_stays() -> None:
    spec = object_of("Deployment", "sender")["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert object_of("PodDisruptionBudget", "sender")["spec"]["maxUnavailable"] < spec["replicas"]


@pytest.mark.parametrize(
    ("name", "template"), [*templates()], ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_pod_names_what_is_there(name: str, template: dict[str, Any]) -> None:
    pod = template["spec"]
    volumes = {one["name"]: one for one in pod["volumes"]}
    claims = {one["metadata"]["name"] for one in object_of("StatefulSet", "database")["spec"]["volumeClaimTemplates"]}
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        assert {one["name"] for one in container["volumeMounts"]} <= volumes.keys() | claims
        for one in container.get("env", ()):
            if "valueFrom" in one:
                reference = one["valueFrom"]["secretKeyRef"]
                assert (reference["name"], reference["key"].lower() in SECRETS) == ("sfwebhooks", True)
    maps = {one["metadata"]["name"] for one in OBJECTS if one["kind"] == "ConfigMap"}
    assert {one["configMap"]["name"] for one in volumes.values() if "configMap" in one} <= maps
    assert template["metadata"]["labels"]["app.kubernetes.io/name"] == name


@pytest.mark.parametrize("name", [name for name, _ in templates()])
def test_a_pod_may_do_little(name: str) -> None:
    pod = pod_of(name)
    user = USER if name in ("sender", "scan") else 999
    its = pod["securityContext"]
    assert (its["runAsNonRoot"], its["runAsUser"], its["fsGroup"]) == (True, user, user)
    assert pod["automountServiceAccountToken"] is False
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]


def test_each_selector_finds_the_pods_that_are_meant() -> None:
    labels = {name: template["metadata"]["labels"] for name, template in templates()}
    for one in OBJECTS:
        spec, kind, name = one.get("spec", {}), one["kind"], one["metadata"]["name"]
        selector = spec.get("podSelector" if kind == "NetworkPolicy" else "selector")
        if selector:
            wanted = selector.get("matchLabels", selector)
            assert [each for each, has in labels.items() if wanted.items() <= has.items()] == [name]
    for one in OBJECTS:
        assert one["metadata"]["labels"].items() <= labels["sender"].items()


def test_senders_and_scans_reach_the_database_and_nobody_else() -> None:
    (rule,) = object_of("NetworkPolicy", "database")["spec"]["ingress"]
    (source,) = rule["from"]
    wanted = source["podSelector"]["matchLabels"].items()
    assert all(wanted <= template["metadata"]["labels"].items() for _, template in templates())
    (port,) = pod_of("database")["containers"][0]["ports"]
    assert rule["ports"] == [{"port": port["name"]}]
    assert object_of("Service", "database")["spec"]["ports"][0]["targetPort"] == port["name"]


def test_the_data_folder_of_a_sender_is_made_in_its_volume() -> None:
    pod = pod_of("sender")
    folder = environment_of(pod["containers"][0], SECRETS)["SPIDERFOOT_DATA"]
    assert pod["initContainers"][0]["command"][-1] == folder
    assert Path(folder).parent == Path(DATA) == Path(pod["initContainers"][0]["volumeMounts"][0]["mountPath"])


def test_the_image_has_the_packages_that_the_fleet_needs() -> None:
    (extras,) = re.findall(r"printf '%s\[([\w,]+)\]", DOCKERFILE)
    assert {"metrics", "postgres"} <= set(extras.split(","))
