"""The path of an event, in order: `accept` on the scan's side, `deliver` on the sending side.

accept:   event -> endpoints that want it, by subscription and filters -> outbox (committed)
deliver:  batch (mostly of one) -> format -> sign -> send -> judge -> decide -> outbox (settled)
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from sfwebhooks.attempts import Attempt, Reply, Verdict
from sfwebhooks.errors import NO_MEMORY, TemplateFailedError, is_shortage
from sfwebhooks.events import Batch, Handle, WebhookEvent, clean_text, printable
from sfwebhooks.formats import FORMATS, render
from sfwebhooks.health import Change
from sfwebhooks.outbox.queue import Accepted, Result
from sfwebhooks.outbox.store import Store
from sfwebhooks.outbox.withholding import WithheldKey
from sfwebhooks.own_secrets import Mask, Sought
from sfwebhooks.reasons import Failure
from sfwebhooks.retry import decide, judge, overall
from sfwebhooks.screening import Screen
from sfwebhooks.sending import SendingState
from sfwebhooks.signing import sign
from sfwebhooks.system import Clock

log = logging.getLogger("spiderfoot.webhooks")
#: most characters of a reply in the delivery log
EXCERPT = 1024
#: and least for each delivery of a large batch
EXCERPT_LEAST = 64


def accept(
    events: Iterable[WebhookEvent],
    screen: Screen,
    outbox: Store,
    now: float,
    backfilled: bool = False,
    file: int = 0,
) -> int:
    """Commit the deliveries of some events; return how many are new. The events that filters withhold are counted.

    Args:
        backfilled: the events are of a past scan, and are marked as such.
        file: generation of the outbox file to write to; 0: the current one.

    Raises:
        OutboxError: nothing was committed.
    """
    items: list[Accepted] = []
    kept_back: Counter[WithheldKey] = Counter()
    for event in events:
        wanted, withheld = screen.of(event)
        if wanted:
            items.append((event, wanted))
        for endpoint, reason in withheld.items():
            kept_back[event.scan_id, endpoint, reason] += 1
    new = outbox.accept(items, now, backfilled, file) if items else 0
    if kept_back:
        outbox.count_withheld(kept_back)  # not before: events that could not be committed are screened again
    return new


def deliver(
    batch: Batch, state: SendingState, clock: Clock, rendering: AbstractContextManager[None] | None = None
) -> tuple[Result, Change]:
    """Make one attempt; return its result and the change of the endpoint's health.

    Args:
        rendering: entered while the message is rendered.
    """
    endpoint, begin, known = state.endpoint, clock(), batch.deliveries[0].handle
    if known and known.address != endpoint.address_id:  # of another receiver, which this one does not know
        batch = replace(batch, deliveries=tuple(replace(one, handle=None) for one in batch.deliveries))
    replayed = any(delivery.replayed for delivery in batch.deliveries)
    trigger = "probe" if not state.health.healthy else "replay" if replayed else "schedule"
    try:
        with rendering or nullcontext():
            request = sign(render(batch, endpoint), batch, endpoint, begin)
        reply = state.sender.send(request)
    except TemplateFailedError as error:
        reply = Reply(failure=Failure.TEMPLATE, detail=str(error))
    except Exception as error:
        if not is_shortage(error):
            raise
        reply = Reply(failure=Failure.SHORTAGE, detail=NO_MEMORY)
    end, read = clock(), FORMATS[endpoint.format].read
    try:
        reading = read(reply, batch) if read else None
    except Exception:  # raised further, it would send the message again, as often as this happens
        log.exception("webhooks: format %s cannot read a reply; its status decides", endpoint.format)
        reading = None
    reading = reading or judge(reply, end, endpoint.retry_after_max)
    verdict, verdicts = (reading, [reading]) if isinstance(reading, Verdict) else (overall(reading), reading)
    change = state.learn(verdict, end, batch)
    settlements = decide(batch, verdicts, endpoint, change, end)
    words = excerpt(reply, state.mask) if reply.body or reply.detail else ""
    words = words[: max(EXCERPT // len(batch.deliveries), EXCERPT_LEAST)]
    attempt = Attempt(begin, max(end - begin, 0.0), reply.status, verdict.reason, words, trigger)
    handle = None if verdict.handle is None else Handle(endpoint.address_id, verdict.handle)
    return Result(batch, attempt, settlements, handle), change


def excerpt(reply: Reply, mask: Mask) -> str:
    """Return the beginning of the reply, or the failure in words, in one line, with the endpoint's secrets masked."""
    text = " ".join(clean_text(reply.detail or reply.words).split())
    if reply.secret:
        text = Mask([Sought(reply.secret)]).over(text, 2 * EXCERPT)
    return printable(mask.over(text, EXCERPT))
