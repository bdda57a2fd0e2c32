"""The fields that a vulnerability gets."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sfwebhooks.enrichment.enrichment import NO_ENRICHMENT, Enrichment
from tests.builders import CVE, PATIENCE, an_enrichment

KEV = "cveID,dueDate\nCVE-2021-1000,2026-12-24\nCVE-2021-2000,2026-12-01\nCVE-2021-3000,\n"
EPSS = "cve,epss,percentile\nCVE-2021-1000,0.25,0.5\nCVE-2021-2000,0.75,0.875\nCVE-2021-4000,0.00001,0.00005\n"


@pytest.fixture
def known(tmp_path: Path) -> Enrichment:
    (tmp_path / "kev.csv").write_text(KEV)
    (tmp_path / "epss.csv").write_text(EPSS)
    return Enrichment(tmp_path / "kev.csv", tmp_path / "epss.csv")


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (
            "CVE-2021-1000\nScore: 5",
            {"known_exploited": True, "kev_due_date": "2026-12-24", "epss_score": 0.25, "epss_percentile": 0.5},
        ),
        ("CVE-2021-3000", {"known_exploited": True}),
        ("CVE-2021-4000", {"epss_score": 0.00001, "epss_percentile": 0.00005}),
        ("CVE-2021-5000", {}),
        ("nothing", {}),
        # of several: any, the earliest date, the highest score
        (
            "CVE-2021-5000 CVE-2021-2000 CVE-2021-1000 CVE-2021-3000",
            {"known_exploited": True, "kev_due_date": "2026-12-01", "epss_score": 0.75, "epss_percentile": 0.875},
        ),
        ("CVE-2021-5000\nDescription: as CVE-2021-1000", {}),
    ],
)
def test_what_is_known_of_a_finding(known: Enrichment, text: str, fields: dict[str, object]) -> None:
    assert known.of(text) == fields
    assert known.is_exploited(text) is ("known_exploited" in fields)


def test_each_file_can_be_the_only_one(tmp_path: Path) -> None:
    assert an_enrichment(tmp_path, due="").of(CVE) == {"known_exploited": True}
    assert an_enrichment(tmp_path, epss=(0.5, 0.75)).of(CVE) == {"epss_score": 0.5, "epss_percentile": 0.75}
    assert NO_ENRICHMENT.of(CVE) == {}
    assert (NO_ENRICHMENT.is_set, NO_ENRICHMENT.raises, NO_ENRICHMENT.files) == (False, False, [])


def test_nothing_is_read_before_the_first_cve_comes(
    known: Enrichment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def look(path: Path) -> tuple[int]:
        read.append(path)
        return (1,)

    monkeypatch.setattr("sfwebhooks.enrichment.data_file.state_of", look)
    assert [known.of("nothing"), known.is_exploited("CVE-")] == [{}, False]
    assert read == []
    known.of(CVE)
    assert [path.name for path in read] == ["epss.csv", "kev.csv"]


def test_a_file_that_cannot_be_used_does_not_keep_the_other_from_being_used(known: Enrichment, tmp_path: Path) -> None:
    (tmp_path / "kev.csv").write_bytes(b"\x1f\x8bx")
    assert known.of("CVE-2021-1000") == {"epss_score": 0.25, "epss_percentile": 0.5}
    assert not known.is_exploited("CVE-2021-1000")


def test_several_threads_may_be_the_first(known: Enrichment) -> None:
    start, found = threading.Barrier(4, timeout=PATIENCE), []

    def ask() -> None:
        start.wait()
        found.append(known.of("CVE-2021-2000")["epss_score"])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert found == [0.75] * 4
