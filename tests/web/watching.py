"""What a running server uses of the system: its open files and its memory."""

from __future__ import annotations

from pathlib import Path

from tests.web.serving import Web

#: files that one may open later: those of the outbox and its locks, and connections to receivers
SPARE = 16


def descriptors(web: Web) -> int:
    """Return how many files it has open."""
    return len([*Path(f"/proc/{web.process.pid}/fd").iterdir()])


def memory(web: Web) -> int:
    """Return the bytes of its memory that are in use."""
    status = Path(f"/proc/{web.process.pid}/status").read_text(encoding="utf-8")
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def settings(folder: Path, url: str) -> None:
    """Write the settings of one endpoint."""
    file = folder / "webhooks.ini"
    file.touch(0o600)
    file.write_text(f"[webhooks.team]\nurl = {url}\nevents = all\n", encoding="utf-8")
