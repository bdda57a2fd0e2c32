"""Several that write the settings at once, one that is killed while it does, and a file that cannot be written."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from subprocess import PIPE

import httpx
import pytest

from sfwebhooks.cli import main
from sfwebhooks.cli.web import TOKEN
from sfwebhooks.config.rewriting import PREVIOUS
from sfwebhooks.config.settings import load
from tests.builders import PATIENCE
from tests.processes import Process, run
from tests.tiers import slow
from tests.users import NOBODY, needs_root, open_folder
from tests.web.hooks import INI, SECRET, URL, Hooks
from tests.web.serving import OPERATOR, served

#: `sfwebhooks web` that kills itself at a line of the module that writes, or of the calls below it
KILLED = """
import os, signal, sys, threading
from sfwebhooks.cli import main
left = int(sys.argv[1])
def trace(frame, event, value):
    global left
    if frame.f_code.co_filename.endswith("rewriting.py") or frame.f_code.co_name in ("make", "copy_access"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
threading.settrace(trace)
sys.exit(main(sys.argv[2:]))
"""
#: the same as another user
AS_ANOTHER = """
import os, sys
import uvicorn.lifespan.off, uvicorn.loops.asyncio
import sfwebhooks.web.app, sfwebhooks.web.server
from sfwebhooks.cli import main
os.setgroups([])
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
sys.exit(main(sys.argv[2:]))
"""


def write(folder: Path, text: str = INI) -> Path:
    return Hooks(None, folder / "spiderfoot.conf").put(text)  # type: ignore[arg-type]


def begun(program: str, first: int, folder: Path) -> tuple[Process, httpx.Client]:
    """Start `sfwebhooks web` by a program; return a client as well."""
    command = [first, "web", "--folder", folder, "--listen", "127.0.0.1:0", "--no-deliver"]
    process = Process(command, program, env={**os.environ, TOKEN: OPERATOR}, stdout=PIPE)
    assert process.stdout
    url = process.stdout.readline().strip()
    headers = {"Authorization": f"Bearer {OPERATOR}"}
    return process, httpx.Client(base_url=url, headers=headers, timeout=PATIENCE, trust_env=False)


def check_kill(folder: Path, step: int) -> bool:
    """Kill the server at a step of a write; return whether it got so far."""
    path = write(folder)
    process, client = begun(KILLED, step, folder)
    new = INI.replace("events = all\n", "events = all\ndescription = ours\n")
    with process, client:
        try:
            reply = client.patch("/v1/webhooks/team", json={"description": "ours"})
            assert (reply.status_code, path.read_text()) == (200, new)
            return False
        except httpx.TransportError:
            assert process.wait(PATIENCE) == -signal.SIGKILL
            assert path.read_text() in (INI, new)
            assert len(load(path).endpoints) == 1
            return True
        finally:
            process.kill()
            process.wait(PATIENCE)


@pytest.mark.slow
def test_killed_at_any_step_of_a_write_the_file_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    step = 1
    while check_kill(tmp_path, step):
        step += 6
    assert step > 60
    assert sorted(one.name for one in tmp_path.iterdir() if "spiderfoot.conf" in one.name) == [
        "spiderfoot.conf",
        "spiderfoot.conf.previous",
    ]


def test_after_a_kill_the_next_request_succeeds(tmp_path: Path) -> None:
    assert check_kill(tmp_path, 40)
    os.utime(tmp_path / "spiderfoot.conf", (1, 1))
    with served(tmp_path, "--no-deliver") as web:
        assert web.client.patch("/v1/webhooks/team", json={"description": "again"}).status_code == 200
    assert "description = again\n" in (tmp_path / "spiderfoot.conf").read_text()


@slow
def test_the_api_and_commands_that_write_at_once_lose_no_change(tmp_path: Path) -> None:
    path = write(tmp_path)
    with served(tmp_path, "--no-deliver") as web:
        codes: list[int] = []

        def register(number: int) -> None:
            reply = web.client.post(
                "/v1/webhooks", json={"id": f"api{number}", "url": URL, "settings": {"timeout": "5s"}}
            )
            codes.append(reply.status_code)

        threads = [threading.Thread(target=register, args=(number,)) for number in range(4)]
        commands = [
            Process(["update", "team", "--set", f"metadata.k{number}=v", "--config", path], stdout=PIPE)
            for number in range(4)
        ]
        for thread in threads:
            thread.start()
        ended = [one.wait(PATIENCE) for one in commands]
        for thread in threads:
            thread.join()
    found = load(path)
    assert (codes, ended) == ([201] * 4, [0] * 4)
    assert {one.name for one in found.endpoints} == {"team", *(f"api{number}" for number in range(4))}
    assert len(next(one for one in found.endpoints if one.name == "team").metadata) == 4


def test_of_two_updates_with_the_same_tag_one_is_made(tmp_path: Path) -> None:
    write(tmp_path)
    with served(tmp_path, "--no-deliver") as web:
        tag = web.client.get("/v1/webhooks/team").headers["ETag"]
        codes: list[int] = []

        def change(number: int) -> None:
            body = {"description": f"by {number}"}
            codes.append(web.client.patch("/v1/webhooks/team", json=body, headers={"If-Match": tag}).status_code)

        threads = [threading.Thread(target=change, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(codes) == [200, *[412] * 5]


def test_a_command_after_the_api_sees_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path)
    with served(tmp_path, "--no-deliver") as web:
        body = {"id": "new", "url": "http://127.0.0.1:9/", "secret": SECRET}
        assert web.client.post("/v1/webhooks", json=body).status_code == 201
    assert main(["list", "--config", str(path)]) == 0
    assert "new" in capsys.readouterr().out


def test_a_file_that_cannot_be_replaced_is_a_problem(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / ".spiderfoot.conf.new").mkdir()
    with served(tmp_path, "--no-deliver") as web:
        status, words = Hooks(web, path).refused("PATCH", "team", {"active": False})
    assert (status, "cannot be changed" in words, "it is as it was" in words) == (409, True, True)
    assert not (tmp_path / f"spiderfoot.conf{PREVIOUS}").exists()


@needs_root
def test_a_file_that_only_its_owner_may_write_is_a_problem(tmp_path: Path) -> None:
    with open_folder() as folder:
        path = write(folder, f"[webhooks.team]\nurl = {URL}\n")
        path.chmod(0o644)
        process, client = begun(AS_ANOTHER, NOBODY, folder)
        with process, client:
            reply = client.patch("/v1/webhooks/team", json={"active": False})
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
        assert (reply.status_code, path.read_text()) == (409, f"[webhooks.team]\nurl = {URL}\n")
        assert "cannot be changed" in reply.json()["detail"]


def test_a_folder_without_settings_says_what_creates_them(tmp_path: Path) -> None:
    done = run(["web", "--folder", tmp_path, "--listen", "127.0.0.1:0"], timeout=PATIENCE)
    assert done.returncode == 1
    assert "sfwebhooks init" in done.stderr
