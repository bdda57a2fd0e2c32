"""Whose the files of the data folder are: what root makes there, what another user has put there."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PosixPath
from types import SimpleNamespace
from typing import Any, Callable, cast

import pytest

from sfwebhooks.cli import main
from sfwebhooks.config.settings import load_mapping
from sfwebhooks.errors import OutboxBusyError, OutboxError
from sfwebhooks.host.install import install
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.locks import FileLocks, Lock
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.permissions import (
    LOCKS,
    TRIES,
    _family,
    _shortage,
    check_files,
    checked,
    identity,
    make,
    make_folder,
    open_ours,
    permission_warnings,
    refused,
    write_problem,
)
from sfwebhooks.scan.run import ScanRun
from tests.builders import PATIENCE, a_host_database, a_scan, an_endpoint
from tests.conftest import Result, Team, put
from tests.tiers import quick_first
from tests.users import NOBODY, as_user, command_as, descriptors, needs_root, no_more_descriptors, without_chown

ONE_STORE = "it is about the file"

TEAM = an_endpoint("default", events=("all",))
SETTINGS = "[webhooks]\nenabled = true\ndefault_url = {url}\nsecret = 0123456789abcdef\nevents = all\n"
FINDING = '{"finding_id": "f", "title": "t", "severity": "high"}'
EMIT = ("emit", "high_risk_event", "--data", "-")


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder of user NOBODY that others can look into, as the tests' own cannot."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    os.chown(folder, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def data(shared: Path, team: Team) -> Path:
    """The same as a data folder, with settings."""
    settings = shared / "webhooks.ini"
    settings.write_text(SETTINGS.format(url=team.url))
    os.chown(settings, NOBODY, NOBODY)
    settings.chmod(0o600)
    return shared


def owners(folder: Path) -> dict[str, int]:
    return {str(file.relative_to(folder)): file.stat().st_uid for file in folder.rglob("*")}


def an_outbox(folder: Path) -> Path:
    """Make an outbox with one delivery, and close it; return its path."""
    with closing(Outbox(folder / FILE)) as outbox:
        put(outbox, TEAM)
    return folder / FILE


def as_root_made_them(folder: Path, *files: str) -> None:
    for name in files:
        os.chown(folder / name, 0, 0)


# --- what root makes


@needs_root
def test_what_root_makes_belongs_to_the_owner_of_the_folder(shared: Path) -> None:
    lock = FileLocks(shared / FILE).url("1")
    with closing(Outbox(shared / FILE)) as outbox:
        put(outbox, TEAM)
        assert lock.take()
        lock.note("something")
        made = owners(shared)
    lock.release()
    names = {
        FILE,
        f"{FILE}-wal",
        f"{FILE}-shm",
        "webhooks.locks",
        "webhooks.locks/url-1.lock",
        "webhooks.locks/url-1.note",
        "webhooks.mark",
    }
    assert made == dict.fromkeys(names, NOBODY)


@pytest.mark.slow
@needs_root
def test_after_roots_first_command_the_user_sends(data: Path, team: Team) -> None:
    assert command_as(0, data, *EMIT, text=FINDING)[0] == 0
    assert command_as(0, data, "drain")[0] == 0
    assert command_as(NOBODY, data, *EMIT, text=FINDING)[0] == 0
    assert command_as(NOBODY, data, "drain")[0] == 0
    assert len(team.got) == 2


@needs_root
def test_a_secret_that_root_makes_belongs_to_the_owner_of_its_folder(shared: Path) -> None:
    assert main(["keygen", "--file", str(shared / "team.secret")]) == 0
    assert owners(shared) == {"team.secret": NOBODY}


@needs_root
def test_the_module_that_root_installs_can_be_read_by_the_user(shared: Path) -> None:
    (shared / "sfscan.py").write_text("")
    modules = shared / "modules"
    modules.mkdir()
    os.chown(modules, NOBODY, NOBODY)
    before = os.umask(0o077)
    path = install(modules)
    os.umask(before)
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (NOBODY, 0o644)


@needs_root
def test_a_file_that_root_cannot_give_to_the_owner_of_the_folder_is_removed(shared: Path) -> None:
    before = descriptors()
    with without_chown(), pytest.raises(PermissionError):
        make(shared / "new")
    assert (owners(shared), descriptors()) == ({}, before)


@needs_root
def test_a_file_that_a_user_creates_in_a_sticky_folder_of_root_is_the_users_own(shared: Path) -> None:
    os.chown(shared, 0, 0)
    shared.chmod(0o1777)
    with as_user(NOBODY):
        os.close(make(shared / "new"))
    assert owners(shared) == {"new": NOBODY}


def test_a_new_folder_of_locks_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = descriptors()
    make_folder(tmp_path / "new")
    assert descriptors() == before


# --- a file that others create and remove at the same time


class Disputed(PosixPath):
    """The path of a file that another process creates and removes.

    At each use of the path, by a call of the system, the file is there or not as the next one of `states` says.
    """

    states: tuple[bool, ...] = ()

    def __fspath__(self) -> str:
        path = super().__fspath__()
        if self.states:
            is_there, *rest = self.states
            self.states = (*rest,)
            if is_there:
                Path(path).touch(mode=0o600)
            else:
                Path(path).unlink(missing_ok=True)
        return path


def disputed(path: Path, *states: bool) -> Path:
    made = Disputed(path)
    made.states = states
    return made


def test_a_file_that_was_removed_before_it_could_be_opened_is_created(tmp_path: Path) -> None:
    os.close(open_ours(disputed(tmp_path / "one", True, False)))
    assert [file.name for file in tmp_path.iterdir()] == ["one"]


def test_a_file_that_is_created_and_removed_each_time_is_busy(tmp_path: Path) -> None:
    with pytest.raises(OutboxBusyError, match="is created and removed repeatedly"):
        open_ours(disputed(tmp_path / "one", *[True, False] * TRIES))


# --- what is another user's


@needs_root
@pytest.mark.parametrize("command", quick_first([EMIT, ("drain",), ("deliveries",), ("check",)]))
def test_an_outbox_of_root_is_refused_with_both_users_and_the_command(data: Path, command: tuple[str, ...]) -> None:
    as_root_made_them(data, an_outbox(data).name)
    code, text = command_as(NOBODY, data, *command, text=FINDING)
    assert code == 1
    assert "belongs to root (uid 0)" in text
    assert f"(uid {NOBODY}): as root, chown -R" in text
    assert text.count(str(data / FILE)) >= 2


@pytest.mark.slow
@needs_root
def test_the_command_that_a_refusal_names_helps(data: Path, team: Team) -> None:
    as_root_made_them(data, an_outbox(data).name)
    _, text = command_as(NOBODY, data, "drain")
    subprocess.run(text.partition("as root, ")[2].split(), check=True)
    assert command_as(NOBODY, data, "drain") == (0, "1 delivered, 0 waiting, 0 dead.")


@needs_root
@pytest.mark.parametrize("which", quick_first(["", "*.lock"]))
def test_check_says_that_a_lock_cannot_be_used(data: Path, team: Team, which: str) -> None:
    assert command_as(NOBODY, data, *EMIT, text=FINDING)[0] == 0
    assert command_as(NOBODY, data, "drain")[0] == 0
    locks = data / "webhooks.locks"
    files = sorted(locks.glob(which)) if which else [locks]
    as_root_made_them(data, *(str(file.relative_to(data)) for file in files))
    code, text = command_as(NOBODY, data, "check")
    assert code == 1
    assert f"{files[0]} belongs to root (uid 0)" in text
    assert f"chown -R nobody:{NOBODY} {locks}" in text


@needs_root
def test_check_warns_root_of_what_the_user_cannot_use(data: Path) -> None:
    as_root_made_them(data, an_outbox(data).name)
    _, text = command_as(0, data, "check")
    assert f"{FILE} belongs to root (uid 0), its folder to nobody (uid {NOBODY})" in text


@needs_root
@pytest.mark.parametrize(
    "command", quick_first([EMIT, ("drain",), ("deliveries",), ("check",), ("show", "abcd"), ("resume", "default")])
)
def test_a_folder_that_a_user_may_not_look_into_is_named(data: Path, command: tuple[str, ...]) -> None:
    an_outbox(data)
    os.chown(data, 0, 0)
    data.chmod(0o700)
    code, text = command_as(NOBODY, data, *command, text=FINDING)
    assert (code, "Traceback" in text) == (1, False)


@needs_root
def test_a_file_of_a_third_user_is_refused(shared: Path) -> None:
    os.chown(an_outbox(shared), 12345, 12345)
    with pytest.raises(OutboxError, match=r"belongs to uid 12345, its folder to nobody .* runs as root"):
        Outbox(shared / FILE).scans.tallies()


@needs_root
@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_a_log_that_somebody_else_put_there_is_refused(shared: Path, suffix: str) -> None:
    planted = Path(f"{an_outbox(shared)}{suffix}")
    planted.write_bytes(b"")
    os.chown(planted, 12345, 12345)
    with pytest.raises(OutboxError, match="belongs to uid 12345"):
        Outbox(shared / FILE).scans.tallies()


def test_a_file_that_everybody_can_write_to_is_refused(tmp_path: Path) -> None:
    an_outbox(tmp_path).chmod(0o666)
    with pytest.raises(OutboxError, match=f"everybody can write to {tmp_path / FILE}: chmod go-rwx"):
        Outbox(tmp_path / FILE).scans.tallies()


def test_a_file_that_others_can_read_is_a_doubt(tmp_path: Path) -> None:
    an_outbox(tmp_path).chmod(0o644)
    assert [text for text in permission_warnings(tmp_path / FILE) if "chmod 600" in text]


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_a_file_of_sqlite_that_everybody_can_write_to_is_refused(tmp_path: Path, suffix: str) -> None:
    path = an_outbox(tmp_path)
    path.with_name(FILE + suffix).touch()
    path.with_name(FILE + suffix).chmod(0o666)
    with pytest.raises(OutboxError, match=f"everybody can write to {path}{suffix}"):
        checked(path)


def test_a_lock_that_everybody_can_write_to_is_refused_and_closed(tmp_path: Path) -> None:
    lock = FileLocks(tmp_path / FILE).url("1")
    lock.check()
    (tmp_path / "webhooks.locks" / "url-1.lock").chmod(0o666)
    before = descriptors()
    with pytest.raises(OutboxError, match="everybody can write to"):
        lock.take()
    assert descriptors() == before


OTHER = 12345


@needs_root
@pytest.mark.parametrize(
    ("folder_owner", "folder_mode", "owner", "mode", "said"),
    [
        (OTHER, 0o755, NOBODY, 0o000, "nobody .* may not use {file}, which has the mode 0: chmod -R u.rwX {file}"),
        (OTHER, 0o755, OTHER, 0o600, "{file} belongs to uid 12345, and .* runs as nobody .*: run it as uid 12345"),
        (NOBODY, 0o755, OTHER, 0o600, "{file} belongs to uid 12345, its folder to nobody .*: as root, chown -R"),
        (OTHER, 0o755, NOBODY, 0o600, "nobody .* may not write to the folder .*, which belongs to uid 12345 .mode 755"),
        (OTHER, 0o754, NOBODY, 0o600, "nobody .* may not write to the folder .*, which belongs to uid 12345 .mode 754"),
        (NOBODY, 0o700, NOBODY, 0o600, "None"),
    ],
)
def test_what_keeps_a_user_from_the_outbox_is_named(
    shared: Path, folder_owner: int, folder_mode: int, owner: int, mode: int, said: str
) -> None:
    folder = shared / "data"
    folder.mkdir()
    path = an_outbox(folder)
    for each in folder.iterdir():
        os.chown(each, owner, owner)
        each.chmod(mode)
    os.chown(folder, folder_owner, folder_owner)
    folder.chmod(folder_mode)
    with as_user(NOBODY):
        found = str(write_problem(path))
    assert re.match(said.format(file=path), found), found


@needs_root
def test_a_folder_inside_one_that_a_user_may_not_look_into_is_named(shared: Path) -> None:
    (shared / "data").mkdir(mode=0o700)
    os.chown(shared, 0, 0)
    shared.chmod(0o700)
    with as_user(NOBODY):
        assert f"may not access the folder {shared / 'data'}" in str(write_problem(shared / "data" / FILE))


def test_a_lack_of_descriptors_passes_and_is_named(tmp_path: Path) -> None:
    path = an_outbox(tmp_path)
    with no_more_descriptors():
        found = write_problem(path)
    assert (type(found), str(found)) == (OutboxBusyError, os.strerror(errno.EMFILE))


@needs_root
def test_a_file_of_the_folders_owner_is_not_a_users_to_use(shared: Path) -> None:
    path = shared / FILE
    path.touch(mode=0o600)
    for each in (path, shared):
        os.chown(each, OTHER, OTHER)
    with as_user(NOBODY), pytest.raises(OutboxError, match="run it as uid 12345"):
        check_files(path)


@needs_root
def test_a_file_of_root_was_put_there_by_nobody_else(shared: Path) -> None:
    path = shared / FILE
    path.touch(mode=0o600)
    with as_user(NOBODY):
        assert checked(path) == path.resolve()


@needs_root
@pytest.mark.parametrize(("user", "is_doubtful"), [(0, True), (NOBODY, False)])
def test_root_is_warned_of_files_that_are_not_the_folders_owners(shared: Path, user: int, is_doubtful: bool) -> None:
    (shared / FILE).touch(mode=0o600)
    with as_user(user):
        found = list(permission_warnings(shared / FILE))
    assert [f"{FILE} belongs to root (uid 0), its folder to nobody" in text for text in found] == [True] * is_doubtful


def test_a_file_with_all_rights_for_its_owner_alone_is_not_a_doubt(tmp_path: Path) -> None:
    an_outbox(tmp_path).chmod(0o700)
    assert list(permission_warnings(tmp_path / FILE)) == []


# --- a system without owners


@pytest.fixture
def without_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system whose files have neither owners nor modes, as on Windows."""
    monkeypatch.setattr("sfwebhooks.system.OWNERS", False)


