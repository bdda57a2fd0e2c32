"""Which CVEs a finding is about."""

from __future__ import annotations

import pytest

from sfwebhooks.enrichment.cves import TEXT_MAX, cves_in

#: as SpiderFoot's `cveInfo` writes it
WITH_DESCRIPTION = (
    "CVE-2021-45046\n<SFURL>https://nvd.nist.gov/vuln/detail/CVE-2021-45046</SFURL>\nScore: 9.0\n"
    "Description: The fix of CVE-2021-44228 was incomplete."
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("CVE-2026-0001 on mail.acme.example", ["CVE-2026-0001"]),
        (WITH_DESCRIPTION, ["CVE-2021-45046"]),
        ("CVE-2021-1000, CVE-1999-0001\nCVE-2021-1000", ["CVE-2021-1000", "CVE-1999-0001"]),
        ("(CVE-2021-12345678)", ["CVE-2021-12345678"]),
        ("heartbleed (CVE-2014-0160 vulnerable)", ["CVE-2014-0160"]),
        ("", []),
        ("CVE-2021-123 CVE-1998-0001 CVE-2121-0001 cve-2021-1234 XCVE-2021-1234", []),
        (f"CVE-2021-{'1' * 20}", []),
        ("CVE-\u0662\u0660\u0662\u0661-1234", []),
        ("Description: CVE-2021-44228", ["CVE-2021-44228"]),
    ],
)
def test_the_cves_of_a_finding(text: str, found: list[str]) -> None:
    assert cves_in(text) == found


def test_what_spiderfoot_would_not_store_is_not_searched() -> None:
    assert cves_in("CVE-2026-0001".rjust(TEXT_MAX)) == ["CVE-2026-0001"]
    assert cves_in("CVE-2026-00012".rjust(TEXT_MAX + 1)) == ["CVE-2026-0001"]  # as in its database
    assert cves_in("CVE-2026-0001".rjust(TEXT_MAX + 20)) == []
