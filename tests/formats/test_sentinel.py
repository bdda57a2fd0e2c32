"""The Logs Ingestion API of Azure Monitor: what is sent, with which token, and how each kind of answer is judged."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Callable
from urllib.parse import parse_qs, unquote_plus

import pytest

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.config.settings import load, load_mapping
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.delivery.troubleshooting import cure
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, WebhookEvent
from sfwebhooks.formats import render
from sfwebhooks.formats.sentinel import REQUEST_MAX, ROW_MAX, read
from sfwebhooks.health import Condition
from sfwebhooks.jsontext import Stored, kept
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.pipeline import accept
from sfwebhooks.scan.findings import event_of_finding
from sfwebhooks.signing import sign
from tests.builders import NOW, PATIENCE, a_batch, a_delivery, a_finding, a_scan, an_endpoint, an_event
from tests.conftest import Clock, Result, put, sql
from tests.formats.cases import each_event, mistakes_of, of_entry
from tests.formats.vendor import Posted, vendor

TENANT = "0f8fad5b-d9cb-469f-a165-70867728950e"
RULE = "dcr-000a00a000a00000a000000aa000a0aa"
CLIENT, SECRET = "5c0de5c0-de5c-0de5-c0de-5c0de5c0de5c", "Q8~of.the_app-registration~1234567890"
SCOPE = "https://monitor.azure.com/.default"
PATH = f"/dataCollectionRules/{RULE}/streams/Custom-SpiderFoot_CL?api-version=2023-01-01"
KEYS = {"tenant": TENANT, "dcr_id": RULE, "client_id": CLIENT, "client_secret": SECRET}
DCE = "https://spiderfoot-a1b2.westeurope-1.ingest.monitor.azure.com"
#: Azure's limits of a request and of a value
AZURE_MAX, VALUE_MAX = 1_048_576, 65_536
DOCS = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
(SECTION,) = re.findall(r"^### Microsoft Sentinel: sentinel\n(.*?)^###? ", DOCS, re.S | re.M)


def error(status: int, code: str, message: str) -> tuple[int, bytes]:
    return status, json.dumps({"error": {"code": code, "message": message}}).encode()


class Azure:
    """Microsoft Entra ID, and the logs ingestion endpoint of one data collection rule."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.sizes: list[int] = []
        #: number of tokens that were given out; only the last one is valid
        self.tokens = 0
        #: whether the client has the role on the rule
        self.has_role = True
        self.rule = RULE
        #: requests that are answered with 429 first
        self.busy = 0
        #: the answer of Entra ID instead of a token
        self.instead: tuple[int, bytes] | None = None

    def __call__(self, posted: Posted) -> tuple[int, bytes] | tuple[int, bytes, Mapping[str, str]]:
        if posted.path == f"/{TENANT}/oauth2/v2.0/token":
            return self.instead or self._token(posted)
        if posted.headers.get("Authorization") != f"Bearer token-{self.tokens}":
            return error(401, "InvalidToken", "The authentication token is not valid.")
        if posted.path.partition("?")[0].split("/")[2] != self.rule:
            return error(404, "NotFound", f"Data collection rule with immutable Id '{RULE}' not found.")
        if not self.has_role:
            words = "The authentication token provided does not have access to ingest data for the data collection rule"
            return error(403, "OperationFailed", f"{words} with immutable Id '{RULE}'.")
        if self.busy:
            self.busy -= 1
            return *error(429, "TooManyRequests", "Slow down."), {"Retry-After": "7"}
        return self._ingested(posted)

    def _token(self, posted: Posted) -> tuple[int, bytes]:
        name, _, secret = base64.b64decode(posted.headers["Authorization"].partition(" ")[2]).decode().partition(":")
        form = parse_qs(posted.body.decode())
        assert form["grant_type"] == ["client_credentials"]
        if form["scope"] != [SCOPE]:
            return 400, b'{"error":"invalid_scope","error_description":"AADSTS70011: The scope is not valid."}'
        if (unquote_plus(name), unquote_plus(secret)) != (CLIENT, SECRET):
            return 401, b'{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret."}'
        self.tokens += 1
        return 200, json.dumps(
            {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": f"token-{self.tokens}"}
        ).encode()

    def _ingested(self, posted: Posted) -> tuple[int, bytes]:
        if len(posted.body) > AZURE_MAX:
            return error(413, "ContentLengthLimitExceeded", "Maximum allowed content length: 1048576 bytes (1 MB).")
        if posted.path != PATH:
            return error(400, "InvalidStream", "The stream is not declared in the data collection rule.")
        assert posted.headers["Content-Type"] == "application/json"
        self.sizes.append(len(posted.body))
        is_gzip = posted.headers.get("Content-Encoding") == "gzip"
        found = json.loads(gzip.decompress(posted.body) if is_gzip else posted.body)
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            return error(400, "InvalidPayload", "The body is not an array of objects.")
        self.rows += found
        return 204, b""


@pytest.fixture
def azure() -> Azure:
    return Azure()


@pytest.fixture
def place(azure: Azure) -> Iterator[str]:
    with vendor(azure) as url:
        yield url


def keys_for(place: str, **keys: str) -> dict[str, str]:
    token_url = f"{place}/{TENANT}/oauth2/v2.0/token"
    return {"url": place, "format": "sentinel", "events": "all", "token_url": token_url, **KEYS, **keys}


def endpoint_to(place: str, **keys: str) -> Endpoint:
    found = load_mapping({"team": keys_for(place, timeout=f"{PATIENCE}s", **keys)})
    assert found.mistakes == ()
    return found.endpoints[0]


@pytest.fixture
def queue(place: str, new_queue: Callable[..., SendQueue]) -> SendQueue:
    return new_queue(endpoint_to(place))


def run(queue: SendQueue) -> None:
    queue.hurry()
    while queue.step():
        pass


def row_of(event: WebhookEvent, **values: Any) -> dict[str, Any]:
    """Return the row of an event that goes alone."""
    endpoint = an_endpoint(format="sentinel", **values)
    (row,) = json.loads(render(Batch((a_delivery(event),)), endpoint).body)
    assert isinstance(row, dict)
    return row


# --- against Azure


def test_rows_arrive_with_one_token_in_requests_within_azures_limits(
    azure: Azure, place: str, outbox: Outbox, new_queue: Callable[..., SendQueue]
) -> None:
    queue = new_queue(endpoint_to(place, batch_size="1000", batch_max_bytes="100MB", max_body="10MB"))
    data = {"event_type": "X", "data": "x" * 200_000}
    accept([an_event(number, data=data) for number in range(40)], (queue.states[0].endpoint,), outbox, NOW)
    run(queue)
    assert (len(azure.rows), azure.tokens, len(azure.sizes) > 1) == (40, 1, True)
    assert max(azure.sizes) <= REQUEST_MAX < AZURE_MAX
    assert max(len(json.dumps(row["Data"])) for row in azure.rows) <= VALUE_MAX
    assert sql(outbox, "SELECT DISTINCT state, reason FROM delivery") == [("delivered", "http_204")]


@pytest.mark.parametrize("more", [{}, {"batch_size": "50"}, {"compress": "gzip"}])
def test_each_event_arrives_once_alone_in_a_batch_or_compressed(
    more: dict[str, str], azure: Azure, place: str, outbox: Outbox, new_queue: Callable[..., SendQueue]
) -> None:
    queue = new_queue(endpoint_to(place, **more))
    put(outbox, queue.states[0].endpoint, events=20)
    run(queue)
    assert sorted(row["Sequence"] for row in azure.rows) == list(range(1, 21))
    assert sorted(row["EventId"] for row in azure.rows) == sorted(an_event(number).id for number in range(1, 21))


def test_a_client_without_the_role_is_held_and_nothing_is_lost(azure: Azure, queue: SendQueue, outbox: Outbox) -> None:
    azure.has_role = False
    put(outbox, queue.states[0].endpoint, events=20)
    run(queue)
    assert (queue.states[0].health.condition, queue.states[0].health.reason) == (Condition.HELD, "http_403")
    excerpt = sql(outbox, "SELECT excerpt FROM delivery_attempt")[0][0]
    assert "Monitoring Metrics Publisher" in cure("http_403", excerpt)
    assert sql(outbox, "SELECT DISTINCT state FROM delivery") == [("waiting",)]


def test_a_rule_that_is_not_there_is_held(azure: Azure, queue: SendQueue, outbox: Outbox) -> None:
    azure.rule = "dcr-another"
    put(outbox, queue.states[0].endpoint)
    run(queue)
    assert (queue.states[0].health.condition, queue.states[0].health.reason) == (Condition.HELD, "http_404")
    assert "dcr_id" in cure("http_404", sql(outbox, "SELECT excerpt FROM delivery_attempt")[0][0])


def test_a_stream_that_the_rule_does_not_declare_is_held(
    place: str, outbox: Outbox, new_queue: Callable[..., SendQueue]
) -> None:
    queue = new_queue(endpoint_to(place, stream="Custom-Other_CL"))
    put(outbox, queue.states[0].endpoint)
    run(queue)
    assert (queue.states[0].health.condition, queue.states[0].health.reason) == (Condition.HELD, "InvalidStream")


def test_azure_can_ask_to_wait(azure: Azure, queue: SendQueue, outbox: Outbox, clock: Clock) -> None:
    azure.busy = 1
    put(outbox, queue.states[0].endpoint)
    run(queue)
    assert sql(outbox, "SELECT state, reason FROM delivery") == [("waiting", "http_429")]
    assert sql(outbox, "SELECT due_at FROM delivery")[0][0] >= clock.now + 7
    clock.now += 60
    run(queue)
    assert sql(outbox, "SELECT state FROM delivery") == [("delivered",)]


def test_a_wrong_secret_holds_the_endpoint_with_the_words_of_entra(
    azure: Azure, queue: SendQueue, outbox: Outbox, clock: Clock
) -> None:
    azure.instead = (401, b'{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret."}')
    put(outbox, queue.states[0].endpoint)
    run(queue)
    assert (queue.states[0].health.condition, queue.states[0].health.reason) == (Condition.HELD, "token_refused")
    assert "invalid_client: AADSTS7000215" in sql(outbox, "SELECT excerpt FROM delivery_attempt")[0][0]
    azure.instead, clock.now = None, clock.now + 3600
    run(queue)
    assert sql(outbox, "SELECT state FROM delivery") == [("delivered",)]


def test_a_token_that_ended_is_renewed(azure: Azure, queue: SendQueue, outbox: Outbox) -> None:
    put(outbox, queue.states[0].endpoint)
    run(queue)
    azure.tokens = 5
    put(outbox, queue.states[0].endpoint, start=2)
    run(queue)
    assert (azure.tokens, [row["Sequence"] for row in azure.rows]) == (6, [1, 2])


def test_the_file_of_settings_and_drain_are_enough(
    azure: Azure, place: str, cli: Callable[..., Result], tmp_path: Path
) -> None:
    path = tmp_path / "webhooks.ini"
    path.touch(0o600)
    keys = keys_for(place, batch_size="10", compress="gzip")
    path.write_text("[webhooks.azure]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()))
    with closing(Outbox(tmp_path / FILE)) as outbox:
        put(outbox, load(path).endpoints[0], events=25)
    drained = cli("drain")
    assert (drained.code, len(azure.rows), azure.tokens) == (0, 25, 1)
    shown = cli("preview", "azure")
    assert not [secret for secret in (SECRET, "token-1", RULE) if secret in drained.out + drained.err + shown.out]


# --- settings


def test_the_cloud_of_the_url_says_where_tokens_are_fetched() -> None:
    for end, login, scope in (
        ("com", "login.microsoftonline.com", SCOPE),
        ("us", "login.microsoftonline.us", "https://monitor.azure.us/.default"),
        ("cn", "login.partner.microsoftonline.cn", "https://monitor.azure.cn/.default"),
    ):
        url = f"https://x-1.ingest.monitor.azure.{end}"
        found = load_mapping({"team": {"url": url, "format": "sentinel", **KEYS}})
        (endpoint,) = found.endpoints
        assert (found.mistakes, endpoint.auth, endpoint.scope) == ((), "oauth2", scope)
        assert endpoint.token_url and endpoint.token_url.reveal() == f"https://{login}/{TENANT}/oauth2/v2.0/token"


def test_where_tokens_are_fetched_and_for_what_can_be_set() -> None:
    keys = {"url": DCE, "format": "sentinel", **KEYS, "token_url": "https://login.acme.example/token", "scope": "a b"}
    (endpoint,) = load_mapping({"team": keys}).endpoints
    assert endpoint.token_url and endpoint.token_url.reveal() == "https://login.acme.example/token"
    assert endpoint.scope == "a b"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"auth": "bearer"}, "format = sentinel requires auth = oauth2"),
        ({"auth": "basic", "username": "me", "password": SECRET}, "format = sentinel requires auth = oauth2"),
        ({"api_key": "a-key-that-azure-does-not-know"}, "api_key requires auth = bearer or header"),
        ({"client_secret": ""}, "auth = oauth2 requires client_secret"),
        ({"tenant": ""}, "tenant"),
        ({"tenant": "our tenant"}, "expected the ID or a domain of a Microsoft Entra tenant"),
        ({"dcr_id": "/subscriptions/1/resourceGroups/x"}, "expected dcr- and 32 of 0-9 and a-f"),
        ({"stream": "SpiderFoot_CL"}, "expected the name of a stream, such as Custom-SpiderFoot_CL"),
        ({"url": f"{DCE}{PATH}"}, "format = sentinel: url must end after the host"),
        ({"header.Authorization": "Bearer eyJ0eXAiOiJKV1QiLCJhbGci"}, "remove header.Authorization"),
    ],
)
def test_what_azure_would_not_accept_is_one_mistake(keys: dict[str, str], said: str) -> None:
    found = mistakes_of("sentinel", **{"url": DCE, **KEYS, **keys})
    assert len(found) == 1 and said in found[0], found


