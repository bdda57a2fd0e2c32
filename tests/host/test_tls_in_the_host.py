"""TLS inside the scanner's process, which switches verification off for everybody else in it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sfwebhooks.demo.certificates import Authority, Identity
from tests.host.conftest import Scanner, Team
from tests.tiers import slow


def conditions(scanner: Scanner) -> dict[str, tuple[str, str]]:
    return {row[0]: row[1:] for row in scanner.outbox("SELECT endpoint, condition, reason FROM health")}


def waiting(scanner: Scanner) -> dict[str, int]:
    query = "SELECT endpoint, count(*) FROM delivery WHERE state = 'waiting' GROUP BY endpoint"
    return dict(scanner.outbox(query))


@slow
def test_untrusted_endpoints_are_held_and_the_good_one_works(
    scanner: Scanner, new_team: Callable[..., Team], client_identity: Identity, tmp_path: Path
) -> None:
    good, unknown, strangers = new_team(), new_team(), new_team()
    other = Authority.create(tmp_path / "other", "Another CA")
    foreign = other.issue("stranger", client=True)
    few = {"events": "scan_*"}
    scanner.configure(
        "[webhooks]\nenabled = true\n"
        + scanner.mtls(good, client_identity, "good", **few)
        + scanner.mtls(unknown, client_identity, "unknown_ca", ca_bundle=str(other.cert), **few)
        + scanner.mtls(strangers, foreign, "stranger", **few)
    )

    code, log = scanner.scan(modules=("sfp_pageinfo",))

    assert code == 0
    assert good.names() == ["scan_started", "scan_completed"]
    assert (unknown.got, strangers.got) == ([], []), "nothing was sent"
    assert strangers.refused, "the receiver refused the certificate"
    found = conditions(scanner)
    assert found["unknown_ca"] == ("held", "tls_unverified")
    assert found["stranger"] == ("held", "client_certificate_refused")
    assert waiting(scanner) == {"unknown_ca": 2, "stranger": 2}, "they are kept"
    since = r"unhealthy since 20\S+ \S+ UTC"
    held = f"2 for stranger: held, client_certificate_refused, {since}; 2 for unknown_ca: held, tls_unverified, {since}"
    assert re.search(rf"webhooks: 2 delivered, 4 waiting \({held}\), 0 dead", log)


def test_public_cas_are_verified_after_the_scanner_switched_it_off(new_team: Callable[..., Team]) -> None:
    team = new_team()
    code = f"""
import ssl, sflib
sflib.SpiderFoot({{"__database": ":memory:", "_fetchtimeout": 5, "_useragent": "x"}})
assert ssl._create_default_https_context is ssl._create_unverified_context, "the trap is set"
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.network.sender import Sender
from sfwebhooks.signing import Request
print(Sender(Endpoint("x", Secret("{team.receiver.url}"))).send(Request(Secret("{team.receiver.url}"), {{}}, b"x")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "TLS_UNVERIFIED" in done.stdout, done.stderr
    assert team.got == []


@slow
@pytest.mark.parametrize("wrong", ["another key", "expired", "wrong password"])
def test_a_certificate_that_cannot_be_used_is_named_by_check_and_by_the_scan(
    wrong: str, scanner: Scanner, team: Team, ca: Authority, client_identity: Identity, tmp_path: Path
) -> None:
    section, named, said = section_with(wrong, scanner, team, ca, client_identity)
    scanner.configure("[webhooks]\nenabled = true\n" + section)

    checked = scanner.command("check")
    code, log = scanner.scan(modules=("sfp_pageinfo",))

    assert checked.returncode == 1
    for text in (checked.stdout, log):
        assert str(named) in text
        assert said in text
    assert code == 0
    assert team.got == []
    assert team.refused == [], "there was not even a connection"
    assert conditions(scanner)["security_team"] == ("held", "certificate_unusable")
    assert sum(waiting(scanner).values()) == 2


def section_with(wrong: str, scanner: Scanner, team: Team, ca: Authority, client: Identity) -> tuple[str, Path, str]:
    """Return the endpoint's section, the file that is wrong, and what is said about it."""
    few = {"events": "scan_*"}
    if wrong == "another key":
        other = ca.issue("somebody-else", client=True)
        section = scanner.mtls(team, client, client_key=str(other.key), **few)
        return section, other.key, "does not belong to"
    if wrong == "expired":
        old = ca.issue("expired", client=True, days=-1)
        return scanner.mtls(team, old, **few), old.cert, "expired on"
    locked = ca.issue("locked", client=True, password=b"right")
    return scanner.mtls(team, locked, client_key_password="wrong", **few), locked.key, "client_key_password"
