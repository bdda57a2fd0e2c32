"""Which rows of a matrix run in which tier."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

slow = pytest.mark.slow


def quick_first(rows: Iterable[Any], quick: int = 1, slow_ones: int | None = None) -> list[Any]:
    """Return the rows for `parametrize`, all but the first ones slow.

    Args:
        slow_ones: how many are slow; those after them are left to the campaign.
    """
    last = None if slow_ones is None else quick + slow_ones
    return [
        row if at < quick else _marked(row, slow if last is None or at < last else pytest.mark.campaign)
        for at, row in enumerate(rows)
    ]


def _marked(row: Any, mark: pytest.MarkDecorator) -> Any:
    if isinstance(row, type(pytest.param())):
        return pytest.param(*row.values, id=row.id, marks=(*row.marks, mark))
    return pytest.param(row, marks=mark)
