"""File systems, by what the system says of its mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfwebhooks import system
from sfwebhooks.config.settings import Settings
from sfwebhooks.doctor.installation import Installation, Level
from sfwebhooks.doctor.storage import FILE_SYSTEMS, file_system_kind
from tests.rows import in_one

#: as in /proc/self/mountinfo: a folder with a space in its name, a mount over another one, optional fields
MOUNTS = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 27 0:40 / /data rw - ext4 /dev/vdb rw
31 30 0:41 / /data rw master:7 - nfs4 server:/export rw
32 27 0:42 / /my\040data rw - tmpfs none rw
33 27 0:43 / /data/sub rw - xfs /dev/vdc rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/srv/webhooks", "ext4"),
        ("/data", "nfs4"),
        ("/data/a/b", "nfs4"),
        ("/database", "ext4"),
        ("/data/sub/a", "xfs"),
        ("/my data/a", "tmpfs"),
    ],
)
def test_the_innermost_and_last_mount_counts(monkeypatch: pytest.MonkeyPatch, path: str, kind: str) -> None:
    monkeypatch.setattr(system, "proc", lambda name: MOUNTS)
    assert system.file_system(Path(path)) == kind


@in_one("kind", FILE_SYSTEMS)
def test_a_file_system_that_may_lose_deliveries_needs_attention(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    monkeypatch.setattr(system, "proc", lambda name: f"1 0 0:1 / / rw - {kind} none rw\n")
    (report,) = file_system_kind(Installation(tmp_path, Settings))
    assert (report.level, report.words.partition(",")[0]) == (Level.WARNING, kind)
    assert report.cure in ("set SPIDERFOOT_DATA to a folder on a local disk", f"mount a volume at {tmp_path}")


def test_the_file_system_that_an_outbox_is_linked_to_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "webhooks.db").symlink_to(tmp_path / "elsewhere" / "webhooks.db")
    mounts = f"1 0 0:1 / / rw - ext4 none rw\n2 1 0:2 / {tmp_path.resolve()}/elsewhere rw - nfs4 none rw\n"
    monkeypatch.setattr(system, "proc", lambda name: mounts)
    (report,) = file_system_kind(Installation(tmp_path, Settings))
    assert report.words.startswith("nfs4, a network file system")


@pytest.mark.parametrize(("mounts", "words"), [("", "its type is not known on this system"), ("\n-\n", "its type")])
def test_a_system_that_says_nothing_of_its_mounts_is_not_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mounts: str, words: str
) -> None:
    monkeypatch.setattr(system, "proc", lambda name: mounts)
    (report,) = file_system_kind(Installation(tmp_path, Settings))
    assert (report.level, report.words.startswith(words)) == (Level.OK, True)
