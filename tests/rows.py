"""Rows that one test goes through: for those that take less time than pytest does to make a test of each."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from functools import wraps
from typing import Any, Callable

Test = Callable[..., None]


def in_one(names: str | tuple[str, ...], rows: Iterable[Any]) -> Callable[[Test], Test]:
    """Let a test go through rows by itself, where `parametrize` would make a test of each. All rows are tried, and the
    failed ones are named.

    Not for a test that changes what its fixtures have: the next row would find it changed.

    Args:
        names: one parameter, or several; then each row has a value of each.
    """
    keys = (names,) if isinstance(names, str) else names
    table = [(row,) if isinstance(names, str) else tuple(row) for row in rows]
    assert table, "a test without rows tests nothing"

    def decorated(test: Test) -> Test:
        @wraps(test)
        def run(**fixtures: Any) -> None:
            failures = list[tuple[str, Exception]]()
            for row in table:
                try:
                    test(**fixtures, **dict(zip(keys, row)))
                except Exception as error:
                    failures.append((", ".join(f"{key}={value!r:.200}" for key, value in zip(keys, row)), error))
            if failures:
                lines = "".join(f"\n{row}: {type(error).__name__}: {error}" for row, error in failures)
                raise AssertionError(f"{len(failures)} of {len(table)} rows failed:{lines}") from failures[0][1]

        own = inspect.signature(test)
        left = [parameter for name, parameter in own.parameters.items() if name not in keys]
        run.__signature__ = own.replace(parameters=left)  # type: ignore[attr-defined]
        return run

    return decorated
