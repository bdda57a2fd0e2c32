"""`sfwebhooks service`: files for systemd, Compose and cron that fit this installation, and any name of a folder."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from sfwebhooks.cli import main, parser
from sfwebhooks.cli.service import _in_unit, _is_private
from sfwebhooks.cli.web import TOKEN
from sfwebhooks.system import user_name
from tests.tiers import slow

#: names that a shell, systemd, Compose or cron reads in another way than they are meant
NAMES = ["plain", "a b", 'q"uote', "back\\slash", "end\\", "50%n", "$HOME", "${X}", "#no", "ü"]
EXPOSURE_MAX = 3.0


@pytest.fixture
def printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[str, str, Path]]:
    """Print a service file for a data folder: `printed("a b", "--cron")`; return it, the hint, and the folder."""

    def run(name: str, *arguments: str) -> tuple[str, str, Path]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "webhooks.ini").write_text("[webhooks.team]\nurl = http://127.0.0.1:9/\n")
        monkeypatch.setenv("SPIDERFOOT_DATA", str(folder))
        assert main(["service", *arguments]) == 0
        done = capsys.readouterr()
        return done.out, done.err, folder

    return run


def command_of(*words: str) -> list[str]:
    return [sys.executable, "-m", "sfwebhooks", *words]


def in_systemd(line: str) -> list[str]:
    """Return the words of a line as systemd reads it."""
    words = [match[1] or match[2] for match in re.finditer(r'"((?:[^"\\]|\\.)*)"|(\S+)', line)]
    return [re.sub(r"\\(.)", r"\1", word).replace("%%", "%").replace("$$", "$") for word in words]


@pytest.mark.parametrize("name", NAMES)
def test_the_unit_runs_the_service_for_any_name_of_a_folder(
    name: str, printed: Callable[..., tuple[str, str, Path]]
) -> None:
    unit, hint, folder = printed(name, "--systemd")
    keys = dict(line.split("=", 1) for line in unit.splitlines() if re.match(r"\w+=", line))
    assert in_systemd(keys["ExecStart"]) == command_of(
        "run", "--config", str(folder / "webhooks.ini"), "--folder", str(folder)
    )
    assert in_systemd(keys["ReadWritePaths"]) == [str(folder)]
    assert keys["User"] == user_name(folder.stat().st_uid)
    assert "/etc/systemd/system/sfwebhooks.service" in hint
    parser().parse_args(in_systemd(keys["ExecStart"])[3:])


@pytest.mark.parametrize("name", NAMES)
def test_the_cron_line_drains_for_any_name_of_a_folder(
    name: str, printed: Callable[..., tuple[str, str, Path]]
) -> None:
    text, hint, folder = printed(name, "--cron")
    line = text.splitlines()[-1]
    assert not re.search(r"(?<!\\)%", line), "cron would end the command there"
    minutes, *_, command = line.replace("\\%", "%").split(" ", 5)
    words = ["drain", "--quiet", "--config", str(folder / "webhooks.ini"), "--folder", str(folder)]
    assert (minutes, shlex.split(command)) == ("*/5", command_of(*words))
    assert "crontab" in hint


@pytest.mark.parametrize("name", NAMES)
def test_the_compose_service_has_the_folder_at_the_same_place(
    name: str, printed: Callable[..., tuple[str, str, Path]]
) -> None:
    text, hint, folder = printed(name, "--compose", "--image", "spiderfoot:5")
    (command,) = re.findall(r"^    command: (.*)$", text, re.M)
    mounts = [json.loads(line.replace("$$", "$")) for line in re.findall(r"^      - (\{.*)$", text, re.M)]
    words = ["run", "--config", str(folder / "webhooks.ini"), "--folder", str(folder)]
    assert json.loads(command.replace("$$", "$")) == words
    assert mounts == [{"type": "bind", "source": str(folder), "target": str(folder)}]
    assert '    image: "spiderfoot:5"\n' in text and "compose.yaml" in hint


def test_settings_elsewhere_are_mounted_too(printed: Callable[..., tuple[str, str, Path]], tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "hooks.ini").write_text("[webhooks.team]\nurl = http://127.0.0.1:9/\n")
    text, _, _ = printed("data", "--compose", "--config", str(tmp_path / "etc" / "hooks.ini"))
    mount = {"type": "bind", "source": str(tmp_path / "etc"), "target": str(tmp_path / "etc"), "read_only": True}
    assert f"      - {json.dumps(mount)}\n" in text


def test_an_outbox_elsewhere_can_be_written(printed: Callable[..., tuple[str, str, Path]], tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "webhooks.db").symlink_to(tmp_path / "disk" / "webhooks.db")
    unit, _, folder = printed("data", "--systemd")
    assert f"\nReadWritePaths={folder} {tmp_path / 'disk'}\n" in unit


def test_a_description_does_not_continue_on_the_next_line(printed: Callable[..., tuple[str, str, Path]]) -> None:
    unit, _, _ = printed("end\\", "--systemd")
    assert not [line for line in unit.splitlines() if line.endswith("\\")]


@pytest.mark.parametrize(("place", "hidden"), [("/tmp", 1), ("/tmp/a/b", 1), ("/var/tmp/a", 1), ("/srv/tmp", 0)])
def test_folders_that_the_unit_would_not_see_are_known(place: str, hidden: int) -> None:
    assert _is_private(Path(place)) == bool(hidden)


def test_the_unit_sees_settings_in_a_folder_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sfwebhooks.cli.service.PRIVATE", (tmp_path,))
    (tmp_path / "webhooks.ini").write_text("[webhooks.team]\nurl = http://127.0.0.1:9/\n")
    arguments = ["service", "--systemd", "--folder", "/usr", "--config", str(tmp_path / "webhooks.ini")]
    assert main(arguments) == 0
    assert "\nPrivateTmp=no\n" in capsys.readouterr().out
    monkeypatch.setattr("sfwebhooks.cli.service.PRIVATE", (tmp_path / "other",))
    assert main(arguments) == 0
    assert "\nPrivateTmp=yes\n" in capsys.readouterr().out


def test_variables_are_not_replaced_in_the_program_of_the_unit(
    printed: Callable[..., tuple[str, str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/opt/$x/bin/python")
    assert '\nExecStart="/opt/$x/bin/python" -m ' in printed("data", "--systemd")[0]


def test_links_to_other_folders_are_mounted_with_what_they_lead_to(
    printed: Callable[..., tuple[str, str, Path]], tmp_path: Path
) -> None:
    for name in ("disk", "data", "etc"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "webhooks.db").symlink_to(tmp_path / "disk" / "webhooks.db")
    (tmp_path / "data" / "webhooks.ini").symlink_to(tmp_path / "etc" / "hooks.ini")
    text, _, _ = printed("data", "--compose")
    mounts = [json.loads(line) for line in re.findall(r"^      - (\{.*)$", text, re.M)]
    assert [(one["source"], one.get("read_only", False)) for one in mounts] == [
        (str(tmp_path / "data"), False),
        (str(tmp_path / "disk"), False),
        (str(tmp_path / "etc"), True),
    ]
    assert all(one["source"] == one["target"] for one in mounts)


@pytest.mark.parametrize(
    ("kind", "place"), [("--systemd", "EnvironmentFile="), ("--compose", "env_file"), ("--cron", "NAME=VALUE")]
)
def test_variables_that_the_settings_name_are_named(
    kind: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path))
    monkeypatch.setenv("TEAM_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("TEAM_KEY", "Zeppelin-over-Ithaca")
    keys = "url = env:TEAM_URL\nsecret = env:TEAM_KEY\ndescription = env:NOTHING\n"
    (tmp_path / "webhooks.ini").write_text(f"[webhooks.team]\n{keys}")
    assert main(["service", kind, "--quiet"]) == 0
    said = capsys.readouterr().err
    assert ("(TEAM_KEY, TEAM_URL)" in said, place in said) == (True, True)


def test_quiet_prints_the_file_alone(printed: Callable[..., tuple[str, str, Path]]) -> None:
    assert printed("data", "--cron", "--quiet")[1] == ""


@pytest.mark.parametrize("name", ["new\nline", "escape\x1b"])
def test_a_name_that_no_file_can_have_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "webhooks.ini").write_text("[webhooks.team]\nurl = http://127.0.0.1:9/\n")
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path / name))
    assert main(["service", "--systemd"]) == 1
    assert "a character in it is not printable" in capsys.readouterr().err


def test_a_word_of_a_unit_is_quoted_if_it_must_be() -> None:
    assert [_in_unit(word) for word in ("/a/b.c", "a b", "%h")] == ["/a/b.c", '"a b"', '"%%h"']


@slow
@pytest.mark.parametrize("name", ["a b", "end\\"])
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_finds_the_unit_right_and_well_protected(
    printed: Callable[..., tuple[str, str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "$x").mkdir()
    (tmp_path / "$x" / "python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "$x" / "python"))
    unit = tmp_path / "sfwebhooks.service"
    unit.write_text(printed(name, "--systemd")[0])
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (verified.returncode, [line for line in verified.stderr.splitlines() if unit.name in line]) == (0, [])
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", rated.stdout)
    assert exposure, rated.stderr
    assert float(exposure[1]) <= EXPOSURE_MAX


@pytest.mark.parametrize("name", NAMES)
def test_the_unit_of_web_may_change_the_settings(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, found = tmp_path / "data", tmp_path / name / "webhooks.ini"
    for folder in (data, found.parent):
        folder.mkdir()
    found.write_text("[webhooks]\n")  # the page makes the first endpoint
    assert main(["service", "--systemd", "--web", "--folder", str(data), "--config", str(found)]) == 0
    unit, said = capsys.readouterr()
    keys = dict(line.split("=", 1) for line in unit.splitlines() if re.match(r"\w+=", line))
    assert in_systemd(keys["ExecStart"]) == command_of("web", "--config", str(found), "--folder", str(data))
    assert in_systemd(keys["ReadWritePaths"]) == [str(data), str(found.parent)]
    assert f"the service needs the environment variable {TOKEN}: set it in /etc/sfwebhooks.env, the file of" in said
    assert keys["EnvironmentFile"] == "/etc/sfwebhooks.env"


def test_the_container_of_web_is_reached_from_its_host_only(printed: Callable[..., tuple[str, str, Path]]) -> None:
    text, said, _ = printed("data", "--compose", "--web")
    (service,) = yaml.safe_load(text)["services"].values()
    assert (service["ports"], service["command"][:3]) == (
        ["127.0.0.1:8900:8900"],
        ["web", "--listen", "0.0.0.0:8900"],
    )
    assert f"{TOKEN}: set it in sfwebhooks.env, the file of env_file" in said
    assert service["env_file"] == "sfwebhooks.env"
    assert "ports" not in yaml.safe_load(printed("data", "--compose")[0])["services"]["sfwebhooks"]


def test_cron_does_not_start_web(capsys: pytest.CaptureFixture[str], printed: Callable[..., object]) -> None:
    printed("data", "--cron")
    with pytest.raises(SystemExit, match="2"):
        main(["service", "--cron", "--web"])
    assert "use --systemd or --compose" in capsys.readouterr().err
