"""CVEs: the data of a finding come in, the CVEs that the finding is about go out."""

from __future__ import annotations

import re

#: characters that are searched: as many as SpiderFoot itself stores, so that a recovered finding has the same CVEs
TEXT_MAX = 1024
CVE = re.compile(r"(?<![A-Za-z0-9])CVE-(?:1999|20[0-9]{2})-[0-9]{4,19}(?![0-9])", re.ASCII)
#: begins the official description of a CVE, which also names CVEs that the host does not have: "an incomplete fix of"
DESCRIPTION = "\nDescription:"
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def cves_in(text: str) -> list[str]:
    """Return the CVEs of a finding, each once."""
    return list(dict.fromkeys(CVE.findall(text[:TEXT_MAX].partition(DESCRIPTION)[0])))
