"""Webhooks by the API: the second guide's commands, lost updates, keys of idempotency, and what stays in the file."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.cli import main
from sfwebhooks.config.settings import load
from sfwebhooks.outbox.file import FILE
from tests.builders import PATIENCE
from tests.conftest import Team
from tests.leaks import leaks
from tests.web.hooks import INI, SECRET, URL, Hooks, hooked
from tests.web.serving import OPERATOR, served

EVENT = next(one for one in EVENT_TYPES if one.name == "workspace_created")
#: the commands of the second guide, word for word
API = "https://api.security-audit.region.amazonaws.com"
CREDENTIALS = "AWS4-HMAC-SHA256 ..."
REGISTER = """\
curl -X POST https://api.security-audit.region.amazonaws.com/v1/webhooks \\
  -H "Content-Type: application/json" \\
  -H "Authorization: AWS4-HMAC-SHA256 ..." \\
  -d '{
    "url": "https://your-domain.com/security-webhook",
    "events": ["scan.completed", "finding.critical"],
    "secret": "your-webhook-secret-key",
    "description": "Production security notifications"
  }'
"""
LIST = """\
curl -X GET https://api.security-audit.region.amazonaws.com/v1/webhooks \\
  -H "Authorization: AWS4-HMAC-SHA256 ..."
"""
UPDATE = """\
curl -X PUT https://api.security-audit.region.amazonaws.com/v1/webhooks/webhook-123 \\
  -H "Content-Type: application/json" \\
  -H "Authorization: AWS4-HMAC-SHA256 ..." \\
  -d '{
    "events": ["scan.completed", "finding.critical", "finding.high"]
  }'
"""
DELETE = """\
curl -X DELETE https://api.security-audit.region.amazonaws.com/v1/webhooks/webhook-123 \\
  -H "Authorization: AWS4-HMAC-SHA256 ..."
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hooks]:
    with hooked(tmp_path_factory.mktemp("hooks")) as found:
        yield found


@pytest.fixture
def hooks(server: Hooks) -> Hooks:
    server.put()
    return server


def curl(hooks: Hooks, command: str, **words: str) -> tuple[int, Any]:
    """Run a command of the guide with this host and token, and with the words that its reader fills in."""
    for old, new in {API: hooks.web.url, CREDENTIALS: f"Bearer {OPERATOR}"}.items():
        command = command.replace(old, new)
    for old, new in words.items():
        command = command.replace(old.replace("_", "-"), new)
    command = f"{command.rstrip()} -sS --noproxy '*' -w '\\n%{{http_code}}'"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=PATIENCE, check=True)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body) if body else None


# --- the guide


def test_the_guide_registers_a_webhook(hooks: Hooks) -> None:
    status, made = curl(hooks, REGISTER.replace("your-domain.com", "hooks.acme.test"), your_webhook_secret_key=SECRET)
    assert (status, made["id"], made["active"], made["secret_set"]) == (201, "hooks_acme_test", True, True)
    assert (made["events"], made["mistake"]) == (["scan.completed", "finding.critical"], None)
    known = {one.name: one for one in load(hooks.path).endpoints}["hooks_acme_test"]
    assert known.url.reveal() == "https://hooks.acme.test/security-webhook"
    assert [secret.reveal() for secret in known.secrets] == [SECRET]
    assert known.description == "Production security notifications"


def test_what_the_guide_leaves_to_fill_in_is_sent_nothing_until_it_is(hooks: Hooks) -> None:
    status, made = curl(hooks, REGISTER)
    assert (status, made["id"], made["events"]) == (201, "your_domain_com", ["scan.completed", "finding.critical"])
    assert made["mistake"].startswith("url: a part of it is a placeholder")
    assert any(one.startswith("secret: this is a sample") for one in made["warnings"])
    assert [one.name for one in load(hooks.path).endpoints if not one.mistake] == ["team"]
    assert hooks.ask("POST", "your_domain_com/test").json()["reason"] == "config_mistake"
    assert hooks.ask("PATCH", "your_domain_com", {"description": "still to be filled in"}).status_code == 200
    filled = hooks.ask("PATCH", "your_domain_com", {"url": "https://hooks.acme.test/security-webhook"}).json()
    assert filled["mistake"].startswith("secret: this is a sample")
    assert hooks.ask("PATCH", "your_domain_com", {"secret": SECRET}).json()["mistake"] is None
    assert [one.name for one in load(hooks.path).endpoints if not one.mistake] == ["team", "your_domain_com"]


