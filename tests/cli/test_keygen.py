from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.cli import main
from sfwebhooks.config import settings
from sfwebhooks.config.secret_file import write_secret
from sfwebhooks.errors import ConfigError
from sfwebhooks.signing_keys import problem, receiver_form
from tests.leaks import leaks
from tests.test_signing import SEED_ALONE, WHPK, WHSEC, WHSK

Printed = pytest.CaptureFixture[str]


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    yield
    os.umask(before)


# --- keygen


def test_keygen_prints_a_secret_and_nothing_else_to_stdout(capsys: Printed) -> None:
    assert main(["keygen"]) == 0
    (secret,) = capsys.readouterr().out.splitlines()
    assert (secret.startswith("whsec_"), problem(secret)) == (True, "")


def test_keygen_prints_a_pair_that_belongs_together(capsys: Printed) -> None:
    assert main(["keygen", "--ed25519"]) == 0
    secret, public = capsys.readouterr().out.splitlines()
    assert (secret.startswith("whsk_"), problem(secret), receiver_form(secret)) == (True, "", public)


def test_what_a_receiver_does_with_a_public_key_is_said(tmp_path: Path, capsys: Printed) -> None:
    main(["keygen", "--ed25519"])
    assert "take whsec_ only" in capsys.readouterr().err
    main(["keygen"])
    assert "take whsec_ only" not in capsys.readouterr().err
    assert "take whsec_ only" in check(tmp_path, capsys, WHSK, "--show-secrets")[1]
    assert "take whsec_ only" not in check(tmp_path, capsys, WHSEC, "--show-secrets")[1]


def test_a_key_of_hashes_stays_here(tmp_path: Path, capsys: Printed) -> None:
    path = tmp_path / "redact.key"
    assert main(["keygen", "--redact", "--file", str(path)]) == 0
    said = capsys.readouterr().err
    assert (f"redact_key = file:{path}" in said, "Keep it here" in said, "receiver" in said) == (True, True, False)
    team = {"url": "https://acme.example/", "redact": "EMAILADDR: hash", "redact_key": f"file:{path}"}
    found = settings.load_mapping({"team": team})
    assert (found.mistakes, [one for one in found.warnings if "redact" in one]) == ((), [])


@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
@pytest.mark.parametrize("arguments", [[], ["--ed25519"], ["--redact"]], ids=["whsec", "whsk", "redact"])
def test_keygen_writes_a_file_for_its_owner_only(tmp_path: Path, arguments: list[str], mask: int) -> None:
    with umask(mask):
        assert main(["keygen", *arguments, "--file", str(tmp_path / "team.secret")]) == 0
    assert stat.S_IMODE((tmp_path / "team.secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("arguments", [[], ["--ed25519"]], ids=["whsec", "whsk"])
def test_a_secret_that_is_written_to_a_file_is_not_printed(
    tmp_path: Path, capsys: Printed, arguments: list[str]
) -> None:
    main(["keygen", *arguments, "--file", str(tmp_path / "team.secret")])
    secret, printed = (tmp_path / "team.secret").read_text().strip(), capsys.readouterr()
    assert leaks(printed.out + printed.err, secret) == []
    assert printed.out.split() == ([receiver_form(secret)] if arguments else [])


def test_the_file_can_be_used_as_the_settings_line_says(tmp_path: Path, capsys: Printed) -> None:
    main(["keygen", "--ed25519", "--file", str(tmp_path / "team.secret")])
    line = next(one for one in capsys.readouterr().err.split("; ") if "secret = file:" in one).splitlines()[0]
    (tmp_path / "webhooks.ini").write_text(
        f"[webhooks]\ndefault_url = https://hooks.example.test/\n{line.partition(': ')[2]}\n"
    )
    found = settings.load(tmp_path / "webhooks.ini")
    assert found.mistakes == ()
    assert found.endpoints[0].secrets[0].reveal() == (tmp_path / "team.secret").read_text().strip()


def test_keygen_never_overwrites(tmp_path: Path, capsys: Printed) -> None:
    (tmp_path / "team.secret").write_text("precious")
    assert main(["keygen", "--file", str(tmp_path / "team.secret")]) == 1
    assert (tmp_path / "team.secret").read_text() == "precious"
    assert "already exists" in capsys.readouterr().err


def test_keygen_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert main(["keygen", "--file", str(tmp_path / "link")]) == 1
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", ["missing/team.secret", ".", "x" * 300])
def test_keygen_says_that_a_file_cannot_be_written(tmp_path: Path, capsys: Printed, name: str) -> None:
    code, printed = main(["keygen", "--file", str(tmp_path / name)]), capsys.readouterr()
    assert (code, printed.out, "whsec_" in printed.err) == (1, "", False)


def test_a_full_disk_leaves_no_half_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(ConfigError, match="No space left on device") as raised:
        write_secret(tmp_path / "team.secret", WHSEC)
    assert leaks(str(raised.value), WHSEC) == []
    assert list(tmp_path.iterdir()) == []


# --- check


def check(folder: Path, capsys: Printed, secret: str, *arguments: str) -> tuple[int, str]:
    path = folder / "webhooks.ini"
    path.write_text(f"[webhooks]\ndefault_url = https://hooks.example.test/\nsecret = {secret}\n")
    path.chmod(0o600)
    code, printed = main(["check", "--config", str(path), *arguments]), capsys.readouterr()
    return code, printed.out + printed.err


@pytest.mark.parametrize("secret", [WHSK, SEED_ALONE])
def test_check_shows_the_public_key_of_a_whsk_secret_and_never_the_secret(
    tmp_path: Path, capsys: Printed, secret: str
) -> None:
    code, text = check(tmp_path, capsys, f"{secret}\n  {WHSEC}", "--show-secrets")
    assert (code, receiver_form(secret) in text, WHSEC in text) == (0, True, True)
    assert leaks(text, secret) == []


def test_check_without_being_asked_shows_no_key_but_says_the_kinds(tmp_path: Path, capsys: Printed) -> None:
    code, text = check(tmp_path, capsys, f"{WHSK}\n  {WHSEC}\n  old-secret")
    assert (code, "whsk_, whsec_, text" in text, WHPK in text) == (0, True, False)
    assert leaks(text, WHSK, WHSEC, "old-secret") == []


@pytest.mark.parametrize("secret", [WHSK[:-8], WHSK.replace("A", "B"), SEED_ALONE + "AAAA", WHPK])
def test_check_shows_nothing_of_a_secret_that_is_malformed(tmp_path: Path, capsys: Printed, secret: str) -> None:
    code, text = check(tmp_path, capsys, secret, "--show-secrets")
    assert (code, secret.partition("_")[2][:12] in text) == (1, False)
