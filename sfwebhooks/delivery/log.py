"""The outcome of each attempt in the scan's log: one line with the same keys each time, in its text and as `extra`.

A success is logged at DEBUG, and so is a failure that was logged before for the same reason. Secrets in the receiver's
words are masked already (`pipeline.excerpt`).
"""

from __future__ import annotations

import logging

from sfwebhooks.events import timestamp
from sfwebhooks.health import Change
from sfwebhooks.outbox.results import Result
from sfwebhooks.reasons import Failure
from sfwebhooks.retry import State
from sfwebhooks.sending import SendingState

log = logging.getLogger("spiderfoot.webhooks")


def log_attempt(state: SendingState, result: Result, change: Change) -> None:
    """Log the outcome of an attempt.

    Args:
        change: of the endpoint's health by this attempt alone: of several simultaneous failures one is the first.
    """
    attempt, settlement = result.attempt, result.settlements[0]
    if settlement.state is State.DELIVERED or settlement.pending:
        verdict = "pending" if settlement.pending else "delivered"
        level, words = (logging.DEBUG, verdict) if change.before.healthy else (logging.INFO, "works again")
        state.logged = ""
    else:
        level, verdict, words = _failure(state, result, change)
    if not log.isEnabledFor(level):
        return
    keys = {
        "endpoint": state.endpoint.name,
        "delivery": result.batch.id,
        "attempt": result.batch.attempts + result.batch.deliveries[0].refusals + 1,
        "status": attempt.status or "-",
        "seconds": round(attempt.seconds, 3),
        "verdict": verdict,
        "next": timestamp(settlement.due_at) if settlement.state is State.WAITING else "-",
    }
    line = " ".join(f"{key}={value}" for key, value in keys.items())
    place = f"{state.endpoint.name} ({state.endpoint.place})"
    log.log(level, "webhooks: endpoint %s %s [%s]", place, words, line, extra={"attempt": keys})


def _failure(state: SendingState, result: Result, change: Change) -> tuple[int, str, str]:
    """Return the level of a failure's line, the verdict and the words."""
    batch, attempt, settlement, now = result.batch, result.attempt, result.settlements[0], change.after
    why = f"{settlement.reason}{attempt.answer}"
    if settlement.state is State.DEAD and attempt.reason == Failure.TEMPLATE.value:
        return logging.WARNING, "dead", f"has a template that fails with {batch.name}, which is dead: {why}"
    if settlement.state is State.DEAD:
        return logging.WARNING, "dead", f"did not accept {batch.name}, which is dead: {why}"
    if settlement.split:
        size = len(batch.deliveries)
        return logging.INFO, "split", f"did not accept a batch of {size} messages ({why}); they are sent in two halves"
    if attempt.reason == Failure.SHORTAGE.value:
        return logging.DEBUG, "shortage", why
    news = now.condition is not change.before.condition or attempt.reason != state.logged
    state.logged = attempt.reason
    condition = "failed" if now.healthy else f"is {now.condition.value}"
    return logging.WARNING if news else logging.DEBUG, "retry", f"{condition}: {why}; its deliveries are kept"
