"""The sarif format: a whole scan as one run of the Static Analysis Results Interchange Format, SARIF 2.1.0
(https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html).

A rule is a type of findings, a result is a finding, each once. What was found where is a logical location, since a scan
has no files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, timestamp
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.upload import UPLOAD, FileKind, uploaded
from sfwebhooks.formats.whole_scan import (
    ScanFinding,
    ScanOutline,
    outline,
    scan_findings,
    separated,
    whole_scan_format,
)
from sfwebhooks.jsontext import written
from sfwebhooks.severity import Severity
from sfwebhooks.text import in_line

KIND = FileKind("application/sarif+json", "sarif")
SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
WEBSITE = "https://github.com/smicallef/spiderfoot"
#: "none" belongs to results of other kinds than failures (3.27.10)
LEVELS = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
    Severity.INFO: "none",
}
#: name and version of our fingerprints (3.27.17)
FINGERPRINT = "sfwebhooks/v1"
#: characters of the short description of a rule
SHORT_MAX = 200

Json = dict[str, Any]


def bundle(batch: Batch, endpoint: Endpoint) -> Content:
    """Return the upload of a scan."""
    return uploaded(lambda: _log(batch, endpoint), KIND, batch, endpoint)


def _log(batch: Batch, endpoint: Endpoint) -> Iterator[str]:
    """Yield the log file; its rules come last, when they are known."""
    about, rules = outline(batch), dict[str, Json]()

    def results() -> Iterator[str]:
        for found in scan_findings(batch, once=True):
            if found.type not in rules:
                rules[found.type] = _rule(found)
            yield written(_result(found, about))

    yield f'{{"$schema":{written(SCHEMA)},"version":"2.1.0","runs":[{{"results":['
    yield from separated(results())
    run = {
        "tool": {"driver": {**_driver(about), "rules": [*rules.values()]}},
        "automationDetails": {"id": f"SpiderFoot/{about.scan.target}/{about.scan.id}"},
        "invocations": [_invocation(about)],
        "properties": {
            "scanId": about.scan.id,
            "scanName": about.scan.name,
            "target": about.scan.target,
            "targetType": about.scan.target_type,
            **({"link": link} if (link := endpoint.link(about.scan)) else {}),
        },
    }
    yield f"],{written(run)[1:]}]}}"


def _driver(about: ScanOutline) -> Json:
    version = {"version": about.scan.version} if about.scan.version else {}
    return {"name": "SpiderFoot", "informationUri": WEBSITE, **version}


def _invocation(about: ScanOutline) -> Json:
    times = {"startTimeUtc": about.began_at, "endTimeUtc": about.ended_at}
    return {
        "executionSuccessful": about.is_complete,
        **{name: timestamp(at) for name, at in times.items() if at is not None},
        **({"exitCodeDescription": about.end} if about.end else {}),
    }


def _rule(found: ScanFinding) -> Json:
    words = in_line(found.description, SHORT_MAX)
    return {"id": found.type, **({"shortDescription": {"text": words}} if words else {})}


def _result(found: ScanFinding, about: ScanOutline) -> Json:
    event, target = found.delivery.event, about.scan.target
    is_info = found.severity is Severity.INFO
    properties = {
        "severity": found.severity.label,
        "time": timestamp(found.at),
        "eventId": event.id,
        "module": found.module,
        "risk": found.risk,
        "confidence": found.confidence,
        "source": found.source,
        "cves": list(found.cves),
    }
    return {
        "ruleId": found.type,
        "kind": "informational" if is_info else "fail",
        "level": LEVELS[found.severity],
        "message": {"text": found.data or found.description or found.type},
        "locations": [{"logicalLocations": [{"fullyQualifiedName": target, "kind": "resource"}]}],
        "partialFingerprints": {FINGERPRINT: found.fingerprint},
        "properties": {name: value for name, value in properties.items() if value},
    }


def _lacking(endpoint: Endpoint) -> str:
    """Return what a file without what earlier scans have found means: in SARIF nothing says that there was more."""
    return (
        "its files lack what earlier scans found, and a receiver that compares files closes findings that are still"
        " there; set only_new = false"
    )


FORMAT = whole_scan_format(bundle, lacking=_lacking, keys=UPLOAD)
