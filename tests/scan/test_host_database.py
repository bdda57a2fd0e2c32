"""The host's database, as far as no other test of this folder reads it."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sfwebhooks.errors import ConfigError, HostBusyError, SlowReadError
from sfwebhooks.scan.findings import SOURCES_MAX, Finding, Source
from sfwebhooks.scan.host_address import DATABASE
from sfwebhooks.scan.host_database import MODULE, HostDatabase, not_output
from sfwebhooks.scan.own_host import NO_DATABASE, NO_SCANS, saved_options, unsupported
from tests.builders import NOW, PATIENCE, a_host_database, a_scan
from tests.host_databases import Place, writing

SCAN = a_scan()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The database of a host with a scan."""
    a_host_database(tmp_path / DATABASE, SCAN)
    return tmp_path / DATABASE


@pytest.fixture
def host(host_database: str) -> str:
    """The same, in a file and on a server."""
    a_host_database(host_database, SCAN)
    return host_database


def change(path: Place, query: str, *rows: tuple[object, ...]) -> None:
    with writing(path) as connection:
        connection.executemany(query, rows or [()])


def describe(path: Place, number: int) -> None:
    """Let the host know so many types of events."""
    rows = [(f"TYPE_{one}", f"Words {one}", 0, "ENTITY") for one in range(number)]
    change(path, "INSERT INTO tbl_event_types VALUES (?, ?, ?, ?)", *rows)