@pytest.mark.usefixtures("without_owners")
def test_without_owners_modes_are_not_a_doubt(tmp_path: Path) -> None:
    an_outbox(tmp_path).chmod(0o666)
    tmp_path.chmod(0o777)
    assert list(permission_warnings(tmp_path / FILE)) == []


@needs_root
@pytest.mark.usefixtures("without_owners")
def test_without_owners_a_new_folder_is_not_given_away(shared: Path) -> None:
    make_folder(shared / "new")
    assert owners(shared) == {"new": 0}


@needs_root
def test_without_owners_a_refusal_names_the_access_list(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shared / FILE).touch(mode=0o600)
    with as_user(NOBODY):
        monkeypatch.setattr("sfwebhooks.system.OWNERS", False)
        found = str(write_problem(shared / FILE))
    assert found == f"this user may not read and write {shared / FILE}: allow both in its access list and its folder's"


# --- the folder


def test_a_folder_of_locks_that_everybody_can_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "webhooks.locks").mkdir()
    (tmp_path / "webhooks.locks").chmod(0o777)
    with pytest.raises(OutboxError, match=r"everybody can write to .*webhooks\.locks"):
        FileLocks(tmp_path / FILE).url("1").take()


@needs_root
def test_the_group_that_can_write_to_a_folder_is_named(tmp_path: Path) -> None:
    os.chown(tmp_path, 0, OTHER)
    tmp_path.chmod(0o770)
    assert list(permission_warnings(tmp_path / FILE)) == [
        f"the group {OTHER} can write to the folder {tmp_path} and replace its files: chmod go-w {tmp_path}"
    ]


