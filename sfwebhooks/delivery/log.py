"""The delivery log: one line for each attempt with its result and reason. A repeated failure is logged at DEBUG."""

from __future__ import annotations

import logging

from sfwebhooks.attempts import Attempt, Failure
from sfwebhooks.events import Batch
from sfwebhooks.health import Change
from sfwebhooks.pipeline import Line
from sfwebhooks.retry import Settlement, State

log = logging.getLogger("spiderfoot.webhooks")


def tell(line: Line, batch: Batch, attempt: Attempt, settlement: Settlement, change: Change) -> None:
    """Log the result of an attempt.

    Args:
        settlement: of the first delivery.
        change: of the endpoint's health by this attempt alone: of several simultaneous failures one is the first.
    """
    (before, now), endpoint = change, line.endpoint
    name = f"endpoint {endpoint.name} ({endpoint.place})"
    if settlement.state is State.DELIVERED:
        line.logged = ""
        if not before.healthy:
            log.info("webhooks: %s works again", name)
        return
    if settlement.state is State.DEAD:
        log.warning(
            "webhooks: %s did not accept %s, which is dead: %s%s (delivery %s)",
            *(name, batch.name, settlement.reason, attempt.answer, batch.id),
        )
        return
    if settlement.batch not in ("", batch.id):
        text = "webhooks: %s did not accept a batch of %d messages (%s); they are sent in two halves"
        log.info(text, name, len(batch.deliveries), attempt.reason)
        return
    if attempt.reason == Failure.SHORTAGE.value:
        log.debug("webhooks: %s: %s%s", name, settlement.reason, attempt.answer)
        return
    news = now.condition is not before.condition or attempt.reason != line.logged
    line.logged = attempt.reason
    log.log(
        logging.WARNING if news else logging.DEBUG,
        "webhooks: %s%s: %s%s; its deliveries are kept",
        *(name, "" if now.healthy else f" is {now.condition.value}", settlement.reason, attempt.answer),
    )
