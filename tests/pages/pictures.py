"""Terminal captures as SVG, made by the commands themselves, and chat messages as PNG.

The commands work on an outbox of a healthy, a broken, a refusing and a dead receiver on this machine. What they print
is drawn as it is; the font is the reader's own, since a page must not load one from elsewhere.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from sfwebhooks.cli import main
from sfwebhooks.receive.checks import Checks
from sfwebhooks.receive.received import Received
from sfwebhooks.receive.responses import Response
from sfwebhooks.receive.server import Receiver
from tests.pages import DOCS

FOLDER = DOCS / "pictures"
WIDTH = 80
#: name of a picture -> its command
CAPTURES = {
    "check": "check",
    "test": "test",
    "deliveries": "deliveries --limit 8",
    "show": "show ID",
    "dead": "dead list",
    "events": "events",
}
#: formats of which there is a picture of a message
CHATS = ("slack", "teams", "discord")
#: size of such a picture in pixels
SIZE = (620, 420)
SVG = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.S)
BROWSER = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SETTINGS = """\
[webhooks]
enabled = true
events = all
secret = whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw

[webhooks.security_team]
url = {healthy}
events = high_risk_event

[webhooks.siem_system]
url = {broken}
format = siem

[webhooks.case_system]
url = {refusing}
events = high_risk_event
retry_schedule = 1s, 1s, 1s

[webhooks.archive]
url = http://127.0.0.1:9/webhook
events = system_alert
"""
FINDINGS = (
    ("high_risk_event", "VULNERABILITY_CVE_CRITICAL", "CVE-2026-0001 on mail.acme.test", "critical"),
    ("high_risk_event", "CLOUD_STORAGE_BUCKET_OPEN", "acme-backup.s3.amazonaws.com: 3 files found.", "high"),
    ("info_event", "INTERNET_NAME", "www.acme.test", "info"),
)


def write() -> int:
    """Write all pictures; return how many."""
    if find_spec("sfscan"):
        raise SystemExit("this environment has a scanner, and the pictures would show where: use one without")
    FOLDER.mkdir(exist_ok=True)
    with prepared() as folder:
        for name, words in CAPTURES.items():
            id = json.loads(printed("deliveries", "--endpoint", "case_system", "--json").splitlines()[-1])["delivery"]
            shown = printed(*(id if word == "ID" else word for word in words.split()))
            command = words.replace("ID", id[:8])
            (FOLDER / f"{name}.svg").write_text(drawn(shown, f"sfwebhooks {command}", name), encoding="utf-8")
        chats = CHATS if shutil.which("chromium") else ()
        for chat in chats:
            photograph(chat, folder)
    return len(CAPTURES) + len(chats)


@contextmanager
def prepared() -> Iterator[Path]:
    """Enter with a data folder whose outbox has delivered, waiting and dead deliveries."""
    # the refusing one accepts one finding, so that the refusal of the other one is that message's own fault
    answers: dict[str, Callable[[Received], Response]] = {
        "healthy": lambda received: Response(),
        "broken": lambda received: Response(503),
        "refusing": lambda received: Response(200 if b"bucket" in received.body.lower() else 400),
    }
    receivers = {name: Receiver(Checks(), respond=answer) for name, answer in answers.items()}
    home = Path(tempfile.gettempdir(), "spiderfoot")  # the pictures show it
    home.mkdir()
    try:
        os.environ |= {"HOME": str(home), "SPIDERFOOT_DATA": str(home), "COLUMNS": str(WIDTH), "FORCE_COLOR": "1"}
        os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        for receiver in receivers.values():
            receiver.start()
        urls = {name: receiver.url for name, receiver in receivers.items()}
        settings = home / "webhooks.ini"
        settings.touch(0o600)
        settings.write_text(SETTINGS.format(**urls), encoding="utf-8")
        for name in ("sfscan.py", "modules/sfp__stor_db.py"):
            (home / name).parent.mkdir(exist_ok=True)
            (home / name).touch()
        printed("install", "--spiderfoot", str(home))
        for number, (type, kind, data, severity) in enumerate(FINDINGS):
            found = {"event_type": kind, "data": data, "severity": severity, "title": data}
            (home / "data.json").write_text(json.dumps(found), encoding="utf-8")
            printed("emit", type, "--data", str(home / "data.json"), "--id", f"finding-{number}")
            printed("drain", "--timeout", "1s")
        printed("drain", "--timeout", "6s")
        yield home
    finally:
        for receiver in receivers.values():
            receiver.stop()
        shutil.rmtree(home)


def printed(*command: str) -> str:
    """Return what a command prints on a terminal."""
    out = io.StringIO()
    with redirect_stdout(out):
        main(command)
    return out.getvalue()


def drawn(shown: str, title: str, name: str) -> str:
    """Return a capture as SVG."""
    out = Console(record=True, width=WIDTH, file=io.StringIO(), legacy_windows=False)
    out.print(Text.from_ansi(shown), soft_wrap=True)
    return out.export_svg(title=title, code_format=SVG, unique_id=name)


def photograph(chat: str, folder: Path) -> None:
    """Write the picture of a message in a chat's format, as `sfwebhooks preview --html` draws it."""
    (folder / "webhooks.ini").write_text(
        f"[webhooks.soc]\nurl = https://hooks.example.com/api/webhooks/1/token\nformat = {chat}\n", encoding="utf-8"
    )
    page = folder / f"{chat}.html"
    printed("preview", "soc", "--event", "high_risk_event", "--html", str(page))
    window = f"--window-size={SIZE[0]},{SIZE[1]}"
    to = f"--screenshot={FOLDER / f'{chat}.png'}"
    own = f"--user-data-dir={folder / 'browser'}"
    subprocess.run(["chromium", *BROWSER, own, window, to, page.as_uri()], check=True, capture_output=True)
