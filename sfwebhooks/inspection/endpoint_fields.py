"""The live state of an endpoint as fields for JSON, the same for `status --json` and the API."""

from __future__ import annotations

import math
import time
from typing import Any

from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.process import Role
from sfwebhooks.delivery.status import Situation, pace, waiting_reason, why_waiting
from sfwebhooks.events import timestamp
from sfwebhooks.inspection.fields import fields_of_attempt
from sfwebhooks.inspection.live_state import LiveState, Look, Standing
from sfwebhooks.outbox.listing import LastResults
from sfwebhooks.reasons import WaitingReason

#: standings with a probe to wait for
PROBED = (Standing.FAILING, Standing.HELD)


def fields_of_endpoint(name: str, found: Settings, state: LiveState, last: LastResults | None) -> dict[str, Any]:
    """Return an endpoint's state for --json; times are RFC 3339."""
    now, look, last = time.time(), state.looks[name], last or LastResults()
    known = look.situation
    places = {endpoint.name: endpoint.place for endpoint in found.known}
    return {
        "endpoint": name,
        "to": places.get(name, ""),
        "state": look.standing.value,
        "needs_attention": look.is_trouble,
        **(_of_situation(known, look, state, now) if known else {}),
        "dead": look.dead,
        "last_success_at": time_or_none(last.delivered_at),
        "last_error": last.failed and fields_of_attempt(last.failed),
        "what_to_do": look.advice,
    }


def _of_situation(known: Situation, look: Look, state: LiveState, now: float) -> dict[str, Any]:
    health, backlog, owner = known.health, known.backlog, known.owner
    reason = waiting_reason(known, now) if backlog.waiting else None
    if reason is WaitingReason.NO_SENDER and not state.sees_senders:
        reason = None
    is_paced = known.interval > 0 and reason in (WaitingReason.SENDING, WaitingReason.NO_SENDER)
    unhealthy = health.reason if look.standing in (*PROBED, Standing.DISABLED) else ""
    words = "" if look.standing is Standing.READY else known.switch or look.words
    return {
        "reason": unhealthy or words,
        "since": time_or_none(health.since or None),
        "waiting": backlog.waiting,
        "refused": backlog.refused,
        "oldest_accepted_at": time_or_none(backlog.oldest_at),
        "due_at": time_or_none(backlog.due_at),
        "waits_for": reason and reason.value,
        "why": why_waiting(known, now) if reason else "",
        "next_probe_at": time_or_none(health.open_at) if look.standing in PROBED else None,
        "paused_until": time_or_none(known.orders.paused_until) if look.standing is Standing.PAUSED else None,
        "rate": pace(known.interval) if known.interval else None,
        "rate_seconds_left": known.paced_seconds if is_paced else None,
        "sender": owner
        and {
            "pid": owner.pid,
            "kind": state.senders.get(owner.pid, Role.COMMAND).value,
            "seen_at": time_or_none(owner.at),
            "hangs": owner.hangs(now),
        },
    }


def time_or_none(at: float | None) -> str | None:
    """Return epoch seconds for --json; a pause without an end has no time."""
    return None if at is None or math.isinf(at) else timestamp(at)
