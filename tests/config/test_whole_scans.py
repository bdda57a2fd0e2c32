"""The settings of endpoints that are sent whole scans."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfwebhooks.config.settings import Settings, load
from sfwebhooks.digesting import Rhythm


def settings(folder: Path, lines: str) -> Settings:
    path = folder / "webhooks.ini"
    path.touch(0o600)
    path.write_text(lines)
    return load(path)


@pytest.mark.parametrize("name", ["csv", "jsonl", "sarif"])
def test_such_a_format_waits_for_the_end_of_a_scan_with_one_attempt_at_a_time(tmp_path: Path, name: str) -> None:
    (one,) = settings(tmp_path, f"[webhooks.team]\nurl = https://a.example/\nformat = {name}\n").endpoints
    assert (one.digest.rhythm, one.concurrency, one.takes_scans) == (Rhythm.BUNDLE, 1, True)


@pytest.mark.parametrize(("lines", "seconds"), [("", 300), ("timeout = 20s\n", 20)])
def test_such_a_format_has_time_for_all_of_a_scan_unless_the_settings_say_so(
    tmp_path: Path, lines: str, seconds: float
) -> None:
    (one,) = settings(tmp_path, f"[webhooks.team]\nurl = https://a.example/\nformat = misp\n{lines}").endpoints
    assert one.timeout == seconds


@pytest.mark.parametrize("key", ["batch_size = 5", "digest = scan", "max_body = 5kB", "multipart = a b"])
def test_keys_of_other_formats_are_mistakes(tmp_path: Path, key: str) -> None:
    found = settings(tmp_path, f"[webhooks.team]\nurl = https://a.example/\nformat = csv\n{key}\n")
    assert [one.key or one.problem.partition(" ")[0] for one in found.mistakes] == [key.partition(" ")[0]]


def test_events_that_it_never_gets_are_named(tmp_path: Path) -> None:
    lines = "[webhooks.team]\nurl = https://a.example/\nformat = csv\nevents = all, system_alert, scan.missed\n"
    (found,) = (one for one in settings(tmp_path, lines).warnings if "whole scans" in str(one))
    assert "does not get system_alert, scan.missed" in str(found)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("format = defectdojo\nproduct_name = Acme\nonly_new = true", "no finding is ever closed; set only_new"),
        ("format = sarif\nonly_new = true", "closes findings that are still there; set only_new = false"),
        ("format = defectdojo\nproduct_name = Acme\nonly_new = true\nclose_old_findings = false", ""),
        ("format = defectdojo\nproduct_name = Acme", ""),
        ("format = thehive\nonly_new = true", ""),
    ],
)
def test_what_only_new_hides_from_a_receiver_that_compares_scans_is_warned_of(
    tmp_path: Path, lines: str, words: str
) -> None:
    team = "[webhooks.team]\nurl = https://a.example/\nevents = all\n"
    found = [one for one in settings(tmp_path, f"{team}{lines}\n").warnings if "only_new" in str(one)]
    assert len(found) == bool(words) and all(words in str(one) for one in found), found


def test_it_is_no_fallback(tmp_path: Path) -> None:
    team = "[webhooks.team]\nurl = https://a.example/\nfallback = files\n"
    (found,) = settings(tmp_path, f"{team}[webhooks.files]\nurl = https://b.example/\nformat = csv\n").mistakes
    assert "fallback must get alerts, but files has format = csv" in found.problem
