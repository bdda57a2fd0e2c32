"""Which rows of a matrix run in the quick tier."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

slow = pytest.mark.slow


def quick_first(rows: Iterable[Any], quick: int = 1) -> list[Any]:
    """Return the rows for `parametrize`, all but the first ones slow."""
    return [row if at < quick else pytest.param(row, marks=slow) for at, row in enumerate(rows)]
