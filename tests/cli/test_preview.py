"""`sfwebhooks preview`: what would be sent, byte for byte, and nothing is sent."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Callable

import pytest

from sfwebhooks.catalogue import EVENT_TYPES, type_named
from sfwebhooks.cli import main
from sfwebhooks.config.settings import load
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.events import delivery_id
from sfwebhooks.examples import example_of_type
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.pipeline import accept
from sfwebhooks.screening import Screen
from sfwebhooks.severity import DEFAULT_SEVERITIES, SEVERITY_OF_TYPE, Severities, Severity, special_of
from tests.builders import NOW, PATIENCE, an_event
from tests.conftest import Team, sql
from tests.rows import in_one
from tests.stores import BOTH, place_in

STORES = BOTH
pytestmark = pytest.mark.usefixtures("store")

#: headers that differ from attempt to attempt
OF_AN_ATTEMPT = {"x-spiderfoot-timestamp", "webhook-timestamp", "x-spiderfoot-signature", "webhook-signature"}
SECRETS = {
    "secret": "a-signing-secret-of-the-team",
    "api_key": "a-bearer-token-of-the-team",
    "header.X-Own": "a-header-of-the-team",
}

Preview = Callable[..., bytes]


@pytest.fixture
def preview(tmp_path: Path, team: Team, capfdbinary: pytest.CaptureFixture[bytes]) -> Preview:
    (tmp_path / "webhooks.ini").touch(0o600)
    keys = "".join(f"{key} = {value}\n" for key, value in SECRETS.items())
    own = f"[webhooks.team]\nurl = {team.url}/a-secret-path?key=a-secret-key\nevents = all\n{keys}"
    (tmp_path / "webhooks.ini").write_text(f"[webhooks]\n{own}[webhooks.chat]\nurl = {team.url}\nformat = slack\n")

    def run(*arguments: str, code: int = 0) -> bytes:
        assert main(["preview", *arguments, "--folder", str(tmp_path)]) == code
        out = capfdbinary.readouterr()
        return out.err if code else out.out

    return run


def parsed(request: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body[:-1]


def of_the_message(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items() if name.lower() not in OF_AN_ATTEMPT}


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(place_in(tmp_path))


def put(outbox: Outbox, tmp_path: Path, events: int = 1) -> None:
    found = [an_event(number) for number in range(1, events + 1)]
    accept(found, Screen(load(tmp_path / "webhooks.ini").endpoints), outbox, NOW)


@pytest.mark.parametrize("name", ["team", "chat"])
def test_it_is_byte_for_byte_what_the_receiver_gets(
    name: str, preview: Preview, outbox: Outbox, team: Team, tmp_path: Path
) -> None:
    put(outbox, tmp_path)
    endpoint = next(one for one in load(tmp_path / "webhooks.ini").endpoints if one.name == name)
    queue = SendQueue([endpoint], outbox, lambda: NOW)
    assert queue.step()
    queue.stop(0.0)
    (got,) = team.got
    first, headers, body = parsed(preview(name, "--delivery", got.headers["webhook-id"], "--show-secrets"))
    assert first == f"POST {got.path} HTTP/1.1"
    assert of_the_message(headers) == of_the_message(got.headers)
    assert headers.keys() == {header.lower() for header in got.headers}
    assert body == got.body
    outbox.close()


@pytest.mark.parametrize("name", ["team", "chat"])
@in_one("entry", EVENT_TYPES)
def test_each_event_type_has_an_example(name: str, entry: object, preview: Preview, team: Team) -> None:
    word = entry.name  # type: ignore[attr-defined]
    first, headers, body = parsed(preview(name, "--event", word))
    assert (first, headers["content-type"]) == ("POST /*** HTTP/1.1", "application/json")
    assert headers["content-length"] == str(len(body))
    json.loads(body)
    assert team.got == [], "nothing is sent"


def test_it_shows_no_secret(preview: Preview) -> None:
    shown = preview("team").decode()
    assert not [secret for secret in (*SECRETS.values(), "a-secret-path", "a-secret-key") if secret in shown]
    assert "Authorization: ***" in shown.splitlines()


def test_it_shows_them_if_it_is_asked_to(preview: Preview) -> None:
    shown = preview("team", "--show-secrets").decode()
    expected = [SECRETS["api_key"], SECRETS["header.X-Own"], "a-secret-path", "a-secret-key"]
    assert [secret for secret in expected if secret not in shown] == []
    assert SECRETS["secret"] not in shown, "it is never sent"


def test_a_scan_is_shown_in_order(preview: Preview, outbox: Outbox, tmp_path: Path) -> None:
    put(outbox, tmp_path, events=3)
    outbox.close()
    requests = [part for part in preview("team", "--scan", "5C4A0001").split(b"POST ") if part]
    numbers = [json.loads(parsed(request)[2])["metadata"]["sequence"] for request in requests]
    assert numbers == [1, 2, 3]


def test_a_delivery_is_shown_as_another_endpoint_would_get_it(preview: Preview, outbox: Outbox, tmp_path: Path) -> None:
    put(outbox, tmp_path)
    outbox.close()
    _, headers, body = parsed(preview("chat", "--delivery", delivery_id(an_event(1).id, "team")))
    assert "blocks" in json.loads(body)
    _, others, _ = parsed(preview("team", "--delivery", delivery_id(an_event(1).id, "team")))
    assert headers["webhook-id"] != others["webhook-id"]


@pytest.mark.sqlite("no outbox is created")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody",), 'there is no endpoint "nobody"; there are: team, chat'),
        (("team", "--event", "scan_complete"), 'Did you mean "scan_completed"?'),
        (("team", "--scan", "NOSUCH"), "there is no outbox"),
        (("team", "--delivery", "12345678"), "there is no outbox"),
    ],
)
def test_what_is_not_there_is_named(preview: Preview, arguments: tuple[str, ...], said: str) -> None:
    assert said in preview(*arguments, code=1).decode()


def test_a_scan_that_the_endpoint_has_nothing_of_is_named(preview: Preview, outbox: Outbox, tmp_path: Path) -> None:
    put(outbox, tmp_path)
    outbox.close()
    assert 'no deliveries to "team" of a scan "NOSUCH"' in preview("team", "--scan", "NOSUCH", code=1).decode()


#: what another program, or a disk, can make of the second of three events
DAMAGES = {
    "no JSON": "UPDATE event SET data = '{\"a\": ' WHERE number = 2",
    "no object": "UPDATE event SET data = '[1]' WHERE number = 2",
    "deep": f"UPDATE event SET data = '{'[' * 50_000}' WHERE number = 2",
    "no text": "UPDATE event SET data = x'ff00' WHERE number = 2",
    "no UTF-8": "UPDATE event SET data = cast(x'7bff7d' AS TEXT) WHERE number = 2",
    "severity": "UPDATE event SET severity = 99 WHERE number = 2",
    "time": "UPDATE event SET at = 'soon' WHERE number = 2",
    "series": "UPDATE delivery SET series = 99 WHERE event = 2",
    "name": "UPDATE delivery SET name = x'00ff' WHERE event = 2",
}


@pytest.mark.sqlite("a column of PostgreSQL has values of one type")
@pytest.mark.parametrize("name", ["team", "chat"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_row_is_named_and_the_others_are_shown(
    damage: str, name: str, outbox: Outbox, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], preview: Preview
) -> None:
    put(outbox, tmp_path, events=3)
    sql(outbox, damage)
    outbox.close()
    assert main(["preview", name, "--scan", "5C4A0001", "--folder", str(tmp_path)]) == 1
    shown = capfdbinary.readouterr()
    damaged = delivery_id(an_event(2).id, name)
    assert f"message {damaged} cannot be built" in shown.err.decode()
    assert damaged.encode() not in shown.out
    assert [one for one in (1, 3) if delivery_id(an_event(one).id, name).encode() not in shown.out] == []


def test_a_page_has_the_messages_whose_rows_are_not_damaged(preview: Preview, outbox: Outbox, tmp_path: Path) -> None:
    put(outbox, tmp_path, events=3)
    sql(outbox, DAMAGES["no JSON"])
    outbox.close()
    page = tmp_path / "page.html"
    arguments = ("chat", "--scan", "5C4A0001", "--html", str(page))
    assert f"message {delivery_id(an_event(2).id, 'chat')} cannot be built" in preview(*arguments, code=1).decode()
    text = page.read_text()
    assert ["CVE-2026-000" + str(one) in text for one in (1, 2, 3)] == [True, False, True]


@pytest.mark.sqlite("it starts a process as a user does, with the settings of a file")
def test_a_terminal_shows_visible_characters_only(preview: Preview, outbox: Outbox, tmp_path: Path) -> None:
    with contextlib.closing(outbox):
        event = an_event(1, data={"data": "a\x1b[2J\x9b31m\u202eb"})
        accept([event], Screen(load(tmp_path / "webhooks.ini").endpoints), outbox, NOW)
    ours, theirs = pty.openpty()
    arguments = ["preview", "team", "--delivery", delivery_id(event.id, "team"), "--folder", str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-m", "sfwebhooks", *arguments], stdout=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # its end
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    assert process.wait(PATIENCE) == 0
    text = shown.decode()
    assert "webhook-id" in text
    assert not [sign for sign in "\x1b\x9b\u202e" if sign in text]


def test_a_compressed_body_is_shown_before_its_compression(preview: Preview, tmp_path: Path) -> None:
    with (tmp_path / "webhooks.ini").open("a") as file:
        file.write("[webhooks.small]\nurl = https://a.example\ncompress = gzip\n")
    for more in ((), ("--show-secrets",)):
        _, headers, body = parsed(preview("small", *more))
        assert headers["content-encoding"] == "gzip"
        assert json.loads(body)["event_type"] == "high_risk_event"


def test_a_page_is_not_written_into_a_pipe_that_nobody_reads(preview: Preview, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "page")
    assert b"it is a named pipe; expected a regular file" in preview("chat", "--html", str(tmp_path / "page"), code=1)


@pytest.mark.parametrize(
    ("events", "shown"),
    [
        ("all", "high_risk_event"),
        ("finding.critical, scan_failed", "finding.critical"),
        ("scan_failed, system_alert", "scan_failed"),
        ("high_risk_event, scan_*", "high_risk_event"),
    ],
)
def test_an_event_that_the_endpoint_subscribes_to_is_shown(
    events: str, shown: str, preview: Preview, tmp_path: Path
) -> None:
    settings = tmp_path / "webhooks.ini"
    settings.write_text(f"[webhooks.few]\nurl = https://r.example.test/\nevents = {events}\n")
    _, headers, _ = parsed(preview("few"))
    assert headers["x-spiderfoot-event"] == shown


def test_a_type_of_the_host_is_shown_as_a_finding_with_the_severity_of_the_settings(
    preview: Preview, tmp_path: Path
) -> None:
    with (tmp_path / "webhooks.ini").open("a") as file:
        file.write("[webhooks-severity]\ncritical = EMAILADDR_COMPROMISED\n")
    message = json.loads(parsed(preview("team", "--event", "EMAILADDR_COMPROMISED"))[2])
    assert message["event_type"] == "high_risk_event"
    data = message["data"]
    assert (data["event_type"], data["severity"]) == ("EMAILADDR_COMPROMISED", "critical")
    assert data["data"] == "jane.roe@acme.test [Example Forum]"


def test_redaction_and_filters_can_be_tried_before_a_scan(
    preview: Preview, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    shown = preview("chat", "--event", "PASSWORD_COMPROMISED").decode()
    assert "Tr0ub4dor" not in shown and "PASSWORD_COMPROMISED" in shown
    with (tmp_path / "webhooks.ini").open("a") as file:
        file.write("min_severity = high\nevents = all\n")
    for kind, withheld in (("TCP_PORT_OPEN", True), ("CREDIT_CARD_NUMBER", False)):
        assert main(["preview", "chat", "--event", kind, "--folder", str(tmp_path)]) == 0
        assert (
            "a scan would not send it to chat: below min_severity" in capfdbinary.readouterr().err.decode()
        ) is withheld


@in_one("host_type", sorted(SEVERITY_OF_TYPE))
def test_every_type_of_the_host_has_an_example_that_the_catalogue_allows(host_type: str) -> None:
    event = example_of_type(host_type, DEFAULT_SEVERITIES).event
    entry = type_named(event.type)
    assert entry and {*event.data} <= {field.name for field in entry.fields} and event.data["data"]
    assert (event.special, event.data.get("special")) == (special_of(host_type),) * 2
    low = example_of_type(host_type, Severities(((Severity.LOW, ("*",)),))).event
    assert (low.type, low.severity, low.data["severity"]) == ("low_risk_event", Severity.LOW, "low")


def test_an_unknown_type_is_an_error_that_names_a_similar_one(preview: Preview) -> None:
    assert b'Did you mean "EMAILADDR_COMPROMISED"?' in preview("team", "--event", "EMAILADDR_COMPROMISD", code=1)
