"""Receivers as both guides describe them, and the names under which they know the events of the catalogue."""

from __future__ import annotations

from sfwebhooks.catalogue import EVENT_TYPES, EventType
from sfwebhooks.severity import Severity
from tests.receivers import security_audit, spiderfoot

#: the word for it in `headers` -> what a guide says
GUIDES = {"generic": spiderfoot.GUIDE, "security-audit": security_audit.GUIDE}


def names_of(entry: EventType) -> dict[Severity, dict[str, str]]:
    """Return for each severity of a type the name of its events in each guide."""
    return {severity: _names(entry, severity) for severity in entry.severities or (Severity.HIGH,)}


def _names(entry: EventType, severity: Severity) -> dict[str, str]:
    dotted = f"finding.{severity.label}" if entry.name == "high_risk_event" else entry.alias
    return {"generic": entry.name, "security-audit": dotted}


#: of each type and severity
NAMES = [names for entry in EVENT_TYPES for names in names_of(entry).values()]
