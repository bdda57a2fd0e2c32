"""What the commands print of a delivery: what its endpoint would get, and by which rule it is masked."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import pytest

from sfwebhooks.outbox.outbox import Outbox
from tests.builders import an_event
from tests.conftest import Result
from tests.filled import an_id, put_event
from tests.stores import BOTH

STORES = BOTH

LOGIN = "jane@acme.example:hunter22! [x]"
DATA = {
    "event_type": "PASSWORD_COMPROMISED",
    "data": LOGIN,
    "module": "sfp_x",
    "description": "of hunter22!",
    "sources": [{"event_type": "LEAKSITE_CONTENT", "data": f"{LOGIN} and 4111111111111111"}],
}
SETTINGS = """
[webhooks.chat]
url = http://127.0.0.1:1/
format = slack
[webhooks.siem]
url = http://127.0.0.1:1/
redact = default
    PASSWORD_COMPROMISED: hash
redact_key = of-the-siem-0123456789abcdef
[webhooks.lake]
url = http://127.0.0.1:1/
"""


@pytest.fixture
def stored(outbox: Outbox, tmp_path: Path) -> str:
    """The start of the id of an event that three endpoints get, and one that the settings no longer have."""
    path = tmp_path / "webhooks.ini"
    path.touch(0o600)
    path.write_text(SETTINGS, encoding="utf-8")
    for endpoint in ("chat", "siem", "lake", "gone"):
        put_event(outbox, an_event(1, data=DATA), endpoint)
    return an_event(1).id


@pytest.mark.parametrize(
    ("endpoint", "shown", "words"),
    [
        ("chat", "j••••@acme.example:h••••! [x]", "redacted PASSWORD_COMPROMISED: mask (default)"),
        ("siem", "hash:", "redacted PASSWORD_COMPROMISED: hash, "),
        ("lake", "j••••@acme.example:h••••! [x]", "only here; it is sent as it is"),
        ("gone", "j••••@acme.example:h••••! [x]", "redacted PASSWORD_COMPROMISED: mask (default)"),
    ],
)
def test_show_says_what_an_endpoint_gets_and_why(
    cli: Callable[..., Result], stored: str, endpoint: str, shown: str, words: str
) -> None:
    found = cli("show", an_id(1, endpoint))
    assert shown in found.words
    assert words in found.words
    assert "unter22" not in found.out


@pytest.mark.parametrize(("endpoint", "is_whole"), [("chat", False), ("siem", False), ("lake", True), ("gone", False)])
def test_so_does_its_json(cli: Callable[..., Result], stored: str, endpoint: str, is_whole: bool) -> None:
    found = cli("show", an_id(1, endpoint), "--json")
    assert ("hunter22!" in found.out, "4111111111111111" in found.out) == (is_whole, is_whole)


@pytest.mark.parametrize("arguments", [(), ("--html", "page.html")])
def test_preview_shows_what_an_endpoint_gets_and_names_the_rules(
    cli: Callable[..., Result], stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, rule in (("chat", "mask (default)"), ("siem", "hash")):
        if not (name == "siem" and arguments):
            found = cli("preview", name, "--delivery", an_id(1, name), *arguments)
            page = Path("page.html").read_text(encoding="utf-8") if arguments else found.out
            assert "unter22" not in page and "41111111" not in page and "PASSWORD_COMPROMISED" in page
            assert f"sfwebhooks: redacted for {name}: " in found.err
            assert f"PASSWORD_COMPROMISED: {rule}" in found.err
    assert "hunter22!" in cli("preview", "lake", "--delivery", an_id(1, "lake")).out


def test_a_rule_without_its_key_holds_the_endpoint_and_check_says_so(
    cli: Callable[..., Result], stored: str, tmp_path: Path
) -> None:
    path = tmp_path / "webhooks.ini"
    path.write_text(SETTINGS.replace("redact_key", "# redact_key"), encoding="utf-8")
    found = cli("check")
    assert found.code == 1
    assert "redact has a rule with hash, which requires redact_key" in " ".join((found.out + found.err).split())
    assert cli("preview", "siem").code == 1, "nothing is shown unhashed"
