"""What the documents say of adding a format: one file and one line, after which it is checked, previewed and sent."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sfwebhooks
from tests.builders import PATIENCE
from tests.receivers.vendor import Answer, Asked, serve

ROOT = Path(__file__).parents[2]
(CODE,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.S)
LINE = '    "google_chat": ("chat.googleapis.com",),\n'
KEY = "AKq7-token-of-an-application"


@pytest.fixture
def gotify() -> Iterator[tuple[str, list[Asked]]]:
    """A Gotify server; its URL and its requests."""
    got: list[Asked] = []

    def answer(asked: Asked) -> Answer:
        got.append(asked)
        if asked.headers.get("X-Gotify-Key") != KEY:
            return Answer(401, {"error": "Unauthorized", "errorCode": 401})
        return Answer(200, {"id": len(got), "appid": 1, **asked.json})

    with serve(answer) as root:
        yield f"{root}/message", got


def test_one_file_and_one_line_are_enough(gotify: tuple[str, list[Asked]], tmp_path: Path) -> None:
    url, got = gotify
    package = tmp_path / "src" / "sfwebhooks"
    shutil.copytree(Path(sfwebhooks.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "formats" / "gotify.py").write_text(CODE, encoding="utf-8")
    registry = package / "formats" / "__init__.py"
    text = registry.read_text(encoding="utf-8")
    assert text.count(LINE) == 1
    registry.write_text(text.replace(LINE, f'{LINE}    "gotify": (),\n'), encoding="utf-8")
    settings = tmp_path / "webhooks.ini"
    settings.touch(0o600)

    def run(command: str, priority: str = "8") -> tuple[int, str]:
        keys = {"url": url, "format": "gotify", "api_key": KEY, "gotify_priority": priority, "events": "all"}
        settings.write_text("[webhooks.phone]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()))
        path = {**os.environ, "PYTHONPATH": str(package.parent), "SPIDERFOOT_DATA": str(tmp_path)}
        called = [sys.executable, "-m", "sfwebhooks", *command.split()]
        done = subprocess.run(called, env=path, cwd=tmp_path, capture_output=True, text=True, timeout=3 * PATIENCE)
        return done.returncode, done.stdout + done.stderr

    code, said = run("check", priority="high")
    assert code and "gotify_priority" in said and "expected a number from 0 to 10" in said
    code, shown = run("preview phone --event high_risk_event")
    assert code == 0 and KEY not in shown and '"priority":8' in shown
    code, said = run("test phone")
    assert code == 0 and "delivered, http_200" in said
    (asked,) = got
    assert asked.json["priority"] == 8 and "test of this endpoint" in json.dumps(asked.json)
