"""Which rows of a matrix run in the quick tier."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

slow = pytest.mark.slow


def quick_first(rows: Iterable[Any], quick: int = 1) -> list[Any]:
    """Return the rows for `parametrize`, all but the first ones slow."""
    return [row if at < quick else _slow(row) for at, row in enumerate(rows)]


def _slow(row: Any) -> Any:
    if isinstance(row, type(pytest.param())):
        return pytest.param(*row.values, id=row.id, marks=(*row.marks, slow))
    return pytest.param(row, marks=slow)
