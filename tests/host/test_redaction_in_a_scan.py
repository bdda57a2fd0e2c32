"""What the real scanner finds, and no chat gets: in no message, header, digest or alert, and in no command."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import host_shim
from tests.host.conftest import Scanner, Team
from tests.host.modules.leaks import CARD, KEY, NAME, PASSWORD

pytestmark = pytest.mark.slow
SOURCE = Path(__file__).with_name("modules") / "leaks.py"
NEEDLES = (PASSWORD, KEY, CARD, "4111 1111", NAME)
#: chats that take the answer of any receiver
CHATS = ("slack", "mattermost", "teams")


@pytest.fixture(autouse=True)
def leaking(alone: None) -> Iterator[None]:
    """The module that finds secrets, among the host's."""
    copied = host_shim().parent / "sfp_test_leaks.py"
    shutil.copy(SOURCE, copied)
    yield
    copied.unlink()


def text_of(team: Team) -> str:
    """Return all that a receiver got, headers too."""
    assert team.got and not team.refused
    return "\n".join(f"{one.path} {dict(one.headers)} {one.body.decode()}" for one in team.got).replace("\\", "")


def test_secrets_and_people_reach_no_chat_and_machines_as_their_rules_say(
    scanner: Scanner, new_team: Callable[..., Team]
) -> None:
    chats = {name: new_team(tls=False, secret="") for name in CHATS}
    lake, siem = new_team(tls=False, secret=""), new_team(tls=False, secret="")
    keys = [f"{name}.url = {team.receiver.url}\n{name}.format = {name}" for name, team in chats.items()]
    keys += [f"{name}.rate = 100/s\n{name}.digest = off" for name in chats]  # a digest does not name the types
    keys += [f"lake.url = {lake.receiver.url}", f"siem.url = {siem.receiver.url}", "siem.redact_key = " + "k" * 32]
    keys += ["siem.redact = PASSWORD_COMPROMISED: hash, PGP_KEY: drop, CREDIT_CARD_NUMBER: mask"]
    lines = "\n".join((*keys, *(f"{line.split('.')[0]}.events = all" for line in keys if ".url" in line)))
    scanner.configure(f"[webhooks]\nenabled = true\ndrain_timeout = 60s\n{lines}\n")
    code, log = scanner.scan(modules=("sfp_test_leaks",), target="acme.test")
    assert (code, scanner.status()) == (0, "FINISHED"), log
    scanner.command("drain", "--timeout", "60s")

    whole = text_of(lake)
    assert [needle for needle in NEEDLES if needle not in whole] == [], "all of them were found"
    for name, team in chats.items():
        shown = text_of(team)
        assert [needle for needle in NEEDLES if needle in shown] == [], name
        assert all(kind in shown for kind in ("PASSWORD_COMPROMISED", "CREDIT_CARD_NUMBER", "PGP_KEY")), name
    data = [one["data"] for one in siem.messages]
    hashes = {one["data"] for one in data if one.get("event_type") == "PASSWORD_COMPROMISED"}
    sources = {source["data"] for one in data for source in one.get("sources", ())
               if source["event_type"] == "PASSWORD_COMPROMISED"}  # fmt: skip
    assert len(hashes) == 1 and hashes == sources and hashes.pop().startswith("hash:")

    scan_id = scanner.rows("SELECT guid FROM tbl_scan_instance")[0][0]
    printed = [scanner.command("preview", "slack", "--scan", scan_id), scanner.command("deliveries", "--scan", scan_id)]
    printed += [scanner.command("preview", "slack", "--scan", scan_id, "--html", str(scanner.folder / "page.html"))]
    replayed = scanner.command("replay", "--endpoint", "slack", "--scan", scan_id, "--state", "delivered")
    before = len(chats["slack"].got)
    drained = scanner.command("drain", "--timeout", "60s")
    assert len(chats["slack"].got) > before, (replayed, drained)
    assert "replayed messages" in chats["slack"].got[-1].body.decode(), "a digest"
    page = (scanner.folder / "page.html").read_text(encoding="utf-8")
    seen = "\n".join((text_of(chats["slack"]), page, *(one.stdout + one.stderr for one in printed)))
    assert [needle for needle in NEEDLES if needle in seen.replace("\\", "")] == []
