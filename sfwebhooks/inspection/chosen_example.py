"""The example of an event type that a person asks for: its name comes in, a delivery to an endpoint goes out."""

from __future__ import annotations

from dataclasses import replace

from sfwebhooks.catalogue import type_named
from sfwebhooks.config.values import nearest
from sfwebhooks.endpoints import EVENT_NAMES, Endpoint
from sfwebhooks.errors import SelectionError
from sfwebhooks.events import Delivery
from sfwebhooks.examples import example, example_of_type, readdressed
from sfwebhooks.severity import SEVERITY_OF_TYPE, Severities


def named_example(word: str, endpoint: Endpoint, severities: Severities | None = None) -> Delivery:
    """Return the example of an event type as it would be to an endpoint.

    Args:
        severities: with these, it may also be a finding type of the host.

    Raises:
        SelectionError: there is no such type.
    """
    entry = type_named(word)
    if entry:
        made = example(entry, word)
    elif severities and word in SEVERITY_OF_TYPE:
        made = example_of_type(word, severities)
    else:
        theirs = nearest(word.upper(), SEVERITY_OF_TYPE) if severities else ""
        raise SelectionError(
            f"no event type is called {word!r}.{nearest(word.lower(), EVENT_NAMES) or theirs} See sfwebhooks events."
        )
    return readdressed(replace(made, name=endpoint.name_for(made.event) or made.name), endpoint)
