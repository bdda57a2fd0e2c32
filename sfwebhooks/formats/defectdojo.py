"""The defectdojo format: a whole scan as a report of DefectDojo's Generic Findings Import, which is imported again into
the same test each time (POST /api/v2/reimport-scan/).

DefectDojo recognises a finding by a hash over its title and its description, in lower case, and the service
(`Finding.compute_hash_code_legacy`): so these have only what the fingerprint has, and a finding that is found again is
the same one there. What is not in the report of a service is closed, so that happens only after a scan that is complete
and whose findings are all in it; a service is a target.
https://docs.defectdojo.com has the API, `dojo/tools/generic/json_parser.py` in its source the keys of a finding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, timestamp
from sfwebhooks.fingerprints import DATA_COUNTED, canonical, normalised
from sfwebhooks.formats.api_path import api_path
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.exploitation import exploitation_of
from sfwebhooks.formats.format import Key
from sfwebhooks.formats.markdown import code_block
from sfwebhooks.formats.observables import Observable, observable_of
from sfwebhooks.formats.replies import NOT_OK, held, json_of
from sfwebhooks.formats.upload import FileKind, in_form
from sfwebhooks.formats.whole_scan import (
    ScanFinding,
    ScanOutline,
    outline,
    scan_findings,
    separated,
    whole_scan_format,
)
from sfwebhooks.jsontext import json_number, written
from sfwebhooks.reasons import Withheld
from sfwebhooks.text import in_line, numbers, readable

PLACE = "/api/v2/reimport-scan/"
SCAN_TYPE = "Generic Findings Import"
KIND = FileKind("application/json", "json")
NAMED = r"\S[^\n]{0,199}"
PRODUCT = Key("product_name", "the product in DefectDojo", NAMED, "up to 200 characters", needed=True)
PRODUCT_TYPE = Key("product_type_name", "the product type of a new product (SpiderFoot)", NAMED, "up to 200 characters")
ENGAGEMENT = Key("engagement_name", "the engagement (SpiderFoot)", NAMED, "up to 200 characters")
TEST = Key("test_title", "the test (SpiderFoot)", NAMED, "up to 200 characters")
CLOSING = Key(
    "close_old_findings",
    "whether a complete scan closes the findings that it did not find again: true or false (true)",
    "true|false",
    "true or false",
)
DEFAULT_NAME = "SpiderFoot"
#: characters that DefectDojo stores of a title are 511, of a service 200
TITLE_MAX, SERVICE_MAX = 300, 200
#: characters of what only people read, and of a CVE
TEXT_MAX, CVE_MAX = 20_000, 50
#: reasons for which a finding is withheld from one scan as from the next one: what they withhold was never sent
STABLE = {
    reason.value
    for reason in (
        Withheld.FINDING_TYPE,
        Withheld.SEVERITY,
        Withheld.CONFIDENCE,
        Withheld.MODULE,
        Withheld.DATA,
        Withheld.FALSE_POSITIVE,
        Withheld.MUTED,
    )
}


def bundle(batch: Batch, endpoint: Endpoint) -> Content:
    """Return the import of a scan's report."""
    form = in_form(lambda: _report(batch), KIND, "file", form_fields(batch, endpoint), batch)
    return Content(form.body, form.headers, path=api_path(endpoint, PLACE))


def form_fields(batch: Batch, endpoint: Endpoint) -> dict[str, str]:
    """Return the fields of the form: where the report belongs, and whether findings that it lacks are closed."""
    about, is_late = outline(batch), batch.is_late
    version = in_line(readable(about.scan.version), 100)
    closes = not is_late and lacks_nothing(about, batch) and endpoint.key(CLOSING.name) != "false"
    return {
        "scan_type": SCAN_TYPE,
        "auto_create_context": "true",
        "product_type_name": endpoint.key(PRODUCT_TYPE.name) or DEFAULT_NAME,
        "product_name": endpoint.key(PRODUCT.name) or DEFAULT_NAME,
        "engagement_name": endpoint.key(ENGAGEMENT.name) or DEFAULT_NAME,
        "test_title": endpoint.key(TEST.name) or DEFAULT_NAME,
        "service": service_of(about.scan.target),
        "minimum_severity": "Info",
        "close_old_findings": "true" if closes else "false",
        # an old scan says nothing about what was fixed since
        "do_not_reactivate": "true" if is_late else "false",
        **({"version": version} if version else {}),
    }