@pytest.mark.parametrize("missing", KEYS)
def test_what_is_missing_is_one_mistake_that_names_it(missing: str) -> None:
    found = mistakes_of("sentinel", **{"url": DCE, **{key: text for key, text in KEYS.items() if key != missing}})
    assert len(found) == 1 and missing in found[0], found


def test_an_address_of_azure_with_another_format_is_a_warning() -> None:
    found = load_mapping({"team": {"url": DCE, "secret": "a secret of the whole team"}})
    assert "accepts only format = sentinel" in "".join(map(str, found.warnings))


# --- rows


def test_a_row_is_flat_with_the_event_in_one_line_and_its_data() -> None:
    delivery = a_delivery()
    assert row_of(delivery.event, ui_url="https://sf.acme.example", metadata={"user": "admin"}) == {
        "TimeGenerated": "2026-11-21T10:00:00.000Z",
        "EventTime": "2026-11-21T10:00:00.000Z",
        "EventType": "high_risk_event",
        "Severity": "high",
        "SeverityLevel": 3,
        "Message": "VULNERABILITY_CVE_HIGH: CVE-2026-0001",
        "FindingType": "VULNERABILITY_CVE_HIGH",
        "CveId": "CVE-2026-0001",
        "Target": "acme.example",
        "ScanId": "5C4A0001",
        "ScanName": "Weekly Security Scan",
        "ScannerVersion": "4.4.0",
        "Link": "https://sf.acme.example/scaninfo?id=5C4A0001",
        "EventId": delivery.event.id,
        "DeliveryId": delivery.id,
        "Series": delivery.series,
        "Sequence": 1,
        "EndpointName": "team",
        "Metadata": {"user": "admin"},
        "Data": {"event_type": "VULNERABILITY_CVE_HIGH", "data": "CVE-2026-0001"},
    }