def test_a_folder_that_everybody_can_write_to_is_refused(tmp_path: Path) -> None:
    an_outbox(tmp_path)
    tmp_path.chmod(0o777)
    with pytest.raises(
        OutboxError, match=f"everybody can write to the folder {tmp_path}.* chmod o-w {tmp_path}, or set"
    ):
        Outbox(tmp_path / FILE).scans.tallies()


def test_in_a_sticky_folder_what_is_ours_is_used(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    assert an_outbox(tmp_path).stat().st_mode & 0o777 == 0o600


def test_a_folder_that_a_group_can_write_to_is_a_doubt(tmp_path: Path, cli: Callable[..., Result], team: Team) -> None:
    settings = tmp_path / "webhooks.ini"
    settings.write_text(SETTINGS.format(url=team.url))
    settings.chmod(0o600)
    tmp_path.chmod(0o775)
    if os.geteuid() == 0:
        os.chown(tmp_path, 0, 12345)
    elif not list(permission_warnings(tmp_path / FILE)):
        pytest.skip("the group of this user's folders is its own")
    checked = cli("check")
    assert (checked.code, f"can write to the folder {tmp_path}" in checked.words) == (0, True)


def test_a_sticky_folder_that_everybody_can_write_to_is_a_doubt(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    assert [
        text for text in permission_warnings(tmp_path / FILE) if f"everybody can write to the folder {tmp_path}" in text
    ]


@needs_root
def test_a_folder_that_only_its_owners_own_group_can_write_to_is_not_a_doubt(tmp_path: Path) -> None:
    os.chown(tmp_path, 0, 0)
    tmp_path.chmod(0o770)
    assert list(permission_warnings(tmp_path / FILE)) == []


@needs_root
@pytest.mark.parametrize(("owner", "is_doubtful"), [(OTHER, True), (NOBODY, False), (0, False)])
def test_a_folder_of_a_third_user_is_a_doubt(shared: Path, owner: int, is_doubtful: bool) -> None:
    os.chown(shared, owner, owner)
    with as_user(NOBODY):
        found = list(permission_warnings(shared / FILE))
    assert [f"{shared} belongs to uid {OTHER}, who can replace the outbox" in text for text in found] == (
        [True] if is_doubtful else []
    )


@needs_root
def test_for_root_a_folder_of_a_user_is_not_a_doubt(shared: Path) -> None:
    assert list(permission_warnings(shared / FILE)) == []


def test_a_folder_of_our_own_is_not_a_doubt(tmp_path: Path) -> None:
    an_outbox(tmp_path)
    assert list(permission_warnings(tmp_path / FILE)) == []


# --- links


@pytest.mark.parametrize("one", [FILE, f"{FILE}-wal", f"{FILE}-shm", "webhooks.locks", "webhooks.locks/url-1.lock"])
def test_of_each_file_its_family_is_known(tmp_path: Path, one: str) -> None:
    an_outbox(tmp_path).with_name(f"{FILE}-wal").touch()
    (tmp_path / "webhooks.locks").mkdir(exist_ok=True)
    assert [found.name for found in _family(tmp_path / one)] == [FILE, f"{FILE}-wal", "webhooks.locks"]


def test_a_family_has_the_ending_of_its_outbox(tmp_path: Path) -> None:
    for name in ("other.sqlite", "other.sqlite-wal", "webhooks.db"):
        (tmp_path / name).touch()
    assert [found.name for found in _family(tmp_path / "other.sqlite-wal")] == ["other.sqlite", "other.sqlite-wal"]


def test_a_link_of_ours_to_the_outbox_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o700)
    (tmp_path / FILE).symlink_to(tmp_path / "there" / "box.db")
    an_outbox(tmp_path)
    assert (tmp_path / "there" / "box.db").stat().st_size > 0


@needs_root
@pytest.mark.parametrize("target", ["precious.db", "not-there.db"])
def test_root_follows_no_link_of_a_user_to_what_is_not_that_users(shared: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "precious.db").write_text("precious")
    (shared / FILE).symlink_to(tmp_path / target)
    os.chown(shared / FILE, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(OutboxError, match=r"is a link to .* by nobody .* not trusted: remove the link"):
        Outbox(shared / FILE).scans.tallies()
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("precious.db", "precious")]


@needs_root
@pytest.mark.parametrize(("owner", "is_followed"), [(0, True), (NOBODY, True), (OTHER, True), (54321, False)])
def test_a_user_follows_links_of_root_the_folders_owner_and_the_user(
    shared: Path, owner: int, is_followed: bool
) -> None:
    (shared / "there").mkdir(mode=0o755)
    (shared / FILE).symlink_to(shared / "there" / "box.db")
    os.chown(shared / FILE, owner, owner, follow_symlinks=False)
    os.chown(shared, OTHER, OTHER)
    with as_user(NOBODY):
        if is_followed:
            assert checked(shared / FILE) == shared.resolve() / "there" / "box.db"
        else:
            with pytest.raises(OutboxError, match=r"is a link to .* by uid 54321, who is not trusted"):
                checked(shared / FILE)


@needs_root
def test_root_follows_a_link_of_root_to_what_is_a_users(shared: Path, tmp_path: Path) -> None:
    (tmp_path / FILE).symlink_to(shared / FILE)
    assert checked(tmp_path / FILE) == shared.resolve() / FILE


def test_a_link_in_a_folder_that_everybody_can_write_to_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o700)
    (tmp_path / FILE).symlink_to(tmp_path / "there" / FILE)
    tmp_path.chmod(0o777)
    with pytest.raises(OutboxError, match=f"everybody can write to the folder {tmp_path}"):
        checked(tmp_path / FILE)


