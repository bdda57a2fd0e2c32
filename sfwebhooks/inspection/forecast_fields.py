"""What a backfill of a past scan would send to an endpoint, as fields for JSON: the same for `route --scan --json` and
the API."""

from __future__ import annotations

from typing import Any

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.scan.backfill import Past
from sfwebhooks.scan.forecast import Forecast


def fields_of_forecast(endpoint: Endpoint, known: Forecast, past: Past) -> dict[str, Any]:
    """Return what a backfill of a scan to an endpoint would do, for --json."""
    return {
        "endpoint": endpoint.name,
        "scan": past.scan.id,
        "deliveries": known.number,
        "names": dict(known.sent),
        "withheld": {reason.value: number for reason, number in known.withheld.items()},
        "redacted": dict(known.redacted),
        "messages": known.messages,
        "seconds": round(known.seconds, 1),
        "has": known.has,
        "deleted": known.deleted,
        "mistake": endpoint.mistake or None,
    }