@pytest.mark.parametrize(
    ("type", "data", "column", "value"),
    [
        ("MALICIOUS_IPADDR", "x", "IpAddress", "192.0.2.7"),
        ("IP_ADDRESS", "192.0.2.7", "IpAddress", "192.0.2.7"),
        ("TCP_PORT_OPEN", "192.0.2.7:443", "IpAddress", "192.0.2.7"),
        ("INTERNET_NAME", "mail.acme.example", "HostName", "mail.acme.example"),
        ("LINKED_URL_INTERNAL", "https://acme.example/a", "Url", "https://acme.example/a"),
        ("EMAILADDR", "a@acme.example", "Email", "a@acme.example"),
    ],
)
def test_what_a_finding_is_about_has_a_column_for_entities(type: str, data: str, column: str, value: str) -> None:
    source = {"event_type": "IP_ADDRESS", "data": "192.0.2.7", "module": "m"}
    event = an_event(data={"event_type": type, "data": data, "sources": [source]})
    assert row_of(event)[column] == value


def test_a_row_has_at_most_what_azure_does_not_cut_whatever_the_settings() -> None:
    for size in (ROW_MAX - 3000, ROW_MAX, 5 * ROW_MAX):
        event = an_event(data=Stored(kept({"event_type": "X", "data": "x" * size})))
        body = render(Batch((a_delivery(event),)), an_endpoint(format="sentinel", max_body=10**8)).body
        assert len(body) <= ROW_MAX < VALUE_MAX and json.loads(body)[0]["Data"]["data"].startswith("xxx")


