"""A scan whose machine lost power, played with the real scanner: the outbox lacks what was accepted last."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from sfwebhooks.receive.completeness import CompletenessCheck
from tests.host.conftest import Scanner, Team, scan_process, stop_group, until
from tests.host.test_scan_dies import configure

pytestmark = pytest.mark.slow

#: of the metadata of a message that comes again, what may be different
NUMBER = ("series", "sequence")
#: characters of data
HOST_KEEPS = 1024


def as_the_host_has_it(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message without its number; the host keeps only the beginning of a finding's data, and not where its
    module has it from."""
    metadata = {key: value for key, value in message["metadata"].items() if key not in NUMBER}
    data = {key: value for key, value in message["data"].items() if key not in ("recovered", "data_source")}
    if "data" in data:
        data["data"] = data["data"][:HOST_KEEPS]
    return {**message, "metadata": metadata, "data": data}


def test_what_was_lost_comes_again_with_other_numbers_and_as_the_host_still_has_it(
    scanner: Scanner, new_team: Callable[..., Team]
) -> None:
    team = new_team(tls=False)
    configure(scanner, team.receiver.url)
    outbox = scanner.home.data / "webhooks.db"
    process = scanner.start(environment=scanner.environment("slow"))
    try:
        until(lambda: len(team.got) > 5)
        with closing(sqlite3.connect(outbox, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            (kept,) = reader.execute("SELECT count(*) FROM delivery").fetchone()  # as long as it reads, the log grows
            files = {each: each.read_bytes() for each in (outbox, outbox.with_name("webhooks.db-wal"))}
        until(lambda: len(team.got) >= kept + 10)
        os.kill(scan_process(process.pid), signal.SIGKILL)
    finally:
        stop_group(process)
    for file, content in files.items():
        file.write_bytes(content)
    outbox.with_name("webhooks.db-shm").unlink()
    assert scanner.command("drain").returncode == 0

    messages: dict[str, list[dict[str, Any]]] = defaultdict(list)
    ids: dict[tuple[str, int], set[str]] = defaultdict(set)
    check = CompletenessCheck()
    for message in team.messages:
        metadata = message["metadata"]
        messages[metadata["delivery_id"]].append(message)
        ids[metadata["series"], metadata["sequence"]].add(metadata["delivery_id"])
    assert all(len(found) == 1 for found in ids.values()), "no number stands on two messages"
    again = [came for came in messages.values() if len({one["metadata"]["series"] for one in came}) > 1]
    assert len(again) >= 10
    for each in messages.values():
        assert [as_the_host_has_it(one) for one in each] == [as_the_host_has_it(each[0])] * len(each)
    *_, account = (account for one in team.messages if (account := check.enter(one)))
    assert account.complete, str(account)
    assert account.receipt["accepted"] == len(messages)
    assert set(team.hashes()) == set(scanner.hashes())
