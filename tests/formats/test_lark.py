from __future__ import annotations

import json
from typing import Any

import pytest

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.events import Delivery
from sfwebhooks.formats import lark
from sfwebhooks.formats.cutting import smallest
from sfwebhooks.formats.notice import Notice
from sfwebhooks.retry import judge
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_batch, a_delivery, an_event
from tests.formats.cases import (
    LINK,
    each_past,
    mistakes_of,
    past,
    rendered,
)
from tests.receivers.notifiers import Lark

DONE = {"StatusCode": 0, "StatusMessage": "success", "code": 0, "data": {}, "msg": "success"}


def sent(delivery: Delivery) -> dict[str, Any]:
    message = rendered("lark", delivery)
    assert Lark().problem(message) == ""
    return message


def test_data_is_shown_exactly_where_nothing_is_markup() -> None:
    data = '<at user_id="all">all</at> *b* `c` [x](y)'
    card = sent(a_delivery(an_event(data={"event_type": "X", "data": data})))["card"]
    assert card["elements"][0]["text"]["content"].startswith(f"{data}\nTarget: acme.example\n")


def test_each_severity_has_a_header_of_its_own() -> None:
    headers = {sent(a_delivery(an_event(severity=one)))["card"]["header"]["template"] for one in Severity}
    assert headers == {"carmine", "red", "orange", "blue", "grey"}


def test_the_end_of_a_scan_without_serious_findings_is_green() -> None:
    data = {"events_found": 1, "events_by_severity": {"info": 1}}
    event = an_event(type="scan_completed", severity=Severity.INFO, data=data)
    assert sent(a_delivery(event))["card"]["header"]["template"] == "green"


def test_a_button_opens_the_scan() -> None:
    button = sent(a_delivery())["card"]["elements"][1]["actions"][0]
    assert (button["text"]["content"], button["url"]) == ("Open scan", LINK)


@each_past
def test_what_is_not_live_says_so(how: str) -> None:
    assert sent(past(how))["card"]["elements"][0]["text"]["content"].endswith(f" · {how}")


def test_a_text_of_16000_bytes_is_left_as_it_is_and_one_that_json_doubles_is_halved() -> None:
    def text(body: str) -> str:
        notice = Notice(headline="h", body=body, facts=(), colour="#E01E5A", footer=("f",))
        message = json.loads(smallest(lambda cap: lark.lark_body(notice, cap), lark.CAPS, 20_000))
        assert Lark().problem(message) == ""
        return str(message["card"]["elements"][0]["text"]["content"])

    assert text("b" * 15_998) == "b" * 15_998 + "\nf"
    assert text("b" * 15_999) == "b" * 15_995 + "…\nf"
    assert text('"' * 15_998) == '"' * 7_995 + "…\nf"


@pytest.mark.parametrize(
    ("status", "said", "outcome", "reason"),
    [
        (200, DONE, Outcome.DELIVERED, "http_200"),
        (200, {"StatusCode": 0, "StatusMessage": "success"}, Outcome.DELIVERED, "http_200"),
        (200, {"code": 12345, "msg": "no", "data": {}}, Outcome.REFUSED, "code_12345"),
        (200, {"StatusCode": 12345}, Outcome.REFUSED, "code_12345"),
        (200, {"code": "0"}, Outcome.HOLD, "http_200_but_not_ok"),
        (200, {"code": False}, Outcome.HOLD, "http_200_but_not_ok"),
        (200, {"code": 10**12}, Outcome.HOLD, "http_200_but_not_ok"),
        (200, {}, Outcome.HOLD, "http_200_but_not_ok"),
        *((200, {"code": code}, Outcome.RETRY, f"code_{code}") for code in sorted(lark.BUSY)),
        *((200, {"code": code}, Outcome.HOLD, f"code_{code}") for code in sorted(lark.BOT_IS_WRONG)),
        (400, {"code": 12345}, Outcome.REFUSED, "http_400"),
        (429, {}, Outcome.RETRY, "http_429"),
        (502, {}, Outcome.RETRY, "http_502"),
    ],
)
def test_a_200_means_what_its_code_says(status: int, said: Any, outcome: Outcome, reason: str) -> None:
    reply = Reply(status, body=json.dumps(said).encode())
    verdict = lark.read(reply, a_batch()) or judge(reply, NOW)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


def test_the_format_has_no_keys_of_its_own() -> None:
    assert mistakes_of("lark") == []
    (found,) = mistakes_of("lark", sign_secret="SECabc")
    assert "team" in found and "sign_secret requires format = dingtalk" in found
