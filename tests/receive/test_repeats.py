from __future__ import annotations

from sfwebhooks.receive.repeats import AcceptedIds


def test_an_id_has_the_time_at_which_it_came_first() -> None:
    ids = AcceptedIds()
    ids.add("a", 1.0)
    ids.add("a", 2.0)
    assert (ids.first_at("a"), ids.first_at("b")) == (1.0, None)


def test_only_the_latest_ids_are_remembered() -> None:
    ids = AcceptedIds(most=2)
    for number, id in enumerate(("a", "b", "a", "c")):
        ids.add(id, float(number))
    assert [ids.first_at(id) for id in "abc"] == [None, 1.0, 3.0]


def test_no_id_is_not_an_id() -> None:
    ids = AcceptedIds()
    ids.add("", 1.0)
    assert ids.first_at("") is None


def test_any_text_is_an_id() -> None:
    ids = AcceptedIds()
    ids.add("\udcff\0" * 100_000, 1.0)
    assert ids.first_at("\udcff\0" * 100_000) == 1.0
