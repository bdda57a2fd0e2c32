"""What a viewer gets to see: none of what a chat does not get, by whichever path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from sfwebhooks.events import delivery_id
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.retry import State
from tests.builders import URL, a_scan, an_event
from tests.filled import begin, end, put_event, send
from tests.leaks import leaks
from tests.stores import BOTH, place_in
from tests.web.listening import Listener, connected
from tests.web.serving import VIEWER, Web, served

STORES = BOTH

PASSWORD, SECRET = "Tr0ub4dor&3-of-alice", "qT5zR8wXy1LmN3oPs7uVk2aBcD4e"
SETTINGS = f"""\
[webhooks]
events = all
secret = {SECRET}

[webhooks.siem]
url = {URL}
api_key = {SECRET}

[webhooks.security]
url = {URL}
format = security-audit
"""
#: of events, one whose data are a leaked login
LEAK = an_event(1, data={"event_type": "PASSWORD_COMPROMISED", "data": f"alice@acme.example:{PASSWORD}", "module": "x"})
NAMES = ("siem", "security")


@pytest.fixture(scope="module")
def leaking(shared_store: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A server whose receivers quoted what they were sent."""
    folder: Path = tmp_path_factory.mktemp("leaking")
    (folder / "webhooks.ini").touch(0o600)
    (folder / "webhooks.ini").write_text(SETTINGS)
    with closing(Outbox(place_in(folder))) as outbox:
        begin(outbox, a_scan())
        for name in NAMES:
            put_event(outbox, LEAK, name)
            send(outbox, State.DEAD, "refused: http_400", endpoint=name, excerpt=f'{{"cannot take": "{PASSWORD}"}}')
        end(outbox, a_scan())
    with served(folder, "--no-deliver") as web:
        yield web


def places(web: Web) -> Iterator[str]:
    """Yield the address of each GET of the API, with each id that there is."""
    scans = [one["scan"] for one in web.client.get("/v1/scans").json()["items"]]
    deliveries = [one["delivery"] for one in web.client.get("/v1/deliveries").json()["items"]]
    ids = {"deliveries": deliveries, "scans": scans, "webhooks": NAMES, "events": ["high_risk_event"]}
    for path, operations in web.client.get("/v1/openapi.json").json()["paths"].items():
        if "get" in operations and path != "/v1/stream":
            known = ids.get(path.split("/")[2], []) if "{" in path else [""]
            head, _, rest = path.partition("{")
            yield from (head + quote(one) + rest.partition("}")[2] + f"?scan={a_scan().id}" for one in known)


def test_no_answer_has_what_people_do_not_see(leaking: Web) -> None:
    asked = [*places(leaking)]
    assert {place.split("?")[0].split("/")[2] for place in asked} > {"deliveries", "scans", "webhooks", "status"}
    found = {place: leaks(leaking.viewer.get(place).text, PASSWORD, SECRET) for place in asked}
    assert {place: what for place, what in found.items() if what} == {}
    assert any(PASSWORD in leaking.client.get(place).text for place in asked)


def test_the_stream_does_not_have_it_either(leaking: Web) -> None:
    with Listener(connected(leaking.port, VIEWER)) as viewer:
        assert leaks(str(viewer.next("status")), PASSWORD, SECRET) == []


@pytest.mark.parametrize("name", NAMES)
def test_nothing_by_which_a_secret_could_be_found_by_trying(leaking: Web, name: str) -> None:
    place = f"/v1/deliveries/{delivery_id(LEAK.id, name)}"
    shown, whole = leaking.viewer.get(place).json(), leaking.client.get(place).json()
    assert (shown["fingerprint"], len(whole["fingerprint"]) > 0) == ("", True)
    signed = {name for name, value in shown["request"]["headers"] if "signature" in name.lower() and value != "***"}
    assert (signed, shown["request"]["headers"] != whole["request"]["headers"]) == (set(), True)