def lacks_nothing(about: ScanOutline, batch: Batch) -> bool:
    """Return whether a finding that is not in the report is gone: the scan is complete, and nothing that belongs
    in the report is missing."""
    receipt = about.end_data.get("receipt")
    if not about.is_complete or not isinstance(receipt, Mapping):
        return False
    lost = {reason for reason, number in numbers(receipt.get("withheld_by_reason")).items() if number}
    return lost <= STABLE and numbers(receipt).get("accepted", 0) <= len(batch.deliveries)


def service_of(target: str) -> str:
    """Return the service of a target; DefectDojo closes only findings of the same one."""
    name = in_line(readable(canonical(target)), 10_000) or "unknown"
    if len(name) <= SERVICE_MAX:
        return name
    return f"{name[: SERVICE_MAX - 33]} {hashlib.sha256(name.encode()).hexdigest()[:32]}"


def _report(batch: Batch) -> Iterator[str]:
    yield '{"findings":['
    yield from separated(written(dojo_finding(found)) for found in scan_findings(batch, once=True))
    yield "]}"


def dojo_finding(found: ScanFinding) -> dict[str, Any]:
    """Return a finding with the keys of the Generic Findings Import."""
    stable = readable(str(normalised(found.type, found.data[:DATA_COUNTED])))
    kind = in_line(readable(found.type), 100)
    seen = observable_of(found)
    return {
        "title": in_line(f"{kind}: {stable}", TITLE_MAX),
        "severity": found.severity.label.capitalize(),
        "description": code_block(f"{stable}\n\nType: {kind}\nFingerprint: {found.fingerprint}"),
        "date": timestamp(found.at)[:10],
        "unique_id_from_tool": found.fingerprint,
        "vuln_id_from_tool": kind,
        "steps_to_reproduce": code_block(_circumstances(found)),
        "tags": ["spiderfoot"],
        **({"vulnerability_ids": [cve[:CVE_MAX] for cve in found.cves]} if found.cves else {}),
        **_exploitation(found),
        **({"endpoints": [place]} if (place := _place(seen)) else {}),
    }


def _circumstances(found: ScanFinding) -> str:
    """Return what another scan may find different: DefectDojo keeps that of the first one."""
    about = {"Module": found.module, "Found in": found.source, "Risk": found.risk, "Confidence": found.confidence}
    lines = [f"{name}: {in_line(readable(text), 1000)}" for name, text in about.items() if text.strip()]
    return "\n".join([*lines, "", readable(found.data[:TEXT_MAX])])


def _exploitation(found: ScanFinding) -> dict[str, Any]:
    known = exploitation_of(found.delivery.event.data)
    return {
        **({"known_exploited": True} if known.is_known else {}),
        **({"epss_score": json_number(known.score)} if known.score else {}),
        **({"epss_percentile": json_number(known.percentile)} if known.percentile else {}),
    }


def _place(seen: Observable | None) -> dict[str, Any] | None:
    """Return the endpoint that a finding is about. A URL is only in the texts: one that DefectDojo cannot parse would
    refuse the whole report."""
    if seen and seen.kind in ("host", "ipv4", "ipv6") and "/" not in seen.value:
        return {"host": seen.value}
    return {"host": seen.value, "port": seen.port} if seen and seen.kind in ("tcp", "udp") else None


def read(reply: Reply, batch: Batch) -> Verdict | None:
    """Return the verdict on a reply that does not name the test, on a report that is too large, and on a wrong URL."""
    if reply.status in (200, 201):
        answer = json_of(reply)
        return None if "test" in answer or "test_id" in answer else NOT_OK
    if reply.status == 400 and "too large" in reply.words:
        return Verdict(Outcome.REFUSED, "http_413")  # what it means
    return held(reply)


def _lacking(endpoint: Endpoint) -> str:
    """Return what a report without what earlier scans have found means: it closes nothing (`lacks_nothing`)."""
    if endpoint.key(CLOSING.name) == "false":
        return ""
    return "its reports lack what earlier scans found, so no finding is ever closed; set only_new = false"


FORMAT = whole_scan_format(
    bundle,
    read=read,
    lacking=_lacking,
    keys=(PRODUCT, PRODUCT_TYPE, ENGAGEMENT, TEST, CLOSING),
    scheme="Token",
)
