"""Status, statistics, metrics, and what settings can be, through the API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sfwebhooks.cli import main
from sfwebhooks.config.options import ENDPOINT_OPTIONS, OPEN_OPTIONS, all_options, own_options
from sfwebhooks.formats import FORMATS
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.retry import State
from tests.filled import put, send
from tests.stores import BOTH, place_in
from tests.web.serving import Web, served

STORES = BOTH


@pytest.fixture(scope="module")
def folder(shared_store: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("statistics")
    (folder / "webhooks.ini").write_text(
        "[webhooks]\nweb_url = https://hooks.acme.example\n"
        "[webhooks.team]\nurl = http://127.0.0.1:9/secret-path\n[webhooks.other]\nurl = http://127.0.0.1:9/x\n"
        "[webhooks-expect]\nnightly = 30 2 * * * acme.example\n"
    )
    with closing(Outbox(place_in(folder))) as outbox:
        put(outbox, 1, 2, 3)
        send(outbox)
        send(outbox, State.DEAD, "retries_exhausted: http_500", "no")
    return folder


@pytest.fixture(scope="module")
def web(folder: Path) -> Iterator[Web]:
    with served(folder, "--no-deliver") as web:
        yield web


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[Any]:
    main([*arguments, "--json"])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_status_is_what_the_command_prints(web: Web, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    *endpoints, watch = printed(capsys, "status", "--folder", str(folder))
    found, seen = (client.get("/v1/status").json() for client in (web.client, web.viewer))
    assert [one["endpoint"] for one in found["endpoints"]] == ["team", "other"]
    assert [{**one, "why": ""} for one in found["endpoints"]] == [{**one, "why": ""} for one in endpoints]
    assert found["watch"] == watch
    assert watch["expected"][0]["name"] == "nightly"
    assert found["needs_attention"] is True
    assert (found["senders"], found["sees_senders"]) == ([], True)
    assert "secret-path" not in json.dumps(found)
    assert found["endpoints"][0]["last_error"]["excerpt"] == "no"
    assert seen["endpoints"][0]["last_error"]["excerpt"] not in ("", "no"), "it may quote what was sent"


@pytest.mark.parametrize("path", ["/v1/status", "/v1/webhooks", "/v1/webhooks/team"])
def test_a_viewer_is_nowhere_shown_a_reply_that_may_quote_what_was_sent(web: Web, path: str) -> None:
    found, seen = (client.get(path).text for client in (web.client, web.viewer))
    assert '"excerpt":"no"' in found
    assert '"excerpt":"no"' not in seen


def test_statistics_are_what_the_command_prints(web: Web, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for since in ("100d", "2026-11-21T09:00", "1h"):
        answer = web.viewer.get("/v1/stats", params={"since": since}).json()["items"]
        wanted = printed(capsys, "stats", "--folder", str(folder), "--since", since)
        times = {"at": "", "since": "", "oldest_at": ""}
        assert [{**one, **times} for one in answer] == [{**one, **times} for one in wanted]
        assert sum(one["delivered"] for one in answer) == (0 if since == "1h" else 1)
    only = web.viewer.get("/v1/stats", params={"endpoint": "other"}).json()["items"]
    assert [one["endpoint"] for one in only] == ["other"]
    assert web.viewer.get("/v1/stats?endpoint=%00").json()["items"] == []


@pytest.mark.parametrize("since", ["soon", "", "-1h", "9" * 99, "1" * 12 + "d", "%00", "%ED%A0%80", "2026-13-45T99:00"])
def test_a_wrong_period_is_a_problem_that_says_what_is_expected(web: Web, since: str) -> None:
    answer = web.viewer.get(f"/v1/stats?since={since}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["errors"][0]["where"] == "query.since"
    assert "expected" in answer.json()["detail"]


def test_health_needs_no_token_and_says_one_word(web: Web) -> None:
    with web.anybody() as somebody:
        answer = somebody.get("/v1/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "attention"})


def test_health_is_ok_while_nothing_needs_attention(tmp_path: Path) -> None:
    (tmp_path / "webhooks.ini").write_text("[webhooks.team]\nurl = http://127.0.0.1:9\n")
    with served(tmp_path, "--no-deliver") as web:
        assert web.client.get("/v1/health").json() == {"status": "ok"}


def test_metrics_are_those_of_the_command(web: Web, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = web.viewer.get("/v1/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert main(["metrics", "--folder", str(folder)]) == 0
    assert names == {family.name for family in text_string_to_metric_families(capsys.readouterr().out)}


def test_each_key_of_an_endpoint_is_there_with_what_it_accepts(web: Web) -> None:
    found = {one["name"]: one for one in web.viewer.get("/v1/options").json()["items"]}
    assert set(found) == {*ENDPOINT_OPTIONS, *OPEN_OPTIONS, *own_options()}
    assert found["timeout"]["default"] == "15s" and "15s" in found["timeout"]["accepted"]
    assert found["secret"]["secret"] and not found["events"]["secret"]
    assert found["chat_id"]["formats"] == ["telegram"] == found["chat_id"]["needed_by"]
    assert found["timeout"]["formats"] == []
    assert "(only" not in json.dumps(found)


def test_each_format_is_there_with_its_keys(web: Web) -> None:
    found = {one["name"]: one for one in web.viewer.get("/v1/formats").json()["items"]}
    assert set(found) == set(FORMATS)
    assert (found["slack"]["is_chat"], found["generic"]["is_chat"]) == (True, False)
    assert found["telegram"]["needed"] == ["chat_id"]
    assert found["slack"]["hosts"][0] == "hooks.slack.com"


@pytest.mark.parametrize("path", ["status", "stats", "metrics", "options", "formats", "events"])
def test_all_but_health_need_a_token(web: Web, path: str) -> None:
    with web.anybody() as somebody:
        assert somebody.get(f"/v1/{path}").status_code == 401


@pytest.mark.sqlite("no outbox is created")
def test_without_an_outbox_there_are_endpoints_and_no_numbers(tmp_path: Path) -> None:
    (tmp_path / "webhooks.ini").write_text("[webhooks.team]\nurl = http://127.0.0.1:9\n")
    with served(tmp_path, "--read-only") as web:
        assert [one["endpoint"] for one in web.client.get("/v1/status").json()["endpoints"]] == ["team"]
        assert web.client.get("/v1/stats").json()["items"][0]["total"] == 0
        assert web.client.get("/v1/metrics").status_code == 200
        assert not (tmp_path / FILE).exists()


#: their defaults are words: each finding, or what decides where the key is not given
IN_WORDS = {
    "splunk_index",
    "cloudevents_source",
    "finding_types",
    "modules",
    "targets",
    "rate",
    "redact",
    "source_address",
    "splunk_channel",
}


def test_a_default_is_a_value_of_its_key(web: Web) -> None:
    options = {**all_options(), **OPEN_OPTIONS}
    for one in web.viewer.get("/v1/options").json()["items"]:
        if one["default"] is not None and one["name"] not in IN_WORDS:
            options[one["name"]].parse(one["default"])
    found = {one["name"]: one["default"] for one in web.viewer.get("/v1/options").json()["items"]}
    assert (found["verify_tls"], found["token_url"], found["apprise_tag"]) == ("true", None, None)