@pytest.mark.parametrize("name", ["url-1.lock", "url-1.note"])
def test_a_link_in_the_place_of_a_lock_or_its_note_is_not_followed(tmp_path: Path, name: str) -> None:
    precious, lock = tmp_path / "precious", FileLocks(tmp_path / FILE).url("1")
    precious.write_text("precious")
    (tmp_path / FILE).with_suffix(LOCKS).mkdir()
    ((tmp_path / FILE).with_suffix(LOCKS) / name).symlink_to(precious)
    with pytest.raises(OutboxError, match=f"{name} is .*a link: remove it"):
        lock.take()
    lock.note("note")
    assert lock.noted() == ""
    assert precious.read_text() == "precious"


def test_a_link_in_the_place_of_the_folder_of_locks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / FILE).with_suffix(LOCKS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutboxError, match=f"{(tmp_path / FILE).with_suffix(LOCKS)} is not a folder: remove it"):
        FileLocks(tmp_path / FILE).url("1").take()


def test_a_pipe_in_the_place_of_a_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).with_suffix(LOCKS).mkdir(mode=0o700)
    os.mkfifo((tmp_path / FILE).with_suffix(LOCKS) / "url-1.lock")
    with pytest.raises(OutboxError, match="it is a named pipe; expected a regular file"):
        FileLocks(tmp_path / FILE).url("1").take()


