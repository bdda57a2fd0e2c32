from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.endpoints import Secret
from sfwebhooks.events import Delivery
from sfwebhooks.formats import dingtalk
from sfwebhooks.formats.cutting import smallest
from sfwebhooks.formats.notice import Notice
from sfwebhooks.retry import judge
from tests.builders import NOW, a_batch, a_delivery, an_endpoint, an_event
from tests.formats.cases import (
    LINK,
    each_past,
    mistakes_of,
    past,
    rendered,
    settings_of,
)
from tests.formats.conftest import Served, Start
from tests.receivers.notifiers import DingTalk

SECRET = DingTalk.secret
DONE = {"errcode": 0, "errmsg": "ok"}


def sent(delivery: Delivery) -> dict[str, Any]:
    message = rendered("dingtalk", delivery)
    assert DingTalk().problem(message) == ""
    return message


def test_a_finding_is_a_heading_lines_and_a_link() -> None:
    text = sent(a_delivery())["markdown"]["text"]
    assert text.startswith("#### High: VULNERABILITY\\_CVE\\_HIGH\n\nCVE-2026-0001  \nTarget: acme.example  \n")
    assert text.endswith(f" · \\#1\n\n[Open scan]({LINK})")


def test_an_address_cannot_break_out_of_the_link() -> None:
    notice = Notice(headline="h", body="b", facts=(), colour="", footer=("f",), link="https://h.example/(a)?x")
    assert dingtalk.dingtalk_body(notice, 1000)["markdown"]["text"].endswith("[Open scan](https://h.example/%28a%29?x)")


@each_past
def test_what_is_not_live_says_so(how: str) -> None:
    assert f" · {how}\n" in sent(past(how))["markdown"]["text"]


def test_a_text_of_16000_bytes_is_left_as_it_is_and_one_that_json_doubles_is_halved() -> None:
    def text(body: str) -> str:
        notice = Notice(headline="h", body=body, facts=(), colour="", footer=("f",))
        message = json.loads(smallest(lambda cap: dingtalk.dingtalk_body(notice, cap), dingtalk.CAPS, 20_000))
        assert DingTalk().problem(message) == ""
        return str(message["markdown"]["text"])

    assert text("b" * 15_996) == "#### h\n\n" + "b" * 15_996 + "  \nf"
    assert text("b" * 15_997) == "#### h\n\n" + "b" * 15_993 + "…  \nf"
    assert text('"' * 15_996) == "#### h\n\n" + '"' * 7_993 + "…  \nf"


@pytest.mark.parametrize(
    ("now", "stamp"), [(NOW, "1795255200000"), (NOW + 0.9996, "1795255200999"), (NOW + 60, "1795255260000")]
)
def test_each_attempt_is_signed_with_its_time(now: float, stamp: str) -> None:
    endpoint = an_endpoint(own={"sign_secret": Secret(SECRET)})
    digest = hmac.new(SECRET.encode(), f"{stamp}\n{SECRET}".encode(), hashlib.sha256).digest()
    sign = base64.b64encode(digest).decode().replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    assert dingtalk.signed_query(endpoint, now) == f"timestamp={stamp}&sign={sign}"


def test_without_a_secret_nothing_is_signed() -> None:
    assert dingtalk.signed_query(an_endpoint(), NOW) == ""


@pytest.mark.parametrize(
    ("status", "said", "outcome", "reason"),
    [
        (200, DONE, Outcome.DELIVERED, "http_200"),
        (200, {"errcode": 12345, "errmsg": "no"}, Outcome.REFUSED, "errcode_12345"),
        (200, {"errcode": None}, Outcome.HOLD, "http_200_but_not_ok"),
        (200, [], Outcome.HOLD, "http_200_but_not_ok"),
        *((200, {"errcode": code}, Outcome.RETRY, f"errcode_{code}") for code in sorted(dingtalk.BUSY)),
        *((200, {"errcode": code}, Outcome.HOLD, f"errcode_{code}") for code in sorted(dingtalk.ROBOT_IS_WRONG)),
        (403, {}, Outcome.REFUSED, "http_403"),
        (429, {}, Outcome.RETRY, "http_429"),
        (500, {}, Outcome.RETRY, "http_500"),
    ],
)
def test_a_200_means_what_its_code_says(status: int, said: Any, outcome: Outcome, reason: str) -> None:
    reply = Reply(status, body=json.dumps(said).encode())
    verdict = dingtalk.read(reply, a_batch()) or judge(reply, NOW)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


def test_each_attempt_goes_out_with_a_signature_of_its_own(served: Served, sending: Start) -> None:
    ours = served(DingTalk())
    one = sending(ours)
    one.accept()
    ours.excess = 1
    assert one.step() and one.step(80) and one.states == [("delivered", "http_200")]
    first, second = ours.got
    assert first.query["access_token"] == second.query["access_token"] == ["url-query-token"]
    assert first.query["timestamp"] != second.query["timestamp"] and first.query["sign"] != second.query["sign"]


def test_a_wrong_secret_holds_the_endpoint(served: Served, sending: Start) -> None:
    one = sending(served(DingTalk()), sign_secret="SECother")
    one.accept()
    assert one.step() and one.states == [("waiting", "errcode_310000")] and one.condition == "held"


def test_the_secret_is_optional_checked_and_never_shown() -> None:
    assert mistakes_of("dingtalk") == [] == mistakes_of("dingtalk", sign_secret=SECRET)
    (wrong,) = mistakes_of("dingtalk", sign_secret="SEC with spaces")
    assert "team" in wrong and "sign_secret" in wrong and "SEC..." in wrong and "with spaces" not in wrong
    assert SECRET not in repr(settings_of("dingtalk", sign_secret=SECRET))


def test_a_key_of_another_format_is_a_mistake() -> None:
    (found,) = mistakes_of("dingtalk", topic="acme-x7")
    assert "topic requires format = ntfy" in found


def test_a_body_in_markup_is_shown_as_text() -> None:
    event = an_event(data={"event_type": "X", "data": "# h\n- a_b\n1. <b> [x](y) |"})
    assert (
        "\\# h  \n  \\- a\\_b  \n  1\\. &lt;b&gt; \\[x\\]\\(y) \\|  \n" in sent(a_delivery(event))["markdown"]["text"]
    )
