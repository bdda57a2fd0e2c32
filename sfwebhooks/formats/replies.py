"""What the replies of chat services have in common: a Reply comes in, its JSON or a Verdict goes out."""

from __future__ import annotations

import json
from typing import Any

from sfwebhooks.attempts import Outcome, Reply, Verdict

#: statuses that blame the address or its credential: no other message would fare better
ADDRESS_IS_WRONG = (401, 403, 404)
#: A 200 without the success of the service is from something else: a proxy, a login page, another service. So the
#: endpoint is at fault and is held: its messages are kept, only a rare probe repeats one, and the operator is alerted.
#: As failed deliveries they would be lost or, if that service did post them, posted several times.
NOT_OK = Verdict(Outcome.HOLD, "http_200_but_not_ok")

#: a message that was to be edited was deleted: another one takes its place
MESSAGE_GONE = Verdict(Outcome.PENDING, "message_gone", handle="")


def json_of(reply: Reply) -> dict[str, Any]:
    """Return the JSON object in a reply's body; empty if it is anything else."""
    try:
        found = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def says_ok(reply: Reply) -> bool:
    """Return whether it is the success of Slack or of a compatible receiver: ok, {"ok": true}, {"success": true}
    (Rocket.Chat), {"result": "success"} (Zulip), {"status": "OK"} (Mattermost)."""
    if reply.body[:100].strip().lower() == b"ok":
        return True
    found = json_of(reply)
    status = found.get("status")
    return (
        found.get("ok") is True
        or found.get("success") is True
        or found.get("result") == "success"
        or (isinstance(status, str) and status.lower() == "ok")
    )


def held(reply: Reply) -> Verdict | None:
    """Return the verdict on a reply that says that the address is wrong, or None for another reply."""
    return Verdict(Outcome.HOLD, f"http_{reply.status}") if reply.status in ADDRESS_IS_WRONG else None
