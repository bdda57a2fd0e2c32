"""The whole status: settings and outbox come in; endpoints, senders and the watch over scans go out, and whether any of
them needs attention. `status` prints it, the API serves it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from sfwebhooks.config.settings import Settings
from sfwebhooks.inspection.endpoint_fields import fields_of_endpoint
from sfwebhooks.inspection.live_state import LiveState, live_state
from sfwebhooks.inspection.spooled import SpoolState, spool_state
from sfwebhooks.inspection.watched import WatchOverview, watch_overview
from sfwebhooks.outbox.listing import LastResults
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Place, is_missing
from sfwebhooks.sensitive import WITHHELD


@dataclass(frozen=True)
class FullStatus:
    """The status at one moment."""

    #: epoch seconds
    at: float
    settings: Settings
    state: LiveState
    watch: WatchOverview
    #: endpoint -> its last results, if the outbox has any
    results: Mapping[str, LastResults] = field(default_factory=dict)
    #: of events that wait to be forwarded; None: this machine has none
    spool: SpoolState | None = None
    #: whether there is no outbox yet
    is_new: bool = False

    @property
    def needs_attention(self) -> bool:
        """Whether an endpoint, the settings, an expected scan or the spool needs attention."""
        is_trouble = any(look.is_trouble for look in self.state.looks.values()) or not self.settings.is_complete
        is_trouble |= self.spool is not None and self.spool.needs_attention(self.at)
        return is_trouble or bool(self.watch.unwell) or self.watch.is_late(self.at)

    def fields_of(self, name: str) -> dict[str, Any]:
        """Return an endpoint's fields for --json."""
        return fields_of_endpoint(name, self.settings, self.state, self.results.get(name))

    @property
    def fields(self) -> dict[str, Any]:
        """All of it as one object."""
        return {
            "needs_attention": self.needs_attention,
            "endpoints": [self.fields_of(name) for name in self.state.looks],
            "senders": [{"pid": pid, "role": role.value} for pid, role in self.state.senders.items()],
            "sees_senders": self.state.sees_senders,
            "sending": self.state.sending,
            "watch": self.watch.fields,
            "spool": self.spool.fields(self.at) if self.spool else None,
        }


def without_replies(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return a status for people: without the replies of receivers, which may quote what they were sent."""
    return {**status, "endpoints": [without_reply(one) for one in status["endpoints"]]}


def without_reply(endpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return an endpoint's live state for people."""
    last = endpoint["last_error"]
    return {**endpoint, "last_error": last and {**last, "excerpt": last["excerpt"] and WITHHELD}}


def full_status(found: Settings, place: Place) -> FullStatus:
    """Return the status now.

    Args:
        place: of the outbox, which need not exist.

    Raises:
        OutboxError: it cannot be read.
    """
    state, is_new, now = live_state(found, place), is_missing(place), time.time()
    with closing(Outbox(place, listing=True)) as outbox:
        results = {} if is_new else outbox.listing.last_results(state.looks)
        watch = watch_overview(found, None if is_new else outbox, now)
    return FullStatus(now, found, state, watch, results, spool_state(found, place), is_new)
