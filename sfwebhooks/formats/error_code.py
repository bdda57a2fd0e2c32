"""Replies of receivers that answer 200 to everything, with a code in the JSON: 0 is success."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.formats.replies import NOT_OK, json_of

#: seconds to wait after a code that says "too fast"; these receivers send no Retry-After
BUSY_SECONDS = 60.0
#: a greater number is not a code
CODE_MAX = 10**9


def coded(reply: Reply, keys: Sequence[str], busy: Collection[int], wrong: Collection[int]) -> Verdict | None:
    """Return the verdict of the code in a 200, or None: the status is enough.

    Any other code refuses the message; three refusals in a row hold the endpoint. So nothing is lost by a code that is
    missing here.

    Args:
        keys: those that may have the code, the first one that is there counts.
        busy: codes that ask for another try, later.
        wrong: codes that blame the webhook, not the message.
    """
    if reply.status != 200:
        return None
    said = json_of(reply)
    key = next((key for key in keys if key in said), "")
    code = said.get(key)
    if isinstance(code, bool) or not isinstance(code, int) or abs(code) > CODE_MAX:
        return NOT_OK
    if code == 0:
        return None
    reason = f"{keys[0]}_{code}"
    if code in busy:
        return Verdict(Outcome.RETRY, reason, BUSY_SECONDS)
    return Verdict(Outcome.HOLD if code in wrong else Outcome.REFUSED, reason)
