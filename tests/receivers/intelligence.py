"""Services that take a whole scan in one request and know what they were sent before: DefectDojo, a TAXII 2.1 server,
MISP and TheHive, each by its source or specification."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from typing import Any

from tests.receivers.vendor import Answer, Asked, Checks, Json, Vendor, first, is_shown

#: dojo/tools/generic/json_parser.py of DefectDojo/django-DefectDojo@7cfa159a
DOJO_REQUIRED = {"title", "severity", "description"}
DOJO_ALLOWED = {
    *DOJO_REQUIRED, "date", "cwe", "cve", "epss_score", "epss_percentile", "cvssv3", "cvssv3_score", "cvssv4",
    "cvssv4_score", "mitigation", "impact", "steps_to_reproduce", "severity_justification", "references", "active",
    "verified", "false_p", "out_of_scope", "risk_accepted", "under_review", "is_mitigated", "thread_id", "mitigated",
    "numerical_severity", "param", "payload", "line", "file_path", "component_name", "component_version",
    "static_finding", "dynamic_finding", "scanner_confidence", "unique_id_from_tool", "vuln_id_from_tool",
    "sast_source_object", "sast_sink_object", "sast_source_line", "sast_source_file_path", "nb_occurences",
    "publish_date", "service", "planned_remediation_date", "planned_remediation_version", "effort_for_fixing",
    "tags", "kev_date", "known_exploited", "ransomware_used", "fix_available", "fix_version",
}  # fmt: skip
#: those that are taken out before the check
DOJO_TAKEN_OUT = {"endpoints", "files", "tags", "vulnerability_ids", "cwes"}
DOJO_SEVERITIES = ("Critical", "High", "Medium", "Low", "Info")
#: the fields of `ReImportScanSerializer` that are used here
DOJO_FIELDS = {
    "scan_type", "auto_create_context", "product_type_name", "product_name", "engagement_name", "test_title",
    "service", "minimum_severity", "close_old_findings", "do_not_reactivate", "version", "file",
}  # fmt: skip


@dataclass
class DojoFinding:
    """A finding in DefectDojo."""

    hash_code: str
    service: str
    is_mitigated: bool = False
    was_reactivated: bool = False
    report: Json = field(default_factory=dict)


class DefectDojo(Vendor):
    """The reimport of DefectDojo, with its rule for what is the same finding, and for what is closed."""

    format = "defectdojo"
    path = ""
    place = "/api/v2/reimport-scan/"
    token = "f8a2b11e7c0d4e93a5b6c7d8e9f0a1b2c3d4e5f6"
    keys = {"api_key": token, "product_name": "Acme"}
    gone = Answer(401, {"detail": "Invalid token."})
    busy = Answer(429, {"detail": "Request was throttled. Expected available in 30 seconds."}, {"Retry-After": "30"})
    wait = 30.0

    def __init__(self) -> None:
        super().__init__()
        #: product, engagement and title of a test -> its findings
        self.tests: dict[tuple[str, str, str], list[DojoFinding]] = {}
        #: what each import created, closed, reactivated and left untouched
        self.imports: list[dict[str, int]] = []
        #: largest report, in bytes
        self.size_max = 100_000_000

    def answer(self, asked: Asked) -> Answer:
        if asked.path != self.place:
            return Answer(404, {"detail": "Not found."})
        if asked.headers.get("Authorization") != f"Token {self.token}":
            return self.gone
        form = form_of(asked)
        if len(form["file"]) > self.size_max:
            return Answer(400, {"non_field_errors": ["Report file is too large. Maximum supported size is 100 MB"]})
        if not self.is_wanted(form["file"]):
            return Answer(400, {"message": "It is not wanted"})
        report = json.loads(form["file"])
        fault = first(self.faults({**form, "file": report}))
        if fault:  # ValueError in the parser
            return Answer(500, {"message": f"Internal server error, check logs for details: {fault}"})
        self.taken.append(report)
        return Answer(201, self._import(form, report["findings"]))

    def faults(self, message: Any) -> Checks:
        """Check as serializer and parser."""
        yield message.keys() <= DOJO_FIELDS, f"fields {message.keys() - DOJO_FIELDS}"
        yield message["scan_type"] == "Generic Findings Import", "scan type"
        yield len(message.get("service", "")) <= 200, "service"
        for one in message["file"]["findings"]:
            yield one.keys() >= DOJO_REQUIRED, f"Required fields are missing: {DOJO_REQUIRED - one.keys()}"
            rest = one.keys() - DOJO_TAKEN_OUT - DOJO_ALLOWED
            yield not rest, f"Not allowed fields are present: {rest}"
            yield one["severity"] in DOJO_SEVERITIES, "severity"
            yield len(one["unique_id_from_tool"]) <= 500 and len(one["vuln_id_from_tool"]) <= 500, "ids"
            yield "\0" not in json.dumps(one, ensure_ascii=False), "PostgreSQL stores no NUL"
            for place in one.get("endpoints", ()):
                yield place.keys() <= {"host", "port", "protocol", "path"}, "endpoint"

    def mischief(self, message: Any) -> Checks:
        """Check what it would accept and cut, or show as markup."""
        for one in message["findings"]:
            yield len(one["title"]) <= 511 and is_shown(one["title"]), "title"
            for text in (one["description"], one["steps_to_reproduce"]):
                yield is_code_block(text), "markup"

    def _import(self, form: dict[str, str], findings: list[Json]) -> Json:
        """Import as `DefaultReImporter.process_findings` and `close_old_findings`."""
        key = (form["product_name"], form["engagement_name"], form["test_title"])
        is_new, service = key not in self.tests, form["service"]
        test = self.tests.setdefault(key, [])
        old = [one for one in test if one.service == service]
        met: list[DojoFinding] = []
        counts = dict.fromkeys(("created", "closed", "reactivated", "untouched"), 0)
        for report in findings:
            code = hash_code(report, service)
            known = next((one for one in test if one.hash_code == code), None)
            if not known:
                test.append(DojoFinding(code, service, report=report))
                counts["created"] += 1
                continue
            met.append(known)
            if known.is_mitigated and form["do_not_reactivate"] == "false":
                known.is_mitigated = False
                counts["reactivated"] += 1
        closed = [one for one in old if one not in met and not one.is_mitigated]
        if form["close_old_findings"] == "true" and not is_new:
            for one in closed:
                one.is_mitigated = True
            counts["closed"] = len(closed)
        counts["untouched"] = sum(one in met for one in old) - counts["reactivated"]
        self.imports.append(counts)
        return {**form, "file": None, "test": 7, "test_id": 7, "statistics": {"delta": counts}}


def hash_code(report: Json, service: str) -> str:
    """Return the hash of a finding of the Generic Findings Import: `Finding.compute_hash_code_legacy` and
    `hash_fields` of dojo/finding/models.py."""
    fields = report["title"] + "0" + "None" + "None" + report["description"] + service
    return hashlib.sha256(fields.casefold().encode().strip()).hexdigest()


def form_of(asked: Asked) -> dict[str, str]:
    """Return the fields of a form, the file among them."""
    head = f"Content-Type: {asked.headers['Content-Type']}\r\n\r\n".encode()
    message = message_from_bytes(head + asked.body, policy=policy.HTTP)
    found = {}
    for part in message.iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        found[name] = content.decode()
    return found


def is_code_block(text: str) -> bool:
    """Return whether a text is one block of code of Markdown: no line in it ends the block."""
    fence = re.match("`{3,}", text)
    lines = text.split("\n")
    if not fence or not lines[-1] == lines[0] == fence[0]:
        return False
    return not any(fence[0] in line for line in lines[1:-1])


class Taxii(Vendor):
    """A collection of a TAXII 2.1 server (section 5.4 of the specification)."""

    format = "stix"
    path = "/api1/"
    collection = "91a7b528-80eb-42ed-a74d-c6fbd5a26116"
    media_type = "application/taxii+json;version=2.1"
    token = "token-of-taxii"
    keys = {"api_key": token, "collection": collection}
    gone = Answer(401, {"title": "Unauthorized", "http_status": "401"})
    busy = Answer(503, {"title": "Busy", "http_status": "503"}, {"Retry-After": "30"})
    wait = 30.0

    def __init__(self) -> None:
        super().__init__()
        #: id and version of the objects -> the objects
        self.objects: dict[tuple[str, str], Json] = {}
        #: largest request, in bytes
        self.size_max = 100_000_000

    def answer(self, asked: Asked) -> Answer:
        if asked.path != f"{self.path}collections/{self.collection}/objects/":
            return Answer(404, {"title": "Not found", "http_status": "404"})
        if asked.headers.get("Authorization") != f"Bearer {self.token}":
            return self.gone
        if asked.headers["Accept"] != self.media_type:
            return Answer(406, {"title": "Not acceptable", "http_status": "406"})
        if asked.headers["Content-Type"] != self.media_type:
            return Answer(415, {"title": "Unsupported media type", "http_status": "415"})
        if len(asked.body) > self.size_max:
            return Answer(413, {"title": "Too large", "http_status": "413"})
        if first(self.faults(asked.json)):
            return Answer(422, {"title": first(self.faults(asked.json)), "http_status": "422"})
        refused: list[tuple[Json, str]] = []
        taken: list[Json] = []
        for one in asked.json["objects"]:
            if (one["id"], one.get("modified", "")) in self.objects:  # as OASIS's own server says it
                refused.append((one, "Unable to process object because an identical entry already exists"))
            elif not self.is_wanted(one):
                refused.append((one, "it is not wanted"))
            else:
                taken.append(one)
        self.objects.update({(one["id"], one.get("modified", "")): one for one in taken})
        if taken:
            self.taken.append({"objects": taken})
        return Answer(202, self._status(taken, refused))

    def faults(self, message: Any) -> Checks:
        yield message.keys() <= {"more", "next", "objects"}, "envelope"
        for one in message["objects"]:
            yield one["id"].startswith(f"{one['type']}--"), "id"

    @staticmethod
    def _status(taken: list[Json], refused: list[tuple[Json, str]]) -> Json:
        return {
            "id": "2d086da7-4bdc-4f91-900e-d77486753710",
            "status": "complete",
            "total_count": len(taken) + len(refused),
            "success_count": len(taken),
            "failure_count": len(refused),
            "pending_count": 0,
            "failures": [
                {"id": one["id"], "version": one.get("modified", ""), "message": words} for one, words in refused
            ],
        }


class Misp(Vendor):
    """MISP: /events/add and /events/edit of app/Controller/EventsController.php (MISP/MISP@bb0909a3)."""

    format = "misp"
    path = ""
    key = "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFy"
    keys = {"api_key": key}
    gone = Answer(403, {"name": "Authentication failed.", "message": "Authentication failed.", "url": "/events/add"})
    busy = Answer(429, {"name": "Too many requests"}, {"Retry-After": "30"})
    wait = 30.0

    def __init__(self) -> None:
        super().__init__()
        #: uuid -> event, whose attributes are by uuid
        self.events: dict[str, Json] = {}

    def answer(self, asked: Asked) -> Answer:
        if asked.headers.get("Authorization") != self.key:
            return self.gone
        if asked.headers.get("Accept") != "application/json" or asked.headers["Content-Type"] != "application/json":
            return Answer(200, "<html>MISP</html>")
        edited = re.fullmatch(r"/events/edit/([0-9a-f-]{36})/metadata:1", asked.path)
        if not edited and asked.path != "/events/add/metadata:1":
            return Answer(404, {"name": "Not Found", "message": "Not Found", "url": asked.path})
        event = asked.json["Event"]
        if not self.is_wanted(event):
            return Answer(403, {"saved": False, "name": "Could not add Event", "errors": "it is not wanted"})
        known = self.events.get(event["uuid"])
        if edited and not known:
            return Answer(404, {"name": "Invalid event", "message": "Invalid event", "url": asked.path})
        if not edited and known:
            words = "Event already exists, if you would like to edit it, use the url in the location header."
            return Answer(404, {"name": words, "message": words, "url": asked.path})
        self.taken.append(event)
        return self._save(event, known or {"attributes": {}})

    def _save(self, event: Json, into: Json) -> Answer:
        its = into["attributes"]
        for one in event["Attribute"]:
            if one["uuid"] not in its or int(one["timestamp"]) > int(its[one["uuid"]]["timestamp"]):
                its[one["uuid"]] = one
        self.events[event["uuid"]] = {**{key: event[key] for key in event if key != "Attribute"}, "attributes": its}
        return Answer(200, json.dumps({"Event": {"id": "12", "uuid": event["uuid"]}}, indent=4))


class TheHive(Vendor):
    """TheHive 5: an alert with the same type, source and sourceRef is refused, as is an observable that comes twice."""

    format = "thehive"
    path = ""
    place = "/api/v1/alert"
    key = "c2VjcmV0LWtleS1vZi10aGVoaXZl"
    keys = {"api_key": key}
    gone = Answer(401, {"type": "AuthenticationError", "message": "Authentication failure"})
    busy = Answer(429, {"type": "TooManyRequests", "message": "Too many requests"}, {"Retry-After": "30"})
    wait = 30.0
    data_types = (
        "autonomous-system", "domain", "file", "filename", "fqdn", "hash", "hostname", "ip", "mail", "mail-subject",
        "other", "regexp", "registry", "uri_path", "url", "user-agent",
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.alerts: dict[tuple[str, str, str], Json] = {}

    def answer(self, asked: Asked) -> Answer:
        if asked.path != self.place:
            return Answer(404, {"type": "NotFoundError", "message": "Not found"})
        if asked.headers.get("Authorization") != f"Bearer {self.key}":
            return self.gone
        alert = asked.json
        if fault := first(self.faults(alert)):
            return Answer(400, {"type": "BadRequest", "message": fault})
        key = (alert["type"], alert["source"], alert["sourceRef"])
        if key in self.alerts:
            words = f"Alert {':'.join(key)} already exist in organisation acme"
            return Answer(400, {"type": "CreateError", "message": words})
        self.alerts[key] = alert
        self.taken.append(alert)
        return Answer(201, {"_id": "~1", "_type": "Alert", **{name: alert[name] for name in ("type", "sourceRef")}})

    def faults(self, message: Any) -> Checks:
        yield self.is_wanted(message), "it is not wanted"
        for name in ("type", "source", "sourceRef", "title", "description"):
            yield isinstance(message[name], str) and bool(message[name]), name
        yield message["severity"] in (1, 2, 3, 4) and message["tlp"] in range(5), "severity or tlp"
        yield len(message["title"]) <= 512 and len(message["sourceRef"]) <= 128, "length"
        yield from self._observable_faults(message["observables"])

    def _observable_faults(self, observables: list[Json]) -> Iterator[tuple[bool, str]]:
        pairs = [(one["dataType"], one["data"]) for one in observables]
        yield len(pairs) == len({*pairs}), "Observable already exists"
        for kind, data in pairs:
            yield kind in self.data_types and bool(data), f"observable {kind}"

    def mischief(self, message: Any) -> Checks:
        yield is_code_block(message["description"]), "markup"
        yield is_shown(message["title"]), "title"
        for one in message["observables"]:
            yield is_shown(one["data"]) and is_shown(one["message"]), "invisible"