def test_path_and_query_are_those_of_the_api(place: str) -> None:
    endpoint = endpoint_to(place, batch_size="2")
    for one in (endpoint, endpoint_to(place)):
        request = sign(render(a_batch(), one), a_batch(), one, NOW)
        assert f"{request.path}?{request.query}" == PATH
        assert SECRET.encode() not in request.body


# --- the documents


def declared() -> dict[str, str]:
    """Return the columns of the stream in the documents -> their types."""
    (rule,) = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", SECTION, re.S)]
    (stream,) = rule["properties"]["streamDeclarations"].values()
    assert list(rule["properties"]["streamDeclarations"]) == ["Custom-SpiderFoot_CL"]
    return {column["name"]: column["type"] for column in stream["columns"]}


KINDS = {"string": str, "int": int, "long": int, "boolean": bool, "dynamic": dict, "datetime": str}


@each_event
def test_each_row_fits_the_stream_that_the_documents_declare(entry: Any) -> None:
    row = row_of(of_entry(entry).event)
    for name, value in row.items():
        assert isinstance(value, KINDS[declared()[name]]), name
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["TimeGenerated"])


def test_the_documents_declare_no_other_column() -> None:
    texts = {
        "IP_ADDRESS": "192.0.2.7",
        "INTERNET_NAME": "mail.acme.example",
        "LINKED_URL_INTERNAL": "https://acme.example/a",
        "EMAILADDR": "a@acme.example",
        "VULNERABILITY_CVE_HIGH": "CVE-2026-0001",
    }
    made = [event_of_finding(a_finding(type=type, data=data), a_scan(), "x") for type, data in texts.items()]
    endpoint = an_endpoint(format="sentinel", ui_url="https://a.example", metadata={"a": "b"})
    rows = [json.loads(render(Batch((a_delivery(event, backfilled=True),)), endpoint).body)[0] for event in made]
    assert {name for row in rows for name in row} == set(declared())


