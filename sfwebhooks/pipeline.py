"""The path of an event, in order: `accept` on the scan's side, `deliver` on the sending side.

accept:   event -> endpoints that want it, by subscription and filters -> outbox (committed)
deliver:  batch (mostly of one) -> format -> sign -> send -> judge -> decide -> outbox (settled)
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from hashlib import sha256
from typing import Callable, cast

from sfwebhooks.attempts import Attempt, Outcome, Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import NO_MEMORY, TemplateFailedError, is_shortage
from sfwebhooks.events import Batch, Bundle, Delivery, Handle, WebhookEvent, clean_text, printable
from sfwebhooks.formats import FORMATS, render, shown_to
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.format import Conversation, Reading
from sfwebhooks.health import Change
from sfwebhooks.outbox.queue import Accepted
from sfwebhooks.outbox.results import Result
from sfwebhooks.outbox.store import Store
from sfwebhooks.outbox.withholding import WithheldKey
from sfwebhooks.own_secrets import Mask, Sought
from sfwebhooks.reasons import Failure
from sfwebhooks.retry import decide, judge, overall
from sfwebhooks.screening import Screen
from sfwebhooks.sending import SendingState
from sfwebhooks.signing import SAFE_METHODS, sign, unsigned
from sfwebhooks.system import Clock

log = logging.getLogger("spiderfoot.webhooks")
#: most characters of a reply in the delivery log
EXCERPT = 1024
#: and least for each delivery of a large batch
EXCERPT_LEAST = 64
#: after these failures the receiver may have the message: what it has is evidence too
PERHAPS_ARRIVED = (Failure.CONNECTION, Failure.TIMEOUT, Failure.PROTOCOL)
#: most requests of a conversation
REQUESTS_MAX = 8
#: the verdict on one that needs more
ENDLESS = Verdict(Outcome.RETRY, "too_many_requests")


def accept(
    events: Iterable[WebhookEvent],
    screen: Screen,
    outbox: Store,
    now: float,
    backfilled: bool = False,
    generation: int = 0,
) -> int:
    """Commit the deliveries of some events; return how many are new. The events that filters withhold are counted.

    Args:
        backfilled: the events are of a past scan, and are marked as such.
        generation: of the outbox to write to; 0: the current one.

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
    new = outbox.accept(items, now, backfilled, generation) if items else 0
    if kept_back:
        outbox.count_withheld(kept_back)  # not before: events that could not be committed are screened again
    return new


def deliver(
    batch: Batch,
    state: SendingState,
    clock: Clock,
    rendering: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> tuple[Result, Change]:
    """Make one attempt; return its result and the change of the endpoint's health.

    Args:
        rendering: returns what is entered while a message is rendered.
    """
    endpoint, begin, known = state.endpoint, clock(), batch.deliveries[0].handle
    form, reading, body = FORMATS[endpoint.format], cast(Reading, None), b""
    shown = batch
    if known and not form.converse and known.address != endpoint.address_id:  # another receiver does not know it
        shown = batch.changed(lambda one: replace(one, handle=None))
    replayed = batch.is_replayed if isinstance(batch, Bundle) else any(one.replayed for one in batch.deliveries)
    trigger = "probe" if not state.health.healthy else "replay" if replayed else "schedule"
    try:
        if form.converse:
            reply, reading = converse(form.converse, shown, state, clock, rendering)
        else:
            with rendering():
                content = render(shown, endpoint)
                request, body = sign(content, shown, endpoint, begin), content.body
            reply = state.sender.send(request)
    except TemplateFailedError as error:
        reply = Reply(failure=Failure.TEMPLATE, detail=str(error))
    except Exception as error:
        if not is_shortage(error):
            raise
        reply = Reply(failure=Failure.SHORTAGE, detail=NO_MEMORY)
        reading = replace(judge(reply, begin), is_uncertain=form.converse is not None)
    end, read = clock(), form.read
    try:
        reading = reading or (read(reply, shown) if read else None)
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
    arrived = endpoint.proof and (reply.failure is None or reply.failure in PERHAPS_ARRIVED)
    digest = sha256(body).digest() if arrived else b""
    return Result(batch, attempt, settlements, handle, verdict.mutes, digest), change


def converse(
    begin: Callable[[Delivery, Endpoint], Conversation],
    batch: Batch,
    state: SendingState,
    clock: Clock,
    rendering: Callable[[], AbstractContextManager[None]],
) -> tuple[Reply, Verdict]:
    """Have the conversation of the endpoint's format about a delivery; return the last reply and the verdict.

    Its requests have the time of one attempt together. One that changes something there and gets no answer may have
    done so; after a change, or what may be one, a failure is uncertain: the tracker may show what was there before.

    Args:
        begin: of the format (`Format.converse`).
        rendering: as for `deliver`.
    """
    endpoint, reply, ends_at = state.endpoint, Reply(), time.monotonic() + state.endpoint.timeout
    verdict, may_have_changed = ENDLESS, False
    with rendering():
        talk = begin(shown_to(batch, endpoint).deliveries[0], endpoint)
        step = _step(talk, None)
    for _ in range(REQUESTS_MAX):
        if not isinstance(step, Content):
            break
        reply = state.sender.send(unsigned(step, endpoint), ends_at)
        may_have_changed |= step.method not in SAFE_METHODS and not 300 <= (reply.status or 0) < 500
        with rendering():
            step = _step(talk, reply)
    talk.close()
    if not isinstance(step, Content):
        verdict = step or judge(reply, clock(), endpoint.retry_after_max)
    return reply, replace(verdict, is_uncertain=may_have_changed and verdict.outcome is not Outcome.DELIVERED)


def _step(talk: Conversation, reply: Reply | None) -> Content | Verdict | None:
    """Return the next request of a conversation, or its verdict."""
    try:
        return talk.send(reply)  # type: ignore[arg-type]
    except StopIteration as end:
        return cast("Verdict | None", end.value)


def excerpt(reply: Reply, mask: Mask) -> str:
    """Return the beginning of the reply, or the failure in words, in one line, with the endpoint's secrets masked."""
    text = " ".join(clean_text(reply.detail or reply.words).split())
    if reply.secret:
        text = Mask([Sought(reply.secret)]).over(text, 2 * EXCERPT)
    return printable(mask.over(text, EXCERPT))
