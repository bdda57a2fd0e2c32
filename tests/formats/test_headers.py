"""Extra headers, all the way from the configuration to the wire: none begins another header, none replaces ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.config.settings import Settings, load_mapping
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.formats.content import Content
from sfwebhooks.network.sender import Sender
from sfwebhooks.signing import Request, sign
from tests.builders import NOW, PATIENCE, a_batch, an_endpoint
from tests.hostile import OK, Hostile, answering

VARIABLE = "TEST_HEADER_VALUE"
#: what would begin another header, or end all of them
BREAKS = ["\r\n", "\n", "\r", "\r\n ", "\n\t", "\0", "\v", "\f", "\x85", "\u2028", "\r\n\r\n"]
#: what only sfwebhooks sets, or the connection itself
OURS = [
    "X-SpiderFoot-Signature",
    "x-spiderfoot-delivery",
    "X-SPIDERFOOT-EVENT",
    "X-SpiderFoot-Anything",
    "X-Security-Signature",
    "x-security-event",
    "X-Security-Anything",
    "webhook-id",
    "Webhook-Signature",
    "webhook-timestamp",
    "Content-Length",
    "content-type",
    "Content-Encoding",
    "Transfer-Encoding",
    "Host",
    "Connection",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Upgrade",
    "Expect",
    "Proxy-Authorization",
    "proxy-connection",
]


@pytest.fixture
def wire() -> Iterator[Hostile]:
    receiver = Hostile(answering(OK))
    yield receiver
    receiver.close()


def settings(wire: Hostile, folder: Path, key: str, value: str) -> Settings:
    return load_mapping({"team": {"url": wire.url, "secret": "a secret text", key: value}}, folder=folder)


def lines_sent(endpoint: Endpoint, wire: Hostile) -> list[bytes]:
    """Send a signed message and return the lines of its head, as they came."""
    sender = Sender(endpoint)
    assert sender.send(sign(Content(b"{}"), a_batch(), endpoint, NOW)).status == 200
    sender.close()
    return wire.requests[-1].partition(b"\r\n\r\n")[0].split(b"\r\n")


@pytest.fixture(params=["text", "env", "file"])
def written(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], str]:
    """Write a value into the configuration: as it is, as a variable of the environment, or as a file."""

    def write(value: str) -> str:
        if request.param == "text":
            return value
        if request.param == "file":
            (tmp_path / "value").write_bytes(value.encode())
            return "file:value"
        if "\0" in value:
            pytest.skip("no variable of the environment can hold this")
        monkeypatch.setenv(VARIABLE, value)
        return f"env:{VARIABLE}"

    return write


def test_a_header_arrives_as_it_was_configured(wire: Hostile, written: Callable[[str], str], tmp_path: Path) -> None:
    found = settings(wire, tmp_path, "header.X-Team", written("red; team=\"1\", 'two'\t\\ ~"))
    assert b"X-Team: red; team=\"1\", 'two'\t\\ ~" in lines_sent(found.endpoints[0], wire)


@pytest.mark.parametrize("broken", BREAKS)
def test_no_value_begins_another_header(
    wire: Hostile, written: Callable[[str], str], tmp_path: Path, broken: str
) -> None:
    found = settings(wire, tmp_path, "header.X-Team", written(f"red{broken}X-SpiderFoot-Signature: sha256=0"))
    assert (list(found.held), len(found.mistakes)) == (["team"], 1)
    assert "sha256" not in str(found.mistakes[0])


@pytest.mark.parametrize("broken", BREAKS)
def test_no_api_key_begins_another_header(
    wire: Hostile, written: Callable[[str], str], tmp_path: Path, broken: str
) -> None:
    found = settings(wire, tmp_path, "api_key", written(f"key{broken}X-Own: 1"))
    assert (list(found.held), len(found.mistakes)) == (["team"], 1)


@pytest.mark.parametrize("broken", [*BREAKS, ":", " ", ": x\r\nX-Own", "é", '"', "(", "@"])
def test_no_name_begins_another_header(wire: Hostile, tmp_path: Path, broken: str) -> None:
    found = settings(wire, tmp_path, f"header.X-Team{broken}", "red")
    assert (list(found.held), len(found.mistakes)) == (["team"], 1)


@pytest.mark.parametrize("name", OURS)
def test_no_header_of_ours_can_be_replaced(wire: Hostile, tmp_path: Path, name: str) -> None:
    found = settings(wire, tmp_path, f"header.{name}", "mine")
    assert (list(found.held), len(found.mistakes)) == (["team"], 1)


def test_each_header_goes_out_once(wire: Hostile, tmp_path: Path) -> None:
    found = load_mapping(
        {
            "api_key": "the key",
            "secret": "a secret text",
            "team": {
                "url": wire.url,
                "header.authorization": "Basic other",
                "header.USER-AGENT": "mine",
                "header.accept-encoding": "gzip",
                "header.X-Team": "red",
                "header.x-team": "blue",
            },
        },
        folder=tmp_path,
    )
    lines = lines_sent(found.endpoints[0], wire)
    names = [line.partition(b":")[0].lower() for line in lines[1:]]
    assert (len(names), b"Authorization: Bearer the key" in lines) == (len(set(names)), True)


@pytest.mark.parametrize("broken", ["\r\n", "\n", "\r", "\r\n ", "\0", "\u2028"])
def test_a_bug_that_lets_such_a_value_through_sends_nothing_and_shows_no_secret(wire: Hostile, broken: str) -> None:
    endpoint = an_endpoint(url=wire.url, timeout=PATIENCE)
    headers: dict[str, Any] = {"X-Team": f"hidden{broken}X-Own: 1"}
    with pytest.raises(ValueError, match="X-Team") as caught:
        Sender(endpoint).send(Request(endpoint.url, headers, b"{}"))
    assert ("hidden" in str(caught.value), wire.connections) == (False, 0)
