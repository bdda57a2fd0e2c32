"""One test that goes through rows fails as often as tests of their own would."""

from __future__ import annotations

import pytest

from tests.rows import in_one

tried: list[tuple[int, str]] = []


@in_one("number", (1, 2, 3))
@in_one(("word", "mark"), (("a", "!"), ("b", "?")))
def go_through(number: int, word: str, mark: str) -> None:
    tried.append((number, word + mark))
    assert number != 2, "two"


def test_each_row_is_tried_and_the_failed_ones_are_named() -> None:
    tried.clear()
    with pytest.raises(AssertionError) as caught:
        go_through()
    assert tried == [(number, word) for number in (1, 2, 3) for word in ("a!", "b?")]
    assert str(caught.value).startswith("1 of 3 rows failed:\nnumber=2: AssertionError: 2 of 2 rows failed:")
    assert "word='a', mark='!': AssertionError: two" in str(caught.value)


@pytest.mark.parametrize("word", ["a", "b"])
@in_one("number", (1, 2))
def test_a_test_of_rows_has_fixtures_and_parameters(number: int, word: str, request: pytest.FixtureRequest) -> None:
    assert (number in (1, 2), word in request.node.name) == (True, True)


def test_a_test_needs_rows() -> None:
    with pytest.raises(AssertionError, match="tests nothing"):
        in_one("number", ())
