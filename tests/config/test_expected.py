"""[webhooks-expect]: what is read, and what is said of a mistake: its line, what was given, and what is accepted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sfwebhooks.config.expected import EXPECTED_MAX, LINE_ACCEPTED
from sfwebhooks.config.settings import Settings, load, load_mapping
from sfwebhooks.expectations import CRON_ACCEPTED

TEAM = "[webhooks.team]\nurl = https://team.test/x\nevents = all\nsecret = a secret of the team\n"


def read(folder: Path, lines: str, name: str = "webhooks.ini") -> Settings:
    path = folder / name
    path.touch(0o600)
    path.write_text(f"{TEAM}[webhooks-expect]\n{lines}", encoding="utf-8")
    return load(path)


def shown(found: Settings) -> list[tuple[str, str, str]]:
    return [(one.name, one.cron, one.of) for one in found.expected]


def problems(found: Settings) -> list[str]:
    return [str(mistake).partition("webhooks.ini: ")[2] for mistake in found.mistakes]


@pytest.mark.parametrize("name", ["webhooks.ini", "spiderfoot.conf"])
def test_each_indented_line_is_a_target_or_the_name_of_a_scan(tmp_path: Path, name: str) -> None:
    lines = "nightly = 0 2 * * *\n  acme.test\n\n  # a comment\n\tAcme: the = perimeter\nweekly: 30 3 * * mon  b.test\n"
    found = read(tmp_path, lines, name)
    assert (found.mistakes, found.warnings) == ((), ())
    assert shown(found) == [
        ("nightly", "0 2 * * *", "acme.test"),
        ("nightly", "0 2 * * *", "Acme: the = perimeter"),
        ("weekly", "30 3 * * mon", "b.test"),
    ]


@pytest.mark.parametrize("section", ["webhooks-expect", "webhooks-severity"])
def test_a_secret_in_the_wrong_section_is_not_shown(section: str, tmp_path: Path) -> None:
    """The lines below an endpoint's are its own if the section above them was put between."""
    secret, password = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "hunter2-very-secret-pw"
    lines = (
        f"secret = {secret}\nhigh = {secret}\n{secret}\npassword = {password}\nn = 0 2 * * *\n  {secret}\n  {secret}\n"
    )
    (tmp_path / "webhooks.ini").touch(0o600)
    (tmp_path / "webhooks.ini").write_text(f"{TEAM}[{section}]\n{lines}")
    found = load(tmp_path / "webhooks.ini")
    assert found.mistakes
    said = " ".join(map(str, (*found.mistakes, *found.warnings)))
    assert not [word for word in (secret, secret[:14], password, password[8:]) if word in said]


def test_a_json_file_and_a_mapping_have_lists(tmp_path: Path) -> None:
    mapping = {
        "team": {"url": "https://team.test/x", "secret": "a secret of the team"},
        "webhooks-expect": {"nightly": ["0 2 * * *", "acme.test", "b.test"], "weekly": "30 3 * * mon c.test"},
    }
    path = tmp_path / "webhooks.json"
    path.write_text(json.dumps(mapping))
    expected = [
        ("nightly", "0 2 * * *", "acme.test"),
        ("nightly", "0 2 * * *", "b.test"),
        ("weekly", "30 3 * * mon", "c.test"),
    ]
    assert shown(load(path)) == shown(load_mapping(mapping)) == expected
    assert load_mapping(mapping).mistakes == ()


@pytest.mark.parametrize(
    ("lines", "value", "problem"),
    [
        ("n = 0 25 * * *\n x.test\n", 'n = "0 25 * * *"', f"line 6: the hour is wrong or never comes; {CRON_ACCEPTED}"),
        ("n = nightly\n x.test\n", 'n = "nightly"', f"line 6: {CRON_ACCEPTED}"),
        ("n = 0 0 2 * * *\n", 'n = "0 0 2 * * *"', f"line 6: it has more than 5 fields; {CRON_ACCEPTED}"),
        ("n =\n", "n", f"line 6: {CRON_ACCEPTED}"),
        ('n = "0 2 * * *"\n', 'n = ""0 2 * * *""', "line 6: remove the quotes around the value"),
        ("acme.test\n", '= "acme.test"', f"line 6: {LINE_ACCEPTED}"),
        ("0 2 * * * = acme.test\n", '= "0 2 * * * = acme.test"', f"line 6: {LINE_ACCEPTED}"),
        (
            "n = 0 2 * * * a.test\nb.test\n",
            '= "b.test"',
            f'line 7: {LINE_ACCEPTED}; if it is a target of "n", indent it',
        ),
        (
            "n = 0 2 * * *\n",
            'n = "0 2 * * *"',
            "line 6: it names no scan: put each target or scan name on its own, indented line below it",
        ),
        (
            "n = 0 2 * * * a.test\nn = 0 3 * * * b.test\n",
            'n = "0 3 * * * b.test"',
            "line 7: given twice: use another name, or put its targets below the first one",
        ),
        (
            "n = 0 2 * * *\n a.test # the first\n",
            'n = "a.test # the first"',
            "line 7: the text after # looks like a comment; put it on its own line",
        ),
        ("n = 0 2 * * *\n 'a.test'\n", "n = \"'a.test'\"", "line 7: remove the quotes around the value"),
    ],
)
def test_a_mistake_names_its_line_and_what_is_accepted_and_holds_no_endpoint(
    tmp_path: Path, lines: str, value: str, problem: str
) -> None:
    found = read(tmp_path, lines)
    assert problems(found) == [f"[webhooks-expect] {value}: {problem}"]
    assert (found.held, found.is_complete) == ({}, True)