# --- two names


def test_a_hard_link_to_the_outbox_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    os.link(an_outbox(tmp_path), tmp_path / "other" / FILE)
    for path in (tmp_path / FILE, tmp_path / "other" / FILE):
        with pytest.raises(OutboxError, match="has a second name"):
            Outbox(path).scans.tallies()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount the outbox, or its folder, a second time; return the outbox's other name: `mounted("folder")`."""
    mounts: list[Path] = []

    def mount(what: str) -> Path:
        path, other = an_outbox(tmp_path), tmp_path / "another name"
        other.mkdir(mode=0o700)
        source, target = (path, other / FILE) if what == "file" else (tmp_path, other)
        if what == "file":
            target.touch(mode=0o600)
        if subprocess.run(["mount", "--bind", source, target], capture_output=True).returncode:
            pytest.skip("only root can mount")
        mounts.append(target)
        return other / FILE

    yield mount
    for target in mounts:
        subprocess.run(["umount", "-l", target], check=True)


def test_an_outbox_that_is_mounted_as_a_single_file_is_refused(mounted: Callable[[str], Path]) -> None:
    with pytest.raises(OutboxError, match="is mounted as a single file, without its log"):
        Outbox(mounted("file")).scans.tallies()


def test_a_folder_that_is_mounted_twice_has_the_same_locks(tmp_path: Path, mounted: Callable[[str], Path]) -> None:
    other = mounted("folder")
    lock = FileLocks(tmp_path / FILE).url("1")
    assert (lock.take(), FileLocks(other).url("1").take()) == (True, False)
    lock.release()