def test_saved_options_that_cannot_be_read_now_may_name_the_configuration(tmp_path: Path) -> None:
    a_host_database(tmp_path / DATABASE, a_scan())
    with closing(sqlite3.connect(tmp_path / DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConfigError, match="which may name the configuration, is locked: try again"):
            saved_options(tmp_path, limit=0.05)
        other.execute("ROLLBACK")
    assert saved_options(tmp_path) == {}


def test_without_a_database_there_are_no_saved_options(tmp_path: Path) -> None:
    assert saved_options(tmp_path) == {}
    (tmp_path / DATABASE).write_bytes(b"no database" * 100)
    assert saved_options(tmp_path) == {}
    (tmp_path / DATABASE).unlink()
    (tmp_path / DATABASE).mkdir()
    with pytest.raises(ConfigError, match="which may name the configuration, cannot be read"):
        saved_options(tmp_path)


def test_saved_options_are_those_of_our_module(path: Path) -> None:
    rows = [(MODULE, "config", "/etc/webhooks.ini"), ("sfp_dns", "config", "another"), (MODULE, "enabled", "1")]
    change(path, "INSERT INTO tbl_config VALUES (?, ?, ?)", *rows)
    assert saved_options(path.parent) == {"config": "/etc/webhooks.ini", "enabled": "1"}


def test_the_file_of_the_database_that_cannot_be_read_is_named(path: Path) -> None:
    log = path.with_name(f"{DATABASE}-wal")
    log.mkdir()
    with pytest.raises(ConfigError, match=f"{log}, which may name the configuration, cannot be read: Is a directory"):
        saved_options(path.parent)


# --- which host it is


@pytest.fixture
def scanner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where Python looks for the host's modules."""
    folder = tmp_path / "host"
    folder.mkdir()
    monkeypatch.delitem(sys.modules, "sfscan", raising=False)
    monkeypatch.setattr(sys, "path", [str(folder)])
    yield folder


def test_a_host_without_sfscan_is_not_supported(scanner: Path, path: Path) -> None:
    assert unsupported(str(path)) == NO_SCANS


def test_a_host_whose_database_is_neither_a_file_nor_on_a_server_is_not_supported(scanner: Path) -> None:
    (scanner / "sfscan.py").touch()
    assert unsupported(str(scanner)) == unsupported("redis://db") == NO_DATABASE


def test_a_host_with_sfscan_and_a_database_file_is_supported(scanner: Path, path: Path) -> None:
    (scanner / "sfscan.py").touch()
    assert unsupported(str(path)) == ""


# --- what it says of a scan


def test_the_modules_of_a_scan_are_named_without_output_modules(host: str) -> None:
    modules = "sfp_dns,sfp__stor_db,,sfp_spider,sfp__stor_webhooks"
    change(host, "INSERT INTO tbl_scan_config VALUES (?, 'GLOBAL', '_modulesenabled', ?)", (SCAN.id, modules))
    assert HostDatabase(host).modules(SCAN.id) == ["sfp_dns", "sfp_spider"]
    assert not_output(modules.split(",")) == ["sfp_dns", "sfp_spider"]


def find(path: Place, hash: str, parent: str, type: str = "INTERNET_NAME", **values: object) -> None:
    """Write a finding as the host does."""
    row = {"data": f"data of {hash}", "module": f"module of {hash}", "generated": NOW, "confidence": 90,
           "visibility": 80, "risk": 70, **values}  # fmt: skip
    row |= {"scan_instance_id": SCAN.id, "hash": hash, "type": type, "source_event_hash": parent, "false_positive": 0}
    names = ", ".join(row)
    change(path, f"INSERT INTO tbl_scan_results ({names}) VALUES ({','.join('?' * len(row))})", tuple(row.values()))


def found(path: Place, *hashes: str) -> list[Finding]:
    return list(HostDatabase(str(path)).findings(SCAN.id, hashes))


def test_a_finding_comes_back_with_all_that_led_to_it_up_to_the_target(host: str) -> None:
    find(host, "ROOT", "ROOT", "ROOT")
    find(host, "target", "ROOT", "DOMAIN_NAME")
    find(host, "page", "target", "URL")
    find(host, "hole", "page", "VULNERABILITY_CVE_HIGH", generated=NOW + 5)
    sources = (Source("URL", "data of page", "module of page", "page"),
               Source("DOMAIN_NAME", "data of target", "module of target", "target"))  # fmt: skip
    expected = Finding("VULNERABILITY_CVE_HIGH", "data of hole", "module of hole", "hole", NOW + 5, 90, 80, 70, sources,
                       recovered=True)  # fmt: skip
    assert found(host, "hole") == [expected]


def test_a_finding_whose_source_is_gone_comes_back_without_it_and_one_that_is_gone_does_not(host: str) -> None:
    find(host, "hole", "page")
    assert [(one.hash, one.sources) for one in found(host, "gone", "hole")] == [("hole", ())]


def test_sources_that_lead_in_a_circle_are_followed_for_a_while(host: str) -> None:
    find(host, "a", "b")
    find(host, "b", "a")
    (finding,) = found(host, "a")
    assert len(finding.sources) == SOURCES_MAX


def test_the_type_of_a_target_is_that_of_the_event_below_root_and_unknown_before_there_is_one(host: str) -> None:
    assert HostDatabase(host).target_type(SCAN.id) == ""
    find(host, "ROOT", "ROOT", "ROOT")
    find(host, "target", "ROOT", "DOMAIN_NAME")
    find(host, "page", "target", "URL")
    assert HostDatabase(host).target_type(SCAN.id) == "DOMAIN_NAME"


def test_the_host_gives_its_reason_for_the_last_failure_of_a_scan(host: str) -> None:
    assert HostDatabase(host).last_failure(SCAN.id) == ""
    rows = [(SCAN.id, at, f"Scan [{SCAN.id}] failed: {why}") for at, why in ((2, "no [1] failed: x"), (1, "earlier"))]
    change(host, "INSERT INTO tbl_scan_log VALUES (?, ?, 'sfscan', 'ERROR', ?)", *rows)
    assert HostDatabase(host).last_failure(SCAN.id) == "no [1] failed: x"


# --- limits of a read


def test_a_read_with_a_limit_does_not_wait_longer_for_a_lock(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        release = threading.Timer(2.0, lambda: other.execute("ROLLBACK"))
        release.start()
        with pytest.raises(HostBusyError, match="database is locked"):
            HostDatabase(str(path), 0.02).scan_ids()
        release.cancel()
        release.join(PATIENCE)


def test_a_read_that_takes_longer_than_its_limit_is_given_up(path: Path) -> None:
    describe(path, 5000)
    with pytest.raises(SlowReadError, match="interrupted"):
        HostDatabase(str(path), 1e-6).descriptions()


def test_a_read_within_its_limit_is_complete(path: Path) -> None:
    describe(path, 5000)
    assert len(HostDatabase(str(path), PATIENCE).descriptions()) == 5000
