"""Printing what endpoints are sent: Endpoints come in, a line each goes out."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import printable
from sfwebhooks.inspection.filter_words import profile_of
from sfwebhooks.terminal.output import plain, print_hanging


def print_profiles(endpoints: Iterable[Endpoint], out: Console) -> None:
    """Print for each endpoint what `profile_of` says of its filters, messages and redaction, each in one line."""
    for endpoint in endpoints:
        terms = profile_of(endpoint)
        words = [f"{label}: {terms[label]}" for label in ("filters", "messages", "redacted")]
        print_hanging(f"{printable(endpoint.name)}  ", plain("; ".join(words), "dim"), out)
