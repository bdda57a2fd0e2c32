"""What a reason means, and what helps."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Any

import pytest

from sfwebhooks.attempts import Attempt
from sfwebhooks.delivery.troubleshooting import cure, meaning
from sfwebhooks.demo.certificates import Authority
from sfwebhooks.endpoints import Secret
from sfwebhooks.events import Batch
from sfwebhooks.pipeline import deliver
from sfwebhooks.reasons import DeadReason, Failure
from sfwebhooks.receive.server import server_context
from sfwebhooks.sending import SendingState
from tests.builders import PATIENCE, a_delivery, an_endpoint
from tests.conftest import Team
from tests.rows import in_one


def attempt(url: str, **values: Any) -> Attempt:
    """Return an attempt at an endpoint."""
    endpoint = an_endpoint(url=url, **{"timeout": PATIENCE, **values})
    return deliver(Batch((a_delivery(),)), SendingState(endpoint), time.time)[0].attempt


def helps(url: str, **values: Any) -> str:
    """Return what helps an endpoint."""
    made = attempt(url, **values)
    return cure(made.reason, made.excerpt)


@pytest.mark.parametrize("failure", list(Failure))
def test_each_failure_has_something_that_helps(failure: Failure) -> None:
    assert cure(failure.value)


@pytest.mark.parametrize(
    "status", [301, 302, 307, 400, 401, 402, 403, 404, 405, 413, 418, 429, 451, 500, 502, 504, 599]
)
def test_each_status_that_is_not_success_has_something_that_helps(status: int) -> None:
    assert cure(f"http_{status}")


def test_success_needs_no_help() -> None:
    assert cure("http_200") == cure("") == ""


@pytest.mark.parametrize("reason", ["refused: http_403", "split: http_403", "retries_exhausted: http_403", "http_403"])
def test_a_reason_within_ours_is_what_is_helped(reason: str) -> None:
    assert "web application firewall" in cure(reason)


@pytest.mark.parametrize("reason", list(DeadReason))
def test_each_reason_of_a_dead_letter_has_a_meaning(reason: DeadReason) -> None:
    assert meaning(reason.value) and meaning(f"{reason.value}: http_500")


def test_another_reason_has_no_meaning_of_ours() -> None:
    assert meaning("http_500") == ""


@in_one(
    ("reason", "words", "helps"),
    [
        ("timeout", "no answer in time (connect)", "open the firewall"),
        ("timeout", "no answer in time (TLS handshake)", "may not speak https"),
        ("timeout", "no answer in time (reply)", "raise timeout"),
        ("timeout", "no answer in time (connection)", "the proxy is slow"),
        ("connection_failed", "Connection refused", "nothing listens there"),
        ("connection_failed", "No route to host", "no route to that network"),
        ("tls_unverified", "certificate has expired", "renew it there"),
        ("tls_unverified", "unable to get local issuer certificate", "ca_bundle"),
        ("http_400", "The plain HTTP request was sent to HTTPS port", "write https://"),
        ("http_400", "Client sent an HTTP request to an HTTPS server.", "write https://"),
        ("no_service", "no_service", "create a new one"),
        ("http_200_but_not_ok", "<html>", "not from the service that format names"),
        ("http_404", '{"message": "Unknown Webhook", "code": 10015}', "Discord does not know this webhook"),
        ("http_401", '{"message": "Invalid Webhook Token", "code": 50027}', "Discord does not know this webhook"),
        ("http_400", '{"message": "...", "code": 220001}', "add ?thread_id=ID to url"),
        ("http_400", "Bad Request: chat not found", "correct chat_id"),
        ("http_400", "group chat was upgraded to a supergroup chat", "set chat_id to the number in the answer"),
        ("http_401", '{"ok":false,"error_code":401,"description":"Unauthorized"}', "correct the token in url"),
        ("http_403", "Forbidden: bot was kicked from the supergroup chat", "add the bot to the chat again"),
        ("http_400", '{"id":"web.incoming_webhook.invalid.app_error"}', "Mattermost does not accept this webhook"),
        ("http_501", '{"id":"web.incoming_webhook.disabled.app_error"}', "Mattermost does not accept this webhook"),
        ("http_204_no_such_key", "", "has no configuration under the key in url"),
        ("http_424", "", "check the server's log"),
        ("topic_in_url", "", "remove the topic from url"),
        ("topic_disallowed", "", "set another topic"),
        ("errcode_310000", "", "look the code up"),
        ("refused: code_-1", "", "look the code up"),
        ("http_403", "The user is not of the same organisation as the original creator", "of that organisation"),
        ("refused: http_413", "Report file is too large. Maximum supported size is 100 MB", "DD_SCAN_FILE_MAX_SIZE"),
        ("taxii_objects_refused", "", "accepts STIX 2.1"),
    ],
)
def test_the_words_of_an_attempt_decide_what_helps(reason: str, words: str, helps: str) -> None:
    assert helps in cure(reason, words)


def test_https_to_a_port_that_speaks_http_is_known(team: Team) -> None:
    assert "this port speaks http" in helps(team.url.replace("http://", "https://"))


def test_http_to_a_port_that_speaks_https_is_known(receive: Callable[..., Team], https: ssl.SSLContext) -> None:
    assert "https:// in url" in helps(receive(tls=https).url.replace("https://", "http://"))


def test_a_ca_that_is_not_known_is_to_be_named(receive: Callable[..., Team], https: ssl.SSLContext) -> None:
    assert "in ca_bundle" in helps(receive(tls=https).url)


def test_a_certificate_for_another_name_is_known(receive: Callable[..., Team], authority: Authority) -> None:
    other = authority.issue("other.test", hosts=("other.test",))
    team = receive(tls=server_context(other.cert, other.key))
    assert "use one of its names in url" in helps(team.url, ca_bundle=authority.cert)


def test_a_client_certificate_that_is_wanted_is_to_be_set(
    receive: Callable[..., Team], mtls: ssl.SSLContext, authority: Authority
) -> None:
    assert "set client_cert" in helps(receive(tls=mtls).url, ca_bundle=authority.cert)


def test_a_receiver_that_is_not_there_is_to_be_started(team: Team) -> None:
    team.receiver.stop()
    assert "start the receiver" in helps(team.url)


def test_a_proxy_that_is_not_there_is_to_be_looked_at(team: Team) -> None:
    assert "check the proxy setting" in helps(team.url, proxy=Secret("http://127.0.0.1:9"))
