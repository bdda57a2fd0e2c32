"""The Logs Ingestion API of Azure Monitor: what is sent, with which token, and how each kind of answer is judged."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.config.settings import load, load_mapping
from sfwebhooks.delivery.troubleshooting import cure
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, WebhookEvent
from sfwebhooks.formats import render
from sfwebhooks.formats.sentinel import REQUEST_MAX, ROW_MAX, read
from sfwebhooks.jsontext import Stored, kept
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.scan.findings import event_of_finding
from sfwebhooks.signing import sign
from tests.builders import NOW, PATIENCE, a_batch, a_delivery, a_finding, a_scan, an_endpoint, an_event
from tests.conftest import Result, put, sql
from tests.formats.cases import each_event, mistakes_of, of_entry
from tests.formats.conftest import Sending, Served, Start
from tests.receivers.azure import CLIENT, RULE, SCOPE, SECRET, TENANT, Azure
from tests.receivers.vendor import Answer

ONE_STORE = "a format's messages are the same wherever deliveries are"

PATH = f"/dataCollectionRules/{RULE}/streams/Custom-SpiderFoot_CL?api-version=2023-01-01"
KEYS = {"tenant": TENANT, "dcr_id": RULE, "client_id": CLIENT, "client_secret": SECRET}
DCE = "https://spiderfoot-a1b2.westeurope-1.ingest.monitor.azure.com"
#: Azure's limits of a request and of a value
AZURE_MAX, VALUE_MAX = 1_048_576, 65_536
DOCS = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
(SECTION,) = re.findall(r"^### Microsoft Sentinel: sentinel\n(.*?)^###? ", DOCS, re.S | re.M)


@pytest.fixture
def azure(served: Served) -> Azure:
    return served(Azure())


@pytest.fixture
def one(azure: Azure, sending: Start) -> Sending:
    return sending(azure)


def keys_for(azure: Azure, **keys: str) -> dict[str, str]:
    token_url = f"{azure.root}{azure.token_path}"
    return {"url": azure.root, "format": "sentinel", "events": "all", "token_url": token_url, **KEYS, **keys}


def endpoint_to(azure: Azure, **keys: str) -> Endpoint:
    found = load_mapping({"team": keys_for(azure, timeout=f"{PATIENCE}s", **keys)})
    assert found.mistakes == ()
    return found.endpoints[0]


def row_of(event: WebhookEvent, **values: Any) -> dict[str, Any]:
    """Return the row of an event that goes alone."""
    endpoint = an_endpoint(format="sentinel", **values)
    (row,) = json.loads(render(Batch((a_delivery(event),)), endpoint).body)
    assert isinstance(row, dict)
    return row


# --- against Azure


def test_rows_arrive_with_one_token_in_requests_within_azures_limits(azure: Azure, sending: Start) -> None:
    one = sending(azure, batch_size=1000, batch_max_bytes=100_000_000, max_body=10_000_000)
    data = {"event_type": "X", "data": "x" * 200_000}
    one.accept(an_event(number, data=data) for number in range(40))
    one.finish()
    assert (len(azure.taken), azure.tokens, len(azure.sizes) > 1) == (40, 1, True)
    assert max(azure.sizes) <= REQUEST_MAX < AZURE_MAX
    assert max(len(json.dumps(row["Data"])) for row in azure.taken) <= VALUE_MAX
    assert {*one.states} == {("delivered", "http_204")}


@pytest.mark.parametrize("more", [{}, {"batch_size": 50}, {"compress": "gzip"}])
def test_each_event_arrives_once_alone_in_a_batch_or_compressed(
    more: dict[str, Any], azure: Azure, sending: Start
) -> None:
    one = sending(azure, **more)
    one.accept(20)
    one.finish()
    assert sorted(row["Sequence"] for row in azure.taken) == list(range(1, 21))
    assert sorted(row["EventId"] for row in azure.taken) == sorted(an_event(number).id for number in range(1, 21))


def excerpts(one: Sending) -> str:
    return str(sql(one.outbox, "SELECT excerpt FROM delivery_attempt"))


def test_a_client_without_the_role_is_held_and_nothing_is_lost(azure: Azure, one: Sending) -> None:
    azure.has_role = False
    one.accept(20)
    assert one.step() and not one.step()
    assert (one.condition, one.health_reason) == ("held", "http_403")
    assert "Monitoring Metrics Publisher" in cure("http_403", excerpts(one))
    assert {state for state, _ in one.states} == {"waiting"}


def test_a_rule_that_is_not_there_is_held(azure: Azure, one: Sending) -> None:
    azure.rule = "dcr-another"
    one.accept()
    assert one.step()
    assert (one.condition, one.health_reason) == ("held", "http_404")
    assert "dcr_id" in cure("http_404", excerpts(one))


def test_a_stream_that_the_rule_does_not_declare_is_held(azure: Azure, sending: Start) -> None:
    one = sending(azure, stream="Custom-Other_CL")
    one.accept()
    assert one.step()
    assert (one.condition, one.health_reason) == ("held", "InvalidStream")


def test_a_wrong_secret_holds_the_endpoint_with_the_words_of_entra(azure: Azure, sending: Start) -> None:
    one = sending(azure, client_secret="another")
    one.accept()
    assert one.step()
    assert (one.condition, one.health_reason) == ("held", "token_refused")
    assert "invalid_client: AADSTS7000215" in excerpts(one)


def test_no_token_for_a_while_is_waited_for(azure: Azure, one: Sending) -> None:
    azure.no_token = Answer(503, "<html>Service unavailable</html>")
    one.accept()
    assert one.step() and one.states == [("waiting", "token_unavailable")]
    azure.no_token = None
    one.finish()
    assert one.states == [("delivered", "http_204")]


def test_a_token_that_ended_is_renewed(azure: Azure, one: Sending) -> None:
    one.accept()
    one.step()
    azure.tokens = 5
    one.accept()
    one.step()
    assert (azure.tokens, [row["Sequence"] for row in azure.taken]) == (6, [1, 2])


def test_the_file_of_settings_and_drain_are_enough(azure: Azure, cli: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "webhooks.ini"
    path.touch(0o600)
    keys = keys_for(azure, batch_size="10", compress="gzip")
    path.write_text("[webhooks.azure]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()))
    with closing(Outbox(tmp_path / FILE)) as outbox:
        put(outbox, load(path).endpoints[0], events=25)
    drained = cli("drain")
    assert (drained.code, len(azure.taken), azure.tokens) == (0, 25, 1)
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


def test_path_and_query_are_those_of_the_api(azure: Azure) -> None:
    endpoint = endpoint_to(azure, batch_size="2")
    for one in (endpoint, endpoint_to(azure)):
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