def test_only_a_registration_may_leave_values_to_fill_in(hooks: Hooks) -> None:
    reply = hooks.ask("PATCH", "team", {"secret": "your-webhook-secret-key"})
    assert (reply.status_code, [one["where"] for one in reply.json()["errors"]]) == (422, ["body.secret"])
    assert hooks.text == INI


def test_the_guide_lists_updates_and_deletes_a_webhook(hooks: Hooks) -> None:
    hooks.put(INI.replace("webhooks.team", "webhooks.webhook-123"))
    status, listed = curl(hooks, LIST)
    assert (status, [one["id"] for one in listed["items"]], listed["next"]) == (200, ["webhook-123"], None)
    status, changed = curl(hooks, UPDATE)
    assert (status, changed["events"]) == (200, ["scan.completed", "finding.critical", "finding.high"])
    assert curl(hooks, DELETE) == (204, None)
    assert curl(hooks, LIST)[1]["items"] == []


def test_the_guides_test_event_is_sent(hooks: Hooks, team: Team) -> None:
    hooks.put(f"[webhooks.webhook-123]\nurl = {team.url}\nevents = scan.completed\n")
    command = LIST.replace("-X GET", "-X POST").replace("/v1/webhooks", "/v1/webhooks/webhook-123/test")
    command = f"{command.rstrip()} -H 'Content-Type: application/json' -d '{{\"event\": \"scan.completed\"}}'"
    status, tested = curl(hooks, command)
    assert (status, tested["delivered"], tested["event"]) == (200, True, "scan.completed")
    assert team.wait_for(1)[0].message["data"]["test"] is True
    assert [step["step"] for step in tested["steps"]] == ["resolve", "connect", "send", "wait", "read"]
    assert all(step["words"] for step in tested["steps"])


# --- what is shown


def test_no_secret_is_shown(hooks: Hooks) -> None:
    for reply in (hooks.ask("GET"), hooks.ask("GET", "team"), hooks.ask("PATCH", "team", {"active": False})):
        assert reply.status_code == 200
        assert leaks(reply.text + str(reply.headers), SECRET, "9f8e7d6c5b4a39281706", "kT7uWq2ZxV5nBm8LsR4e") == []
    found = hooks.ask("GET", "team").json()
    assert (found["url"], found["settings"]) == ("https://siem.example.com/***", {"api_key": "***"})


def test_a_viewer_sees_them_and_changes_nothing(hooks: Hooks) -> None:
    viewer = hooks.web.viewer
    assert viewer.get("/v1/webhooks/team").json()["id"] == "team"
    made = [
        viewer.post("/v1/webhooks", json={"url": URL}),
        viewer.put("/v1/webhooks/team", json={}),
        viewer.patch("/v1/webhooks/team", json={}),
        viewer.delete("/v1/webhooks/team"),
        *(viewer.post(f"/v1/webhooks/team/{act}") for act in ("test", "pause", "resume")),
    ]
    assert {one.status_code for one in made} == {403}
    assert hooks.text == INI


def test_a_url_of_which_everything_may_be_shown_is_shown(hooks: Hooks) -> None:
    hooks.put("[webhooks.a]\nurl = https://siem.example.com:8443/\n[webhooks.b]\nurl = env:MISSING\n")
    shown = {one["id"]: (one["url"], one["mistake"] is None) for one in hooks.ask("GET").json()["items"]}
    assert shown == {"a": ("https://siem.example.com:8443", True), "b": ("***", False)}


def test_mistakes_are_shown_with_the_webhooks_that_they_hold(hooks: Hooks) -> None:
    hooks.put(INI.replace("events = all", "events = all\ntimeout = soon"))
    found = hooks.ask("GET").json()
    assert "timeout" in found["items"][0]["mistake"]
    assert any("timeout" in one for one in found["mistakes"])


def test_an_endpoint_whose_events_are_unknown_is_listed(hooks: Hooks) -> None:
    hooks.put(INI.replace("events = all", "events = no_such_event"))
    (found,) = hooks.ask("GET").json()["items"]
    assert (found["id"], "events" in found["mistake"]) == ("team", True)
    assert hooks.ask("PUT", "team", {"events": ["all"]}).json()["mistake"] is None


