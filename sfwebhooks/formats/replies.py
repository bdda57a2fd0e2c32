"""What the replies of chat services have in common: a Reply comes in, its JSON or a Verdict goes out."""

from __future__ import annotations

import json
from typing import Any

from sfwebhooks.attempts import Outcome, Reply, Verdict

#: A 200 without the success of the service is from something else: a proxy, a login page, another service. So the
#: endpoint is at fault and is held: its messages are kept, only a rare probe repeats one, and the operator is alerted.
#: As failed deliveries they would be lost or, if that service did post them, posted several times.
NOT_OK = Verdict(Outcome.HOLD, "http_200_but_not_ok")


def json_of(reply: Reply) -> dict[str, Any]:
    """Return the JSON object in a reply's body; empty if it is anything else."""
    try:
        found = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
