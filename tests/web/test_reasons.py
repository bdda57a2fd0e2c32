"""`GET /v1/reasons`: the page has the words of the documents."""

from __future__ import annotations

from sfwebhooks.reasons import DeadReason, Failure, Unsent, WaitingReason, Withheld
from tests.web.serving import Web


def test_every_reason_has_its_words_and_no_blanks(web: Web) -> None:
    items = web.viewer.get("/v1/reasons").raise_for_status().json()["items"]
    kinds = (WaitingReason, DeadReason, Withheld, Unsent, Failure)
    assert [(one["reason"], one["meaning"]) for one in items] == [
        (one.value, one.meaning) for kind in kinds for one in kind
    ]
    assert [one for one in items if "{" in one["what_to_do"]] == []
    muted = next(one for one in items if one["reason"] == "muted")
    assert muted["what_to_do"] == "sfwebhooks unmute"


def test_reasons_need_a_token(web: Web) -> None:
    assert web.anybody().get("/v1/reasons").status_code == 401
