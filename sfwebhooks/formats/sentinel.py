"""The sentinel format: rows of a custom table for Microsoft Sentinel, by the Logs Ingestion API of Azure Monitor.

POST /dataCollectionRules/ID/streams/STREAM at the rule's logs ingestion endpoint, with a token of Microsoft Entra ID. A
row is flat; columns that the rule does not declare are dropped there.
https://learn.microsoft.com/azure/azure-monitor/logs/logs-ingestion-api-overview has the API, and
https://learn.microsoft.com/azure/azure-monitor/fundamentals/service-limits its limits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.events import Batch, Delivery, timestamp
from sfwebhooks.formats.content import Content, array, sized
from sfwebhooks.formats.ecs import CVE, entity_of, one_line
from sfwebhooks.formats.format import Format, Key, Reading
from sfwebhooks.formats.replies import held, json_of
from sfwebhooks.text import text_of

TENANT = Key(
    "tenant",
    "the directory (tenant) ID of the app registration",
    r"[A-Za-z0-9][A-Za-z0-9.-]{2,99}",
    "the ID or a domain of a Microsoft Entra tenant",
    needed=True,
)
RULE = Key(
    "dcr_id",
    "the immutable ID of the data collection rule",
    r"dcr-[0-9a-f]{32}",
    "dcr- and 32 of 0-9 and a-f",
    needed=True,
)
STREAM = Key(
    "stream",
    "the stream of that rule (Custom-SpiderFoot_CL)",
    r"Custom-[A-Za-z0-9_]{1,100}",
    "the name of a stream, such as Custom-SpiderFoot_CL",
)
#: the only value of `auth` that the API accepts
AUTH = "oauth2"
DEFAULT_STREAM = "Custom-SpiderFoot_CL"
API_VERSION = "2023-01-01"
#: end of the host of a cloud -> where its tokens are fetched, and for what
CLOUDS = {
    ".azure.us": ("login.microsoftonline.us", "https://monitor.azure.us/.default"),
    ".azure.cn": ("login.partner.microsoftonline.cn", "https://monitor.azure.cn/.default"),
}
PUBLIC_CLOUD = ("login.microsoftonline.com", "https://monitor.azure.com/.default")
#: bytes of a request, which Azure limits to 1 MiB, and of a row: Azure cuts values of more than 64 KB, even their JSON
REQUEST_MAX = 1_000_000
ROW_MAX = 64_000
#: upper bound of the bytes of a row beyond a generic message: the names of columns, and the repeated values
SURPLUS = 2600
#: what an entity is -> the column that has it
ENTITIES = {"ip": "IpAddress", "port": "IpAddress", "host": "HostName", "url": "Url", "email": "Email"}
#: error that blames the settings, not the rows
WRONG_STREAM = "InvalidStream"
#: characters of an error's code
CODE_MAX = 60


def render(delivery: Delivery, endpoint: Endpoint) -> Content:
    """Return the row of a delivery, in an array if it goes alone."""
    limited = replace(endpoint, max_body=min(endpoint.max_body, ROW_MAX)) if endpoint.max_body > ROW_MAX else endpoint
    before, after = (b"[", b"]") if endpoint.batch_size == 1 else (b"", b"")
    content = sized(sentinel_row(delivery, endpoint), limited, "Data", before, after)
    stream = endpoint.key(STREAM.name) or DEFAULT_STREAM
    return replace(content, path=f"/dataCollectionRules/{endpoint.key(RULE.name)}/streams/{stream}")


def sentinel_row(delivery: Delivery, endpoint: Endpoint) -> dict[str, Any]:
    """Return the columns of a delivery, without empty ones.

    Azure replaces a TimeGenerated that is older than two days, so the time is in a column of its own too.
    """
    event, scan, at = delivery.event, delivery.event.scan, timestamp(delivery.event.at)
    entity, cve = entity_of(event.data), CVE.search(text_of(event.data, "data")[:4096])
    columns = {
        "TimeGenerated": at,
        "EventTime": at,
        "EventType": delivery.name,
        "Severity": event.severity.label,
        "SeverityLevel": int(event.severity),
        "Message": one_line(event),
        "FindingType": text_of(event.data, "event_type"),
        "Module": text_of(event.data, "module"),
        **({ENTITIES[entity.kind]: entity.value.partition(" ")[0]} if entity else {}),
        "CveId": cve[0] if cve else "",
        "Target": scan.target if scan else text_of(event.data, "target"),
        "ScanId": scan.id if scan else "",
        "ScanName": scan.name if scan else "",
        "ScannerVersion": scan.version if scan else "",
        "Link": endpoint.link(scan),
        "EventId": event.id,
        "DeliveryId": delivery.id,
        "Series": delivery.series,
        "Sequence": delivery.sequence,
        "EndpointName": endpoint.name,
        "Backfilled": delivery.backfilled or "",
        "Metadata": dict(endpoint.metadata) or "",
        "Data": event.data,
    }
    return {name: value for name, value in columns.items() if value != ""}


def join(messages: Sequence[Content]) -> Content:
    """Return several rows as one array."""
    return replace(array(messages), path=messages[0].path)


def read(reply: Reply, batch: Batch) -> Reading:
    """Return the verdict on a reply that blames the settings, and the error's code of one that refuses the rows."""
    if reply.status == 200:  # Azure's success is 204
        return Verdict(Outcome.HOLD, "http_200_but_not_204")
    if reply.status != 400:
        return held(reply)
    error = json_of(reply).get("error")
    code = error.get("code") if isinstance(error, dict) else None
    if not isinstance(code, str) or not (code.isascii() and code.isalnum()):
        return None
    return Verdict(Outcome.HOLD if code == WRONG_STREAM else Outcome.REFUSED, code[:CODE_MAX])


def wrong_path(path: str) -> str:
    """Return why a URL is not a logs ingestion endpoint, or nothing."""
    example = "https://NAME.REGION-1.ingest.monitor.azure.com"
    return f"must end after the host, such as {example}: dcr_id and stream say the rest" if path.strip("/") else ""


def implied(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return where tokens are fetched, and for what, by the cloud of the URL."""
    if given.get("auth", AUTH) != AUTH:
        return {}
    host = urlsplit(given["url"].reveal()).hostname or "" if "url" in given else ""
    login, scope = next((cloud for end, cloud in CLOUDS.items() if host.endswith(end)), PUBLIC_CLOUD)
    tenant = given[TENANT.name].reveal() if TENANT.name in given else ""
    token_url = Secret(f"https://{login}/{tenant}/oauth2/v2.0/token")
    return {"auth": AUTH, "token_url": token_url, "scope": scope}


FORMAT = Format(
    render,
    join=join,
    read=read,
    query=lambda endpoint, now: f"api-version={API_VERSION}",
    keys=(TENANT, RULE, STREAM),
    auth=AUTH,
    implied=implied,
    request_max=REQUEST_MAX,
    surplus=lambda common: SURPLUS,
    wrong_path=wrong_path,
)
