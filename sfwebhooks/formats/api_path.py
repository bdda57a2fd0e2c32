"""The places of an API: an endpoint, whose URL is the server's or the place's, comes in, the path goes out."""

from __future__ import annotations

from urllib.parse import urlsplit

from sfwebhooks.endpoints import Endpoint


def api_path(endpoint: Endpoint, place: str, known: str = "") -> str:
    """Return the path of a place of an API.

    Args:
        place: its path in the API, with a slash in front.
        known: the place that the URL may end with; empty: this one.
    """
    given = urlsplit(endpoint.url.reveal()).path.rstrip("/")
    return given.removesuffix((known or place).rstrip("/")).rstrip("/") + place