def test_the_table_of_the_documents_has_the_columns_of_the_stream() -> None:
    (listed,) = re.findall(r"--columns (.*)", SECTION.replace("\\\n", " "))
    table = dict(pair.split("=") for pair in listed.split())
    assert table == declared()


def test_the_settings_in_the_documents_are_right(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SENTINEL_CLIENT_SECRET", SECRET)
    (settings,) = re.findall(r"```ini\n(.*?)```", SECTION, re.S)
    (tmp_path / "webhooks.ini").write_text(settings, encoding="utf-8")
    found = load(tmp_path / "webhooks.ini")
    assert (found.mistakes, [one.format for one in found.endpoints]) == ((), ["sentinel"])


# --- how answers are judged


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (204, b"", None),
        (200, b"<html>sign in</html>", Verdict(Outcome.HOLD, "http_200_but_not_204")),
        (400, b'{"error":{"code":"InvalidStream"}}', Verdict(Outcome.HOLD, "InvalidStream")),
        (400, b'{"error":{"code":"InvalidPayload"}}', Verdict(Outcome.REFUSED, "InvalidPayload")),
        (400, b'{"error":{"code":"\\u001b[2J"}}', None),
        (400, b'{"error":{"code":["x"]}}', None),
        (400, b'{"error":"x"}', None),
        (400, b"[" * 60_000, None),
        (400, b'{"error":{"code":"' + b"x" * 5000 + b'"}}', Verdict(Outcome.REFUSED, "x" * 60)),
        (401, b"", Verdict(Outcome.HOLD, "http_401")),
        (403, b"", Verdict(Outcome.HOLD, "http_403")),
        (404, b"", Verdict(Outcome.HOLD, "http_404")),
        (413, b"", None),
        (429, b"", None),
        (500, b"", None),
        (503, b"", None),
    ],
)
def test_only_azures_own_answers_are_read(status: int, body: bytes, verdict: Verdict | None) -> None:
    assert read(Reply(status, body=body), a_batch()) == verdict
