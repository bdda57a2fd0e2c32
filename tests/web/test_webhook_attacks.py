"""Hostile requests about webhooks: nothing but the meant endpoint changes, nothing of this machine is read, and no
secret comes out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfwebhooks.config.options import all_options
from sfwebhooks.config.settings import load
from sfwebhooks.config.values import path as file_name
from tests.conftest import Team
from tests.leaks import leaks
from tests.tiers import quick_first
from tests.web.hooks import INI, SECRET, URL, Hooks, hooked
from tests.web.serving import served

LOCAL = sorted(name for name, option in all_options().items() if option.parse is file_name)
READ = sorted(name for name, option in all_options().items() if option.secret or option.sourced)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hooks]:
    with hooked(tmp_path_factory.mktemp("attacked")) as found:
        yield found
    said = found.web.said
    assert not [line for line in said if "Traceback" in line or "Error" in line]
    assert leaks("".join(said), SECRET, "kT7uWq2ZxV5nBm8LsR4e") == []


@pytest.fixture
def hooks(server: Hooks) -> Hooks:
    server.put()
    return server


def with_value(key: str, text: object) -> dict[str, Any]:
    own = ("url", "secret", "description", "format", "events")
    return {key: text} if key in own else {"settings": {key: text}}


# --- values that would be read as something else


INJECTIONS = (
    "a\n[webhooks.evil]\nurl = https://evil.example.com/",
    "a\r\n[webhooks.evil]\r\nurl = https://evil.example.com/",
    "a\r[webhooks.evil]",
    "a\nurl = https://evil.example.com/",
    "a\n    enabled = false",
    "[webhooks.evil]",
    "a\u2028[webhooks.evil]",
    "a\x85[webhooks.evil]",
    "a\x0b[webhooks]",
    "a\x00b",
    "a\x1b[31m",
    "\ud800",
    "a\n# b",
    "a\n; b",
)


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("key", ["description", "url", "secret", "metadata.team", "header.X-Team", "events"])
def test_a_value_is_nothing_but_a_value(hooks: Hooks, key: str, text: str) -> None:
    value = [text] if key == "events" else text
    reply = hooks.ask("PATCH", "team", json.dumps(with_value(key, value)).encode())
    found = load(hooks.path)
    assert [one.name for one in found.known] == ["team"]
    assert found.mistakes == ()
    if reply.status_code != 200:
        assert (reply.status_code, hooks.text) == (422, INI)
    else:
        (team,) = found.endpoints
        assert team.enabled
        assert key == "url" or team.url.reveal().startswith(URL)
    assert not leaks(reply.text, SECRET)


@pytest.mark.parametrize(
    "key",
    ["evil.url", "a\n[webhooks.evil]\nurl", "header.A=B", "header.A: b", "header.\ud800", "#x",
     "", "url ", "Url", "webhooks.evil", "header.Host", "x" * 200],
)  # fmt: skip
def test_a_key_is_nothing_but_a_key(hooks: Hooks, key: str) -> None:
    body = json.dumps({"settings": {key: "https://evil.example.com/"}}).encode()
    assert hooks.refused("PATCH", "team", body)[0] == 422
    assert hooks.refused("POST", "", json.dumps({"url": URL, "settings": {key: "x"}}).encode())[0] == 422


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b"{}",
        b'{"url": null}',
        b'{"url": 1}',
        b'{"url": ["https://a.test/"]}',
        b'{"url": "https://a.test/", "events": "all"}',
        b'{"url": "https://a.test/", "events": []}',
        b'{"url": "https://a.test/", "events": [1]}',
        b'{"url": "https://a.test/", "active": "yes"}',
        b'{"url": "https://a.test/", "settings": {"timeout": 5}}',
        b'{"url": "https://a.test/", "settings": []}',
        b'{"url": "https://a.test/", "unknown": 1}',
        b'{"url": "https://a.test/", "settings": {"url": "https://b.test/"}}',
        b'{"url": "https://a.test/", "settings": {"enabled": "false"}}',
        b'{"url": "", "id": "x"}',
        b'{"url": "***"}',
        b'{"url": "https://[::1"}',
        b'{"url": "javascript:alert(1)"}',
        b'{"url": "https://a.test/", "secret": "***"}',
        b'{"url": "https://a.test/", "secret": "new"}',
        b'{"url": "https://a.test/", "url": ' + b"[" * 5000,
        b"[" * 100_000,
        json.dumps({"url": "https://a.test/", "settings": {f"metadata.k{one}": "x" for one in range(201)}}).encode(),
        json.dumps({"url": "https://a.test/", "events": ["scan_completed"] * 1001}).encode(),
        json.dumps({"url": f"https://a.test/{'x' * 100_000}"}).encode(),
        b'{"url": "https://a.test/", "description": "' + b"x" * 900_000 + b'"}',
    ],
)
def test_a_body_of_another_form_is_refused(hooks: Hooks, body: bytes) -> None:
    assert hooks.refused("POST", "", body)[0] in (400, 422)


def test_a_huge_body_is_refused(hooks: Hooks) -> None:
    assert hooks.refused("POST", "", b'{"url": "' + b"x" * 5_000_000 + b'"}')[0] == 413


def test_a_body_may_not_repeat_a_value_in_its_problem(hooks: Hooks) -> None:
    body = {"url": f"ftp://a.test/{SECRET}", "secret": f"x {SECRET}", "settings": {"proxy": SECRET, SECRET: "x"}}
    for asked in (body, {**body, "settings": {"proxy": SECRET}}, {**body, "active": SECRET}, {**body, SECRET: 1}):
        reply = hooks.ask("POST", "", {**asked, "id": "new"})
        assert (reply.status_code, leaks(reply.text.replace(f"body.{SECRET}", ""), SECRET)) == (422, [])


@pytest.mark.parametrize("name", ["..", "../../etc/passwd", "%00", "a%0ab", "%ff", "team%2f..", "é", "x" * 5000])
def test_a_name_in_the_address_is_only_looked_up(hooks: Hooks, name: str) -> None:
    replies = [hooks.web.client.request(method, f"/v1/webhooks/{name}", json={}) for method in ("GET", "PUT", "DELETE")]
    assert {one.status_code for one in replies} <= {404, 405}
    assert hooks.text == INI


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.one_of(
        st.sampled_from(sorted(all_options())), st.text(max_size=30), st.just("header.X-A"), st.just("metadata.a")
    ),
    text=st.text(max_size=60),
)
def test_whatever_is_given_the_file_has_no_mistake_and_no_other_endpoint(hooks: Hooks, key: str, text: str) -> None:
    hooks.put()
    reply = hooks.ask("PATCH", "team", json.dumps(with_value(key, text)).encode())
    assert reply.status_code in (200, 422)
    found = load(hooks.path)
    assert ([one.name for one in found.known], found.mistakes) == (["team"], ())
    assert hooks.text.endswith("[other]\nkey = value  ; kept\n")


# --- this machine


@pytest.mark.parametrize("key", quick_first(LOCAL, 1))
def test_no_path_of_this_machine_comes_from_outside(hooks: Hooks, key: str) -> None:
    for body in (with_value(key, "/etc/passwd"), with_value(key, "x.pem")):
        status, words = hooks.refused("PATCH", "team", body)
        assert (status, f"body.settings.{key}" in words) == (422, True)
        assert hooks.refused("POST", "", {"url": URL, **body})[0] == 422


@pytest.mark.parametrize("key", quick_first([*READ, "header.X-Team"], 3))
@pytest.mark.parametrize(
    "text", ["file:/etc/passwd", "env:HOME", "  file:/etc/passwd", "file: /etc/passwd", "\nenv:HOME"]
)
def test_no_value_reads_a_variable_or_file(hooks: Hooks, key: str, text: str) -> None:
    status, words = hooks.refused("PATCH", "team", with_value(key, text))
    assert (status, key in words) == (422, True)
    assert hooks.refused("POST", "", {"url": URL, "id": "new", **with_value(key, text)})[0] == 422


def test_no_template_comes_from_outside(hooks: Hooks) -> None:
    endless = {"format": "template", "settings": {"template": "{{ 'a'|center(999999999) }}"}}
    for method, name, body in (("PATCH", "team", endless), ("POST", "", {"url": URL, "id": "new", **endless})):
        status, words = hooks.refused(method, name, body)
        assert (status, "body.settings.template" in words) == (422, True)
    hooks.put(INI.replace("events = all", "events = all\nformat = template\ntemplate = {{ severity }}"))
    same = {"format": "template", "description": "ours", "settings": {"template": "{{ severity }}"}}
    assert hooks.ask("PATCH", "team", same).status_code == 200


def test_references_that_are_there_stay(hooks: Hooks) -> None:
    secret = hooks.path.with_name("team.secret")
    secret.touch(0o600)
    secret.write_text(SECRET)
    pem = hooks.path.with_name("ca.pem")
    text = INI.replace(f"secret = {SECRET}", f"secret = file:team.secret\nca_bundle = {pem}").replace("\n", "\n")
    hooks.put(text)
    body = {"secret": "file:team.secret", "settings": {"ca_bundle": str(pem)}, "description": "ours"}
    before = len(load(hooks.path).mistakes)
    assert hooks.ask("PATCH", "team", body).status_code == 200
    assert ("secret = file:team.secret\n" in hooks.text, len(load(hooks.path).mistakes)) == (True, before)


@pytest.mark.parametrize("refused", ["false", "no", "Off"])
def test_no_private_address_is_allowed_from_outside(hooks: Hooks, refused: str) -> None:
    hooks.put(INI.replace("timeout = 20s", f"allow_private = {refused}"))
    allowed = {"settings": {"allow_private": "true"}}
    for method, name, body in (("PATCH", "team", allowed), ("POST", "", {"url": "http://127.0.0.1:5001/", **allowed})):
        status, words = hooks.refused(method, name, body)
        assert (status, "body.settings.allow_private" in words) == (422, True)
    assert hooks.ask("PATCH", "team", {"settings": {"allow_private": "no"}}).status_code == 200
    assert hooks.ask("PATCH", "team", {"settings": {"allow_private": None}}).status_code == 200
    hooks.put()
    assert hooks.ask("PATCH", "team", allowed).status_code == 200


# --- credentials


def test_a_credential_does_not_go_to_another_receiver(hooks: Hooks) -> None:
    status, words = hooks.refused("PATCH", "team", {"url": "https://evil.example.com/"})
    assert (status, "body.settings.api_key" in words) == (422, True)
    assert hooks.ask("PATCH", "team", {"url": "https://siem.example.com/elsewhere"}).status_code == 200
    assert hooks.ask("PATCH", "team", {"url": URL.replace("https", "http")}).status_code == 422
    moved = {"url": "https://new.example.com/", "settings": {"api_key": "a-new-key-for-the-new-one"}}
    assert hooks.ask("PATCH", "team", moved).status_code == 200
    without = {"url": "https://evil.example.com/", "settings": {"api_key": None}}
    assert hooks.ask("PATCH", "team", without).status_code == 200


@pytest.mark.parametrize(
    "way", [{"verify_tls": "false"}, {"proxy": "http://evil.example.com:3128"}, {"verify_tls": "no"}]
)
def test_nobody_gets_between_by_a_change_of_the_way(hooks: Hooks, way: dict[str, str]) -> None:
    status, words = hooks.refused("PATCH", "team", {"settings": way})
    assert (status, "body.url" in words, "body.settings.api_key" in words) == (422, True, True)


def test_a_client_secret_does_not_go_to_another_token_endpoint(hooks: Hooks) -> None:
    auth = "auth = oauth2\ntoken_url = https://login.example.com/\nclient_id = a\nclient_secret = kT7uWq2ZxV5n"
    hooks.put(INI.replace("api_key = kT7uWq2ZxV5nBm8LsR4e", auth))
    status, words = hooks.refused("PATCH", "team", {"settings": {"token_url": "https://evil.example.com/"}})
    assert (status, "body.settings.client_secret" in words) == (422, True)


def test_a_new_receiver_does_not_inherit_a_credential(hooks: Hooks) -> None:
    hooks.put(INI.replace("timeout = 20s", "api_key = iN8hErItEd4kEy2vAlUe\nheader.X-Key = hEaDeR7vAlUe3sEcReT"))
    status, words = hooks.refused("POST", "", {"id": "new", "url": URL})
    assert (status, "api_key" in words, "header.X-Key" in words) == (422, True, True)
    empty = {"api_key": "", "header.X-Key": ""}
    assert hooks.ask("POST", "", {"id": "new", "url": URL, "settings": empty}).status_code == 201
    assert hooks.refused("PATCH", "new", {"settings": {"api_key": None}})[0] == 422
    assert hooks.ask("PATCH", "new", {"settings": {"api_key": "a-key-of-its-own"}}).status_code == 200


def test_a_test_does_not_show_what_a_receiver_repeats(hooks: Hooks, team: Team) -> None:
    hooks.put(f"[webhooks.team]\nurl = {team.url}9f8e7d6c5b4a39281706\nsecret = {SECRET}\n")
    reply = hooks.ask("POST", "team/test")
    assert (reply.json()["delivered"], leaks(reply.text, SECRET, "9f8e7d6c5b4a39281706")) == (True, [])


# --- the file


def test_a_secret_goes_only_into_a_private_file(hooks: Hooks) -> None:
    hooks.put(mode=0o644)
    status, words = hooks.refused("PATCH", "team", {"secret": "another-secret-of-the-team"})
    assert (status, f"chmod 600 {hooks.path}" in words) == (409, True)
    assert hooks.ask("PATCH", "team", {"description": "not a secret"}).status_code == 200


def test_a_file_of_json_is_not_edited(tmp_path: Path) -> None:
    path = tmp_path / "webhooks.json"
    path.touch(0o600)
    path.write_text(json.dumps({"team": {"url": URL, "secret": SECRET}}))
    with served(tmp_path, "--no-deliver", "--config", str(path)) as web:
        hooks = Hooks(web, path)
        assert hooks.ask("GET", "team").json()["secret_set"] is True
        for method, name, body in (
            ("POST", "", {"url": URL}),
            ("PATCH", "team", {"active": False}),
            ("DELETE", "team", None),
        ):
            status, words = hooks.refused(method, name, body)
            assert (status, "is JSON, and commands edit INI files only" in words) == (409, True)


def test_a_file_with_two_sections_of_a_name_is_not_edited(hooks: Hooks) -> None:
    hooks.put(INI + "\n[webhooks.team]\nformat = siem\n")
    status, words = hooks.refused("PATCH", "team", {"active": False})
    assert (status, "given twice" in words) == (409, True)
