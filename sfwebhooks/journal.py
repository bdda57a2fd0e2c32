"""One line in the log for an attempt: what became of it, and why. The same failure again is only DEBUG."""

from __future__ import annotations

import logging

from sfwebhooks.attempts import Attempt
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.pacing import Change
from sfwebhooks.retry import Settlement, State

log = logging.getLogger("spiderfoot.webhooks")


def tell(endpoint: Endpoint, batch: Batch, attempt: Attempt, settlement: Settlement, change: Change) -> None:
    """Log what an attempt came to.

    Args:
        settlement: of the first delivery.
        change: of the endpoint's health, by this attempt alone: of several at once that fail, one is the first.
    """
    (before, now), name = change, f"endpoint {endpoint.name} ({endpoint.place})"
    if settlement.state is State.DELIVERED:
        if not before.healthy:
            log.info("webhooks: %s works again", name)
        return
    if settlement.state is State.DEAD:
        log.warning(
            "webhooks: %s did not take %s, and it is not sent again: %s%s (delivery %s)",
            *(name, batch.name, settlement.reason, attempt.answer, batch.id),
        )
        return
    if settlement.batch and settlement.batch != batch.id:
        text = "webhooks: %s did not take %d messages at once (%s); they are sent in two halves"
        log.info(text, name, len(batch.deliveries), attempt.reason)
        return
    news = now.condition is not before.condition or not before.failures
    log.log(
        logging.WARNING if news else logging.DEBUG,
        "webhooks: %s%s: %s%s; its deliveries are kept",
        *(name, "" if now.healthy else f" is {now.condition.value}", settlement.reason, attempt.answer),
    )