def test_a_section_that_is_indented_as_a_whole_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, "  n = 0 2 * * *\n    a.test\n  m = 0 3 * * *\n    b.test\n")
    assert (found.mistakes, [one[2] for one in shown(found)]) == ((), ["a.test", "b.test"])


def test_the_rest_is_read_in_spite_of_a_mistake(tmp_path: Path) -> None:
    found = read(tmp_path, "bad = x\n  a.test\ngood = 0 2 * * *\n  b.test\n")
    assert (len(found.mistakes), shown(found)) == (1, [("good", "0 2 * * *", "b.test")])


@pytest.mark.parametrize("section", ["webhooks-expected", "Webhooks-Expect", "webhook-expect", "webhooks_expectations"])
def test_a_misspelt_section_is_not_taken_for_an_endpoint(tmp_path: Path, section: str) -> None:
    path = tmp_path / "webhooks.ini"
    path.write_text(f"{TEAM}[{section}]\nn = 0 2 * * * a.test\n")
    found = load(path)
    assert problems(found) == [f'[{section}]: the section in line 5 is not known. Did you mean "[webhooks-expect]"?']
    assert (found.held, found.expected) == ({}, ())


@pytest.mark.parametrize(
    ("lines", "warning"),
    [
        ("n = 0 2 * * *\n a.test\n A.test.\n", 'n: "A.test." (line 8) is given twice'),
        (
            "n = 0 2 * * *\n a.test, b.test\n",
            'n: "a.test, b.test" (line 7) is one target or scan name: put each on its own line',
        ),
        ("n = 0 2 * * * a.test\nm = 0  2 * * * A.TEST\n", 'm: "A.TEST" is expected at the same times by "n"'),
    ],
)
def test_what_may_be_meant_differently_is_a_warning(tmp_path: Path, lines: str, warning: str) -> None:
    found = read(tmp_path, lines)
    assert (found.mistakes, found.warnings) == ((), (f"[webhooks-expect] {warning}",))


def test_scans_that_are_expected_without_a_subscriber_are_a_warning() -> None:
    found = load_mapping({"team": {"url": "https://x.test", "events": "high_risk_event", "secret": "a secret of ours"},
                          "webhooks-expect": {"n": "0 2 * * * a.test"}})  # fmt: skip
    assert found.warnings == ("[webhooks-expect] expects scans, but no endpoint subscribes to scan_missed",)


@pytest.mark.parametrize(
    "value", [None, 7.5, ["0 2 * * *", None], {"a": 1}, "0 2 * * *\ud800", ["0 2 * * *", "\0\ud800"]]
)
def test_any_value_of_a_mapping_is_read_or_a_mistake(value: object) -> None:
    found = load_mapping({"team": {"url": "https://x.test"}, "webhooks-expect": {"n": value}})
    assert found.mistakes or found.expected
    assert found.held == {}
    for text in (*map(str, found.mistakes), *(one.of for one in found.expected)):
        text.encode()


def test_a_file_with_many_lines_is_read_in_a_moment_and_most_mistakes_are_not_repeated(tmp_path: Path) -> None:
    found = read(tmp_path, "n = 0 2 * * *\n" + f" {'x' * 50}\n" * 10_000 + "bad\n" * 9_000)
    assert len(found.expected) == 1
    assert len(found.mistakes) <= 200
    names = read(tmp_path, "".join(f"n{number} = 0 2 * * * h{number}.test\n" for number in range(19_000)))
    assert len(names.expected) == EXPECTED_MAX
    many = read(tmp_path, "n = 0 2 * * *\n" + "".join(f" host{number}.test\n" for number in range(3000)))
    assert len(many.expected) == EXPECTED_MAX
    assert problems(many) == [
        f"[webhooks-expect]: 3,000 scans are expected; only the first {EXPECTED_MAX:,} are watched"
    ]