# --- what does not pass is not waited for


def test_a_scan_does_not_wait_for_an_outbox_that_cannot_be_used(tmp_path: Path, team: Team) -> None:
    scan = a_scan(database=str(tmp_path / "spiderfoot.db"))
    a_host_database(tmp_path / "spiderfoot.db", scan)
    an_outbox(tmp_path).chmod(0o666)
    settings = load_mapping({"team": {"url": team.url, "events": "all"}, "drain_timeout": "1h"})
    run = ScanRun(scan, settings, tmp_path)
    run.begin()
    ending = threading.Thread(target=run.end, daemon=True)
    ending.start()
    ending.join(PATIENCE)
    assert not ending.is_alive()


@needs_root
def test_a_file_system_that_is_read_only_is_named(shared: Path, disk: Callable[..., Path]) -> None:
    folder = disk()
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    with pytest.raises(OutboxError, match=f"the file system of {folder} is read-only") as caught:
        Outbox(folder / FILE).scans.tallies()
    assert not isinstance(caught.value, OutboxBusyError)
    with pytest.raises(OutboxError, match=f"the file system of {folder} is read-only") as caught:
        Lock(folder / FILE, "1").take()
    assert not isinstance(caught.value, OutboxBusyError)


@needs_root
def test_a_file_system_without_inodes_is_named_and_passes(disk: Callable[..., Path]) -> None:
    folder = disk("nr_inodes=3")
    fillers = [folder / "a", folder / "b"]
    for file in fillers:
        file.touch()
    with pytest.raises(OutboxBusyError, match=f"the file system of {folder} has no inodes left"):
        Outbox(folder / FILE).scans.tallies()
    subprocess.run(["mount", "-o", "remount,nr_inodes=20", folder], check=True)
    with closing(Outbox(folder / FILE)) as outbox:
        assert outbox.scans.tallies()["waiting"] == 0


