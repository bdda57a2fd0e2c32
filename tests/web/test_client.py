"""A client of the API that another program has made of its document: it registers, lists, tests and replays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.builders import PATIENCE
from tests.conftest import Team
from tests.web.filling import fill
from tests.web.serving import OPERATOR, VIEWER, Web, served

pytestmark = pytest.mark.slow
GENERATOR = Path(sys.executable).with_name("openapi-python-client")
PACKAGE = "generated_client"
SECRET = "qT5zR8wXy1LmN3oPs7uVk2aBcD4e"


@pytest.fixture
def web(tmp_path: Path, team: Team) -> Iterator[Web]:
    """A server that delivers, with dead letters of an endpoint."""
    path = tmp_path / "webhooks.ini"
    path.touch(0o600)
    path.write_text(f"[webhooks.tickets]\nurl = {team.url}\nevents = high_risk_event\n")
    fill(tmp_path)
    with served(tmp_path) as found:
        yield found


@pytest.fixture
def load(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """What returns a module of the client that is made of the server's document."""
    if not GENERATOR.exists() and (os.environ.get("CI") != "true" or sys.version_info < (3, 11)):
        pytest.skip("openapi-python-client is not installed")
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(web.client.get("/v1/openapi.json").json()))
    place = ["--path", str(document), "--output-path", str(tmp_path / PACKAGE), "--meta", "none", "--fail-on-warning"]
    path = f"{GENERATOR.parent}{os.pathsep}{os.environ['PATH']}"  # it formats what it writes
    made = subprocess.run(
        [GENERATOR, "generate", *place],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda name: import_module(f"{PACKAGE}.{name}")
    for name in [one for one in sys.modules if one.split(".")[0] == PACKAGE]:
        del sys.modules[name]


def test_a_generated_client_registers_lists_tests_and_replays(
    web: Web, load: Callable[[str], Any], receive: Callable[..., Team], team: Team
) -> None:
    models, other = load("models"), receive([SECRET])
    with load("client").AuthenticatedClient(web.url, OPERATOR, httpx_args={"trust_env": False}) as client:

        def call(operation: str, *arguments: Any, **values: Any) -> Any:
            return load(f"api.{operation}").sync(*arguments, client=client, **values)

        body = models.NewWebhook(url=other.url, id="siem", events=["scan.completed"], secret=SECRET)
        made = call("webhooks.create_webhook", body=body, idempotency_key="once")
        assert (made.id, made.events, made.secret_set) == ("siem", ["scan.completed"], True)
        assert call("webhooks.create_webhook", body=body, idempotency_key="once").to_dict() == made.to_dict()
        assert [one.id for one in call("webhooks.list_webhooks").items] == ["tickets", "siem"]
        tested = call("webhooks.test_webhook", "siem", body=models.TestRequest(event="scan.completed"))
        assert (tested.delivered, tested.status, tested.event) == (True, 200, "scan.completed")
        assert [step.step for step in tested.steps][:2] == ["resolve", "connect"]
        assert other.wait_for(1)[0].problems == ()
        changed = call("webhooks.patch_webhook", "siem", body=models.WebhookChange(description="ours"))
        assert changed.description == "ours"
        assert call("webhooks.pause_webhook", "siem", body=models.PauseRequest(for_="2h")).until
        assert call("webhooks.resume_webhook", "siem").was_stopped is True

        (dead, *others) = call("deliveries.list_deliveries", endpoint="tickets", state=models.State.DEAD).items
        assert (dead.state, dead.reason) == (models.State.DEAD, "retries_exhausted: timeout")
        assert call("deliveries.get_delivery", dead.delivery).log[0].reason == "timeout"
        assert call("deliveries.replay_delivery", dead.delivery).replayed == 1
        assert team.wait_for(1)[0].headers["webhook-id"]
        choice = models.ReplayChoice(endpoint="tickets", dry_run=True)
        assert call("dead_letters.replay_dead_letters", body=choice).deliveries == len(others)
        missing = call("webhooks.get_webhook", "no_such")
        assert (type(missing), missing.status) == (models.Problem, 404)


def test_a_generated_client_of_a_viewer_gets_problems_for_what_it_may_not_do(
    web: Web, load: Callable[[str], Any]
) -> None:
    with load("client").AuthenticatedClient(web.url, VIEWER, httpx_args={"trust_env": False}) as client:
        problem = load("api.webhooks.delete_webhook").sync("tickets", client=client)
        assert (type(problem), problem.status) == (load("models").Problem, 403)
