"""`sfwebhooks verify-scan`: files and folders, exit codes, words."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.config.settings import load_mapping
from sfwebhooks.delivery.proving import prove
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.signing_keys import new_whsec, new_whsk, receiver_form
from tests.conftest import Clock, Team, put
from tests.delivery.test_proving import ENDED, KEY, end, prover, send, statements
from tests.stores import BOTH

STORES = BOTH

PUBLIC = receiver_form(KEY)
#: id of a message that no statement has
STRANGER = "11111111-2222-8333-8444-555555555555"
Line = dict[str, Any]


@pytest.fixture
def lines(team: Team, outbox: Outbox, clock: Clock) -> list[Line]:
    """What a receiver has of a scan: two findings, the closing event, the statement."""
    endpoint = prover(team)
    put(outbox, endpoint, events=2)
    end(outbox, endpoint)
    send(endpoint, outbox, clock)
    prove(outbox, [endpoint], ENDED)
    send(endpoint, outbox, clock)
    return [{"at": 1.0, "headers": dict(one.headers), "body": one.body.decode()} for one in team.got]


def written(path: Path, lines: list[Line]) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


def test_a_whole_scan_is_proven(cli: Callable[..., Any], tmp_path: Path, team: Team, lines: list[Line]) -> None:
    result = cli("verify-scan", written(tmp_path / "saved", lines), "--key", PUBLIC)
    last = statements(team)[-1]["sha256"]
    assert result.code == 0
    assert result.words == (f"scan 5C4A0001 for auditor: 3 messages in 1 statement; the last one's SHA-256 is {last}")
    assert cli("verify-scan", str(tmp_path / "saved"), "--key", PUBLIC, "--quiet").out == ""


def test_a_folder_of_files_and_a_statement_alone_are_checked(
    cli: Callable[..., Any], tmp_path: Path, lines: list[Line]
) -> None:
    folder = tmp_path / "captured"
    (folder / "more").mkdir(parents=True)
    written(folder / "first", lines[:1])
    headers = "\r\n".join(f"{name}: {value}" for name, value in lines[1]["headers"].items())
    raw = f"POST / HTTP/1.1\r\n{headers}\r\n\r\n".encode() + lines[1]["body"].encode()
    (folder / "raw").write_bytes(raw)
    written(folder / "more" / "third", lines[2:3])
    envelope = {key: json.loads(lines[3]["body"])["data"][key] for key in ("payloadType", "payload", "signatures")}
    (folder / "statement").write_text(json.dumps(envelope), encoding="utf-8")
    assert cli("verify-scan", str(folder), "--key", PUBLIC).code == 0
    (folder / "raw").unlink()
    result = cli("verify-scan", str(folder), "--key", PUBLIC, "--json")
    assert (result.code, [one.get("flaw") for one in result.objects]) == (1, ["missing", None])


def test_a_missing_message_is_named(cli: Callable[..., Any], tmp_path: Path, lines: list[Line]) -> None:
    result = cli("verify-scan", written(tmp_path / "saved", lines[1:]), "--key", PUBLIC)
    id = lines[0]["headers"]["webhook-id"]
    assert result.code == 1
    assert result.words.startswith(f"missing: {id}: the receiver accepted it, and it is not here scan 5C4A0001")


def test_what_no_statement_has_needs_attention(cli: Callable[..., Any], tmp_path: Path, lines: list[Line]) -> None:
    alert = {**lines[0], "headers": {"webhook-id": STRANGER}, "body": '{"event_type":"system_alert","data":{}}'}
    result = cli("verify-scan", written(tmp_path / "saved", [*lines, alert]), "--key", PUBLIC)
    assert result.code == 3
    assert f"not proven: {STRANGER}: there is no statement about its scan, or it has none" in result.words


@pytest.mark.parametrize("id", [new_whsec(), "\x1b[31m", "x" * 10**6])
def test_an_id_that_is_not_ours_is_not_printed(
    cli: Callable[..., Any], tmp_path: Path, lines: list[Line], id: str
) -> None:
    foreign = {**lines[0], "headers": {"webhook-id": id}, "body": "{}"}
    result = cli("verify-scan", written(tmp_path / "saved", [*lines, foreign]), "--key", PUBLIC)
    assert result.code == 3 and "line 5: there is no statement about its scan" in result.words and id not in result.out


def test_messages_from_before_the_setting_need_attention(
    cli: Callable[..., Any], tmp_path: Path, team: Team, outbox: Outbox, clock: Clock
) -> None:
    endpoint = prover(team)
    put(outbox, endpoint, events=2)
    send(replace(endpoint, proof=None), outbox, clock)
    end(outbox, endpoint)
    send(endpoint, outbox, clock)
    prove(outbox, [endpoint], ENDED)
    send(endpoint, outbox, clock)
    lines = [{"at": 1.0, "headers": dict(one.headers), "body": one.body.decode()} for one in team.got[2:]]
    result = cli("verify-scan", written(tmp_path / "saved", lines), "--key", PUBLIC)
    assert result.code == 3
    assert "1 message in 1 statement; 2 messages delivered before proof was set" in result.words


def test_without_a_statement_nothing_is_proven(cli: Callable[..., Any], tmp_path: Path, lines: list[Line]) -> None:
    result = cli("verify-scan", written(tmp_path / "saved", lines[:3]), "--key", PUBLIC)
    assert result.code == 1
    assert "There is no statement that one of these keys has signed." in result.words


def test_the_key_may_be_in_a_file(cli: Callable[..., Any], tmp_path: Path, lines: list[Line]) -> None:
    (tmp_path / "key").write_text(PUBLIC + "\n", encoding="utf-8")
    saved = written(tmp_path / "saved", lines)
    assert cli("verify-scan", saved, "--key", f"file:{tmp_path / 'key'}").code == 0
    assert cli("verify-scan", saved, "--key", receiver_form(new_whsk()), "--key", PUBLIC).code == 0
    assert cli("verify-scan", saved, "--key", receiver_form(new_whsk())).code == 1


@pytest.mark.parametrize("key", [KEY, "whpk_short", "text", "whpk_" + "A" * 43 + "="], ids=range(4))
def test_another_kind_of_key_is_refused_and_not_shown(cli: Callable[..., Any], tmp_path: Path, key: str) -> None:
    result = cli("verify-scan", str(tmp_path), "--key", key)
    assert result.code == 1 and "--key: " in result.err and "whpk_" in result.err and KEY not in result.err


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "it is empty"), (b"{}\n", 'line 1 lacks "headers" or "body"'), (b'{"payload', "line 1 is not"),
     (b"\0" * 100, "header 1 is not")],
)  # fmt: skip
def test_a_file_with_something_else_is_an_error(
    cli: Callable[..., Any], tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "file").write_bytes(content)
    result = cli("verify-scan", str(tmp_path / "file"), "--key", PUBLIC)
    assert result.code == 1 and words in " ".join(result.err.split()) + result.words


def test_a_message_that_was_captured_twice_is_named_once(
    cli: Callable[..., Any], tmp_path: Path, lines: list[Line]
) -> None:
    one = {**lines[0], "body": lines[0]["body"].replace("CVE", "cve")}
    result = cli("verify-scan", written(tmp_path / "saved", [one, one, one, *lines[1:]]), "--key", PUBLIC, "--json")
    assert [found.get("flaw") for found in result.objects] == ["altered", None]


@pytest.mark.skipif(os.name != "posix", reason="there are no such pipes here")
@pytest.mark.parametrize("raw", [False, True])
def test_a_pipe_is_read(cli: Callable[..., Any], lines: list[Line], raw: bool) -> None:
    head = "\r\n".join(f"{name}: {value}" for name, value in lines[3]["headers"].items())
    given = f"{head}\r\n\r\n{lines[3]['body']}" if raw else "".join(json.dumps(line) + "\n" for line in lines)
    reading, writing = os.pipe()
    os.write(writing, given.encode())
    os.close(writing)
    result = cli("verify-scan", f"/dev/fd/{reading}", "--key", PUBLIC, "--json")
    os.close(reading)
    assert [found.get("flaw") for found in result.objects] == (["missing"] * 3 + [None] if raw else [None])


def test_a_missing_file_is_an_error(cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "cannot be read: No such file or directory" in cli("verify-scan", str(tmp_path / "x"), "--key", PUBLIC).err
    assert "there are no files in this folder" in cli("verify-scan", str(tmp_path / "empty"), "--key", PUBLIC).err


def test_drain_makes_the_statement_and_sends_it(
    cli: Callable[..., Any], tmp_path: Path, team: Team, outbox: Outbox
) -> None:
    lines = (f"[webhooks.auditor]\nurl = {team.url}\nevents = all\n", f"proof = {KEY}\n")
    (tmp_path / "webhooks.ini").write_text("".join(lines), encoding="utf-8")
    put(outbox, prover(team), events=2)
    end(outbox, prover(team))
    outbox.close()
    assert cli("drain", "--quiet").code == 0
    assert len(statements(team)) == 1 and len(team.got) == 4
    assert cli("drain", "--quiet").code == 0
    assert len(team.got) == 4


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"proof": new_whsec()}, "expected a whsk_... key, which sfwebhooks keygen --ed25519 generates"),
        ({"proof": PUBLIC}, "expected a whsk_... key"),
        ({"proof": KEY[:-8]}, "expected base64 of 64 bytes after whsk_"),
        ({"proof": KEY, "format": "ecs"}, "proof requires one of the formats cloudevents, generic"),
        ({"proof": KEY, "max_body": "8kB"}, "proof requires a max_body of at least 32kB"),
    ],
)
def test_a_proof_that_cannot_be_made_is_a_mistake(keys: dict[str, str], words: str) -> None:
    found = load_mapping({"team": {"url": "https://acme.example/", **keys}})
    assert words in str(found.mistakes[0]) and KEY not in str(found.mistakes)
    assert found.endpoints[0].mistake


def test_a_proof_for_all_endpoints_is_not_meant_for_chats() -> None:
    url = "https://hooks.slack.com/services/T0/B0/x"
    found = load_mapping({"proof": KEY, "team": {"url": url, "format": "slack"}, "siem": {"url": "https://x.example/"}})
    assert [one.name for one in found.endpoints if one.proof] == ["siem"]