@needs_root
def test_a_log_that_finds_no_inode_is_named(disk: Callable[..., Path]) -> None:
    folder = disk("nr_inodes=5")
    an_outbox_of(folder)
    (folder / "a").touch()
    with pytest.raises(OutboxBusyError, match=f"the file system of {folder} has no inodes left"):
        (folder / "b").touch()
        Outbox(folder / FILE).scans.tallies()


def an_outbox_of(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,nr_inodes=20", folder], check=True)
    an_outbox(folder)
    subprocess.run(["mount", "-o", "remount,nr_inodes=5", folder], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """A disk of its own: `disk("nr_inodes=3")`."""
    folder = tmp_path / "disk"

    def mount(*options: str) -> Path:
        folder.mkdir()
        how = ",".join(("size=4m", "mode=700", *options))
        if subprocess.run(["mount", "-t", "tmpfs", "-o", how, "tmpfs", folder], capture_output=True).returncode:
            pytest.skip("only root can mount a disk")
        return folder

    yield mount
    subprocess.run(["umount", "-l", folder], capture_output=True)


def test_nothing_is_in_the_way_of_an_outbox_that_can_be_used(tmp_path: Path) -> None:
    assert (write_problem(an_outbox(tmp_path)), identity(tmp_path / "nowhere")) == (None, None)


def test_files_are_identified_by_their_inodes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).touch()
    os.link(tmp_path / "one", tmp_path / "one too")
    one, other, too = (identity(tmp_path / name) for name in ("one", "other", "one too"))
    assert (one == too, one == other) == (True, False)


@pytest.mark.parametrize(
    ("user", "space", "said"),
    [
        (1000, {"f_bavail": 0, "f_bfree": 9}, "is full"),
        (0, {"f_bavail": 0, "f_bfree": 9}, ""),
        (0, {"f_bavail": 0, "f_bfree": 0}, "is full"),
        (1000, {"f_bavail": 1, "f_bfree": 1}, ""),
        (1000, {"f_files": 9, "f_favail": 0}, "has no inodes left"),
        (1000, {"f_files": 0, "f_favail": 0}, ""),
    ],
)
def test_what_is_reserved_for_root_is_not_available_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, space: dict[str, int], said: str
) -> None:
    monkeypatch.setattr("sfwebhooks.system.user", lambda: user)
    given = {"f_files": 9, "f_favail": 9, "f_bavail": 9, "f_bfree": 9, **space}
    found = _shortage(tmp_path, cast(Any, SimpleNamespace(**given)))
    assert said in str(found) if said else found is None


def test_where_a_system_does_not_say_how_much_space_is_left_none_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows."""
    monkeypatch.delattr(os, "statvfs")
    assert write_problem(tmp_path / FILE) is None


def test_an_error_for_which_no_cause_is_found_keeps_the_systems_words(tmp_path: Path) -> None:
    error = refused("outbox x", tmp_path / FILE, PermissionError(errno.EACCES, "Permission denied"))
    assert str(error) == "outbox x cannot be used: Permission denied"


def test_a_log_that_another_process_removes_at_that_moment_is_no_obstacle(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.database.check()
    outbox.close()
    log_path, access = outbox.path.with_name(f"{outbox.path.name}-wal"), os.access
    log_path.touch()

    def closing_meanwhile(path: Path, *args: Any, **kwargs: Any) -> bool:
        if path == log_path:
            log_path.unlink(missing_ok=True)
        return access(path, *args)

    monkeypatch.setattr(os, "access", closing_meanwhile)
    with closing(Outbox(outbox.place, listing=True)) as listing:
        assert listing.retention.waiting_endpoints() == []
    assert not log_path.exists()
