"""Watching event types that endpoints want only at a higher risk: set risks come in, the types to watch go out.

The host asks for each event whether its type is watched, and if so makes a deep copy (35 to 210 microseconds, by the
length of its chain of sources). No module of the host itself sets a risk, so the copies of types that are wanted only
at a higher risk would be wasted. We observe the setting of a risk instead, which precedes the hand-over of the event:
types without any risk cost nothing.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from spiderfoot import SpiderFootEvent

#: event types that a module of this process has given a risk
_RAISED: set[str] = set()


def raised() -> Container[str] | None:
    """Return the event types that modules of this process give a risk from now on; None if this scanner's events are
    built differently and that cannot be observed."""
    risk = getattr(SpiderFootEvent, "risk", None)
    if not isinstance(risk, property) or risk.fset is None:
        return None
    if not hasattr(risk.fset, "watched"):
        SpiderFootEvent.risk = risk.setter(_watching(risk.fset))
    return _RAISED


def _watching(given: Any) -> Any:
    """Return the host's own setter, extended to record the event type."""

    def set_risk(event: Any, risk: int) -> None:
        given(event, risk)
        if risk:
            _RAISED.add(event.eventType)

    set_risk.watched = True  # type: ignore[attr-defined]
    return set_risk


@dataclass(frozen=True)
class Watched:
    """Watched types in the form that the host uses: `type in watched`."""

    #: wanted at any risk
    always: frozenset[str]
    #: wanted at some risk
    possible: frozenset[str]
    #: given a risk so far
    raised: Container[str]

    def __contains__(self, name: object) -> bool:
        return name in self.always or (name in self.raised and name in self.possible)
