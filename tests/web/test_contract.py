"""The API against its own document: whatever a client of each role sends, it gets an answer that the document has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, seed, settings

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.events import Scan
from sfwebhooks.web.logins import FAILURES_MAX
from tests.builders import PATIENCE, a_host_database, a_scan
from tests.conftest import Team
from tests.filled import begin, end
from tests.web.filling import fill, opened
from tests.web.serving import OPERATOR, VIEWER, Web, served

pytestmark = pytest.mark.slow
#: of the random requests
SEED = 17
#: requests to each operation that the document allows, and those that it does not
RIGHT, WRONG = 8, 6
TOKENS = {"operator": OPERATOR, "viewer": VIEWER, "nobody": ""}
#: it never ends, see test_stream.py; and ten wrong logins are the last ones for a minute
APART = ("stream", "login")
ENDPOINTS = ("siem", "tickets", "team")


@dataclass
class Contract:
    """A server, and its document as a client reads it."""

    web: Web
    settings: Path
    document: dict[str, Any]
    #: beginning of a path and name of a parameter -> values of things that exist
    known: Mapping[tuple[str, str], list[str]]
    #: of the requests
    numbers: Iterator[int] = field(default_factory=count)
    #: of each operation, the statuses that it has answered with
    answered: dict[str, set[int]] = field(default_factory=dict)

    def operations(self) -> Iterator[Any]:
        """Return the operations as schemathesis knows them."""
        schemathesis = pytest.importorskip("schemathesis")
        schema = schemathesis.openapi.from_dict(self.document)
        schema.config.generation.update(with_security_parameters=False)
        for found in schema.get_all_operations():
            yield found.ok()

    def attack(self, operation: Any, token: str) -> None:
        """Send many requests to an operation: those that the document allows, and others.

        Raises:
            FailureGroup: an answer is one that the document does not have.
        """
        from schemathesis import checks
        from schemathesis.generation import GenerationMode

        wanted = [
            checks.not_a_server_error,
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_headers_conformance,
            checks.response_schema_conformance,
        ]
        name = operation.definition.raw["operationId"]
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        has_rules = bool(operation.body) or bool(operation.query)  # any text is right in the others
        modes = {GenerationMode.POSITIVE: RIGHT, **({GenerationMode.NEGATIVE: WRONG} if has_rules else {})}
        with requests.Session() as session:
            session.trust_env = False
            for mode, number in modes.items():

                @seed(SEED)
                @settings(
                    max_examples=number,
                    deadline=None,
                    database=None,
                    phases=[Phase.generate],
                    suppress_health_check=[*HealthCheck],
                )
                @given(case=operation.as_strategy(generation_mode=mode))
                def ask(case: Any) -> None:
                    self.make_real(case, next(self.numbers))
                    reply = case.call(self.web.url, session=session, headers=headers, timeout=PATIENCE)
                    self.answered.setdefault(name, set()).add(reply.status_code)
                    case.validate_response(reply, checks=wanted)

                ask()

    def failures(self, role: str, is_meant: Callable[[str], bool]) -> list[str]:
        """Attack operations as a role, with the same settings before each of them; return what was wrong."""
        from schemathesis.core.failures import FailureGroup

        before, found = self.settings.read_bytes(), []
        for operation in self.operations():
            if is_meant(operation.definition.raw["operationId"]):
                try:
                    self.attack(operation, TOKENS[role])
                except FailureGroup as error:
                    found += [f"{operation.label}: {one}" for one in error.exceptions]
                self.settings.write_bytes(before)
        return found

    def make_real(self, case: Any, number: int) -> None:
        """Let every other request be about a thing that exists, or have the body that is the document's example."""
        if number % 2 == 0 and isinstance(case.body, dict):
            schema = case.operation.definition.raw["requestBody"]["content"]["application/json"]["schema"]
            model = self.document["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], {})
            case.body = model.get("examples", [case.body])[0]
        for (path, name), values in self.known.items() if number % 2 == 0 else ():
            for values_of in (case.path_parameters, case.query):
                if case.path.startswith(path) and name in (values_of or {}):
                    values_of[name] = values[number // 2 % len(values)]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contract]:
    """A server with deliveries in each state, a past scan and receipts; whose ids are known."""
    folder, team = tmp_path_factory.mktemp("contract"), Team()
    path = folder / "webhooks.ini"
    path.touch(0o600)
    lines = f"url = {team.url}\nevents = all\nsecret = a-secret-of-these-tests\n"
    path.write_text("[webhooks]\n" + "".join(f"[webhooks.{name}]\n{lines}" for name in ENDPOINTS))
    scan = a_scan("5C4A00FF", database=str(folder / "spiderfoot.db"))
    a_host_database(folder / "spiderfoot.db", scan, "FINISHED")
    ids = fill(folder)
    with opened(folder) as outbox:
        begin(outbox, scan)
        end(outbox, scan)
    with served(folder, "--no-deliver") as web:
        document = web.client.get("/v1/openapi.json").json()
        yield Contract(web, path, document, known(ids, scan))


def known(ids: Mapping[str, str], scan: Scan) -> dict[tuple[str, str], list[str]]:
    """Return the beginning of a path and the name of a parameter -> values of things that exist."""
    return {
        ("/v1/deliveries/", "id"): [*ids.values()],
        ("/v1/scans/", "id"): [scan.id],
        ("/v1/webhooks/", "id"): [*ENDPOINTS],
        ("/v1/webhooks/", "scan"): [scan.id],
        ("/v1/events/", "type"): [one.name for one in EVENT_TYPES],
    }


@pytest.mark.parametrize("role", TOKENS)
def test_no_answer_is_missing_in_the_document(filled: Contract, role: str) -> None:
    filled.answered = {}
    assert filled.failures(role, lambda name: name not in APART) == []
    successes = {name for name, statuses in filled.answered.items() if min(statuses) < 300}
    if role == "operator":
        assert successes == filled.answered.keys()
    elif role == "viewer":
        refused = {name for name, statuses in filled.answered.items() if 403 in statuses}
        assert successes | refused == filled.answered.keys()
        assert not successes & refused
    else:
        assert successes == {"getHealth"}
        # a body is read first
        assert {name for name, statuses in filled.answered.items() if statuses - {400, 401, 422}} == {"getHealth"}


def test_no_answer_to_a_login_is_missing_in_the_document(filled: Contract) -> None:
    """The last test here: the server refuses tokens after it."""
    filled.answered = {}
    for _ in range(2):
        assert filled.failures("nobody", lambda name: name == "login") == []
        for _ in range(FAILURES_MAX):
            filled.web.anybody().post("/v1/session", json={"token": "wrong"})
    assert {401, 422, 429} <= filled.answered["login"]
