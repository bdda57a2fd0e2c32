"""Which events of the scanner are watched although only their risk makes somebody want them.

The host asks for each event whether its type is watched, and makes a deep copy if so (35 to 210 microseconds, by the
length of the chain that led to it). No module of the host itself sets a risk, so all copies of types that are wanted at
a higher risk only would be in vain. So what is looked at is the setting of a risk, which comes before the event is
handed over: types of which no event ever had one cost nothing.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from spiderfoot import SpiderFootEvent

#: types of events that a module of this process has given a risk
_RAISED: set[str] = set()


def raised() -> Container[str] | None:
    """Return the types of events that modules of this process give a risk, from now on; None if that cannot be seen:
    this scanner's events are made in another way."""
    risk = getattr(SpiderFootEvent, "risk", None)
    if not isinstance(risk, property) or risk.fset is None:
        return None
    if not hasattr(risk.fset, "watched"):
        SpiderFootEvent.risk = risk.setter(_watching(risk.fset))
    return _RAISED


def _watching(given: Any) -> Any:
    """Return the host's own setter, which notes the type too."""

    def set_risk(event: Any, risk: int) -> None:
        given(event, risk)
        if risk:
            _RAISED.add(event.eventType)

    set_risk.watched = True  # type: ignore[attr-defined]
    return set_risk


@dataclass(frozen=True)
class Watched:
    """Types as the host asks for them: `type in watched`."""

    #: wanted at any risk
    always: frozenset[str]
    #: wanted at some risk
    possible: frozenset[str]
    #: those that were given a risk so far
    raised: Container[str]

    def __contains__(self, name: object) -> bool:
        return name in self.always or (name in self.raised and name in self.possible)
