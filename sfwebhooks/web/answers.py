"""Answers with data of the outbox: fields for JSON come in, an answer goes out.

What was found, and what a receiver replied, can hold anything: lone surrogates and numbers that JSON does not have are
replaced, where a framework would fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Response

from sfwebhooks.jsontext import kept, written


def json_answer(fields: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return the answer with an object."""
    try:
        text = written(fields)
    except ValueError:  # NaN or an infinity, from a damaged row
        text = kept(fields)
    return Response(text.encode(), status, media_type="application/json")