def test_settings_that_cannot_be_read_at_all_are_a_mistake(hooks: Hooks) -> None:
    hooks.put("not a settings file\n")
    found = hooks.ask("GET").json()
    assert (found["items"], len(found["mistakes"])) == ([], 1)
    assert hooks.refused("POST", "", {"url": URL})[0] == 409


def test_settings_that_are_gone_are_a_problem(hooks: Hooks) -> None:
    hooks.path.unlink()
    assert (hooks.ask("GET").status_code, hooks.ask("POST", "", {"url": URL}).status_code) == (409, 409)


def test_an_outbox_that_cannot_be_read_makes_the_state_unknown(hooks: Hooks) -> None:
    outbox = hooks.path.with_name(FILE)
    before = outbox.read_bytes() if outbox.exists() else None
    for one in hooks.path.parent.glob(f"{FILE}*"):
        one.unlink()
    outbox.write_bytes(b"not a database" * 1000)
    try:
        found = hooks.ask("GET").json()["items"]
        made = hooks.ask("POST", "", {"id": "new", "url": URL})
        assert ([one["status"]["state"] for one in found], made.status_code) == (["unknown"], 201)
        assert hooks.ask("POST", "team/pause").status_code == 503
    finally:
        outbox.unlink()
        if before:
            outbox.write_bytes(before)


def test_a_stray_key_is_a_mistake_and_not_a_webhook(hooks: Hooks) -> None:
    hooks.put(INI.replace("timeout = 20s", "timeout = 20s\nteem.format = siem"))
    found = hooks.ask("GET").json()
    assert ([one["id"] for one in found["items"]], len(found["mistakes"]) > 0) == (["team"], True)


# --- registering


def test_a_new_webhook_comes_with_its_place_and_its_tag(hooks: Hooks) -> None:
    made = hooks.ask("POST", "", {"id": "new", "url": URL, "settings": {"timeout": "5s"}, "active": False})
    assert (made.status_code, made.headers["Location"]) == (201, "/v1/webhooks/new")
    assert hooks.ask("GET", "new").headers["ETag"] == made.headers["ETag"]
    assert hooks.text.startswith(INI)
    assert hooks.text[len(INI) :] == f"\n[webhooks.new]\nurl = {URL}\nenabled = false\ntimeout = 5s\n"


def test_names_that_follow_from_the_host_are_numbered(hooks: Hooks) -> None:
    names = [hooks.ask("POST", "", {"url": "http://10.0.0.1:99/x", "settings": {}}).json()["id"] for _ in range(3)]
    assert names == ["10_0_0_1", "10_0_0_1_2", "10_0_0_1_3"]


def test_the_format_of_a_service_follows_from_its_host(hooks: Hooks) -> None:
    url = "https://hooks.slack.com/services/T02ABCDEF/B09GHIJKL/qT5zR8wXy1LmN3oPs7uVk2aB"
    made = hooks.ask("POST", "", {"url": url}).json()
    assert (made["id"], made["format"], made["url"]) == ("hooks_slack_com", "slack", "https://hooks.slack.com/***")


def test_doubts_about_a_new_webhook_come_with_it(hooks: Hooks) -> None:
    hooks.put("")
    made = hooks.ask("POST", "", {"id": "new", "url": URL})
    assert "has no secret" in made.json()["warnings"][0]


def test_a_name_that_exists_is_refused(hooks: Hooks) -> None:
    status, words = hooks.refused("POST", "", {"id": "team", "url": URL})
    assert (status, '"team"' in words) == (409, True)


@pytest.mark.parametrize("name", ["a b", "a/b", "../x", "-x", "header", "metadata", "x" * 65, "é", "a]\n[b", "\ud800"])
def test_a_name_that_cannot_be_one_is_refused(hooks: Hooks, name: str) -> None:
    status, words = hooks.refused("POST", "", json.dumps({"id": name, "url": URL}).encode())
    assert (status, "body.id" in words) == (422, True)


# --- changing


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_change_leaves_everything_else_in_the_file(hooks: Hooks, method: str) -> None:
    changed = {"description": "ours", "settings": {"timeout": "5s"}}
    assert hooks.ask(method, "team", changed).status_code == 200
    assert hooks.text == INI.replace("events = all\n", "events = all\ndescription = ours\ntimeout = 5s\n")


def test_null_removes_a_value(hooks: Hooks) -> None:
    changed = {"secret": None, "events": None, "settings": {"api_key": None, "timeout": None}}
    found = hooks.ask("PATCH", "team", changed).json()
    assert (found["secret_set"], found["settings"], "all" in found["events"]) == (False, {}, False)


def test_what_was_shown_can_be_sent_back(hooks: Hooks) -> None:
    shown = hooks.ask("GET", "team")
    reply = hooks.ask("PUT", "team", shown.json())
    assert (reply.status_code, reply.headers["ETag"]) == (200, shown.headers["ETag"])
    assert hooks.text == INI


def test_an_unknown_webhook_is_not_found(hooks: Hooks) -> None:
    asked = [("GET", ""), ("PUT", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/pause")]
    replies = [hooks.ask(method, f"taem{act}", None if method == "GET" else {}) for method, act in asked]
    assert {one.status_code for one in replies} == {404}
    assert all('Did you mean "team"?' in one.json()["detail"] for one in replies)


def test_a_name_cannot_be_changed(hooks: Hooks) -> None:
    assert hooks.refused("PATCH", "team", {"id": "other"})[0] == 422


def test_mistakes_elsewhere_do_not_keep_anybody_from_changing(hooks: Hooks) -> None:
    hooks.put(INI + "\n[webhooks.broken]\nurl = nonsense\n")
    assert hooks.ask("PATCH", "team", {"active": False}).status_code == 200
    assert hooks.text == (INI + "\n[webhooks.broken]\nurl = nonsense\n").replace(
        "events = all\n", "events = all\nenabled = false\n"
    )


def test_a_webhook_is_removed_and_nothing_else(hooks: Hooks) -> None:
    assert hooks.ask("DELETE", "team").status_code == 204
    begin, _, rest = INI.partition("[webhooks.team]")
    assert hooks.text == f"{begin}# behind it{rest.partition('# behind it')[2]}"


# --- two clients


def test_the_second_of_two_updates_is_not_lost(hooks: Hooks) -> None:
    seen = hooks.ask("GET", "team").headers["ETag"]
    first = hooks.ask("PATCH", "team", {"description": "first"}, If_Match=seen)
    status, words = hooks.refused("PATCH", "team", {"description": "second"}, If_Match=seen)
    assert (first.status_code, status, "ETag" in words) == (200, 412, True)
    assert hooks.ask("DELETE", "team", None, If_Match=seen).status_code == 412
    again = hooks.ask("PATCH", "team", {"description": "second"}, If_Match=first.headers["ETag"])
    assert (again.status_code, again.json()["description"]) == (200, "second")


def test_an_edit_of_the_file_changes_the_tag(hooks: Hooks) -> None:
    seen = hooks.ask("GET", "team").headers["ETag"]
    hooks.put(INI.replace("9f8e7d6c5b4a39281706", "another"))
    assert hooks.ask("PATCH", "team", {"active": False}, If_Match=seen).status_code == 412


@pytest.mark.parametrize("tags", ['"x"', "", 'W/{tag}, "y"', "{tag}x"])
def test_a_tag_that_is_none_of_ours_matches_nothing(hooks: Hooks, tags: str) -> None:
    tag = hooks.ask("GET", "team").headers["ETag"]
    assert hooks.ask("PATCH", "team", {"active": False}, If_Match=tags.format(tag=tag)).status_code == 412


@pytest.mark.parametrize("tags", ["*", '"x", {tag}'])
def test_any_tag_of_several_may_match(hooks: Hooks, tags: str) -> None:
    tag = hooks.ask("GET", "team").headers["ETag"]
    assert hooks.ask("PATCH", "team", {"active": False}, If_Match=tags.format(tag=tag)).status_code == 200


def test_a_request_with_a_key_is_made_once(hooks: Hooks) -> None:
    made = [hooks.ask("POST", "", {"url": URL}, Idempotency_Key="once") for _ in range(2)]
    assert [one.status_code for one in made] == [201, 201]
    assert (made[0].json(), made[0].headers["ETag"]) == (made[1].json(), made[1].headers["ETag"])
    assert ("Idempotency-Replayed" in made[0].headers, "Idempotency-Replayed" in made[1].headers) == (False, True)
    assert [one["id"] for one in hooks.ask("GET").json()["items"]] == ["team", "siem_example_com"]
    assert hooks.refused("POST", "", {"url": URL + "2"}, Idempotency_Key="once")[0] == 422


@pytest.mark.parametrize("key", ["", "x" * 256, "a b"])
def test_a_malformed_key_is_refused(hooks: Hooks, key: str) -> None:
    status, words = hooks.refused("POST", "", {"url": URL}, Idempotency_Key=key)
    assert (status, "header.Idempotency-Key" in words) == (422, True)


def test_a_request_that_failed_may_be_repeated_with_its_key(hooks: Hooks) -> None:
    assert hooks.refused("POST", "", {"url": "nonsense"}, Idempotency_Key="failed")[0] == 422
    assert hooks.ask("POST", "", {"url": URL}, Idempotency_Key="failed").status_code == 201


# --- pause, resume, test


def test_a_webhook_is_paused_and_resumed(hooks: Hooks) -> None:
    assert hooks.ask("POST", "team/pause", {"for": "2h"}).json()["until"] is not None
    found = hooks.ask("GET", "team").json()["status"]
    assert (found["state"], found["paused_until"] is None) == ("paused", False)
    assert hooks.ask("POST", "team/resume").json() == {"endpoint": "team", "was_stopped": True}
    assert hooks.ask("POST", "team/resume").json() == {"endpoint": "team", "was_stopped": False}
    assert hooks.ask("POST", "team/pause").json() == {"endpoint": "team", "until": None}
    assert hooks.ask("GET", "team").json()["status"]["state"] == "paused"
    assert hooks.ask("POST", "team/resume").status_code == 200


@pytest.mark.parametrize("span", ["soon", "", "-1h", "1", "9" * 40 + "d", "\ud800"])
def test_a_pause_of_no_length_is_refused(hooks: Hooks, span: str) -> None:
    assert hooks.ask("POST", "team/pause", json.dumps({"for": span}).encode()).status_code == 422


def test_one_that_is_off_is_neither_tested_nor_paused(hooks: Hooks) -> None:
    hooks.put(INI.replace("events = all", "enabled = false"))
    replies = [hooks.ask("POST", f"team/{act}") for act in ("test", "pause", "resume")]
    assert {one.status_code for one in replies} == {409}
    assert all("sfwebhooks enable team" in one.json()["detail"] for one in replies)


def test_a_test_that_fails_says_why(hooks: Hooks, team: Team) -> None:
    team.answer = 403
    hooks.put(f"[webhooks.team]\nurl = {team.url}\n")
    found = hooks.ask("POST", "team/test").json()
    assert (found["delivered"], found["status"], found["cure"] != "") == (False, 403, True)
    assert hooks.ask("POST", "team/test", {"event": "no_such_event"}).status_code == 422


def test_a_test_that_reaches_nobody_says_in_which_step(hooks: Hooks) -> None:
    hooks.put("[webhooks.team]\nurl = http://127.0.0.1:9/\n")
    found = hooks.ask("POST", "team/test").json()
    assert (found["delivered"], found["status"]) == (False, None)
    assert [(step["step"], step["failed"]) for step in found["steps"]] == [("resolve", False), ("connect", True)]


# --- a running process


@pytest.mark.slow
def test_a_running_server_sends_to_what_was_just_registered(tmp_path: Path, receive: Callable[..., Team]) -> None:
    path, team = tmp_path / "spiderfoot.conf", receive([SECRET])
    path.touch(0o600)
    path.write_text("[webhooks]\n")
    with served(tmp_path) as web:
        hooks = Hooks(web, path)
        made = hooks.ask("POST", "", {"id": "team", "url": team.url, "events": ["all"], "secret": SECRET})
        assert made.status_code == 201
        data = tmp_path / "data.json"
        data.write_text(json.dumps(EVENT.example))
        place = ["--config", str(path), "--folder", str(tmp_path)]
        assert main(["emit", EVENT.name, "--data", str(data), *place]) == 0
        assert team.wait_for(1)[0].problems == ()
    assert leaks("".join(web.said), SECRET) == []


def test_a_server_that_only_reads_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "spiderfoot.conf"
    with_text = Hooks.put(Hooks(None, path), INI)  # type: ignore[arg-type]
    with served(tmp_path, "--read-only") as web:
        hooks = Hooks(web, with_text)
        assert hooks.refused("POST", "", {"url": URL})[0] == 403
        assert hooks.refused("DELETE", "team")[0] == 403
        assert {hooks.ask("POST", f"team/{act}").status_code for act in ("test", "pause", "resume")} == {403}
        assert hooks.ask("GET", "team").status_code == 200
