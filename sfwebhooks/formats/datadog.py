"""The datadog format: logs for Datadog's intake, POST /api/v2/logs of http-intake.logs.SITE.

https://docs.datadoghq.com/api/latest/logs/#send-logs has the limits: 1000 logs and 5 MB in a request, 1 MB for a log,
18 hours for the time of a log. An older one would be lost, so the time is where Datadog does not look for one: in the
attributes under `spiderfoot`, which are the event of the format `siem`.
"""

from __future__ import annotations

from dataclasses import replace

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Delivery
from sfwebhooks.formats.content import Content, array, sized
from sfwebhooks.formats.ecs import one_line
from sfwebhooks.formats.format import Format, Key
from sfwebhooks.formats.siem import siem_event
from sfwebhooks.jsontext import written
from sfwebhooks.severity import Severity

SERVICE = Key("datadog_service", "service of the logs (spiderfoot)", r"[\w.:/-]{1,100}", "the name of a service")
TAGS = Key(
    "datadog_tags",
    "tags of the logs, such as env:prod,team:soc",
    r"(?=.{1,200}$)[^\s,]+(,[^\s,]+)*",
    "NAME:VALUE,NAME:VALUE",
)
#: bytes of a log, of which Datadog cuts a longer one, and of a request
LOG_MAX = 1_000_000
REQUEST_MAX = 5_000_000
#: upper bound of the bytes of a log beyond a generic message: its message in one line, and the siem event
SURPLUS = 2400
STATUS = {
    Severity.CRITICAL: "critical",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "notice",
    Severity.INFO: "info",
}


def render(delivery: Delivery, endpoint: Endpoint) -> Content:
    """Return the log of a delivery."""
    event, tags = delivery.event, endpoint.key(TAGS.name)
    about = {
        "message": one_line(event),
        "ddsource": "spiderfoot",
        "service": endpoint.key(SERVICE.name) or "spiderfoot",
        "status": STATUS[event.severity],
        **({"ddtags": tags} if tags else {}),
    }
    limited = replace(endpoint, max_body=min(endpoint.max_body, LOG_MAX)) if endpoint.max_body > LOG_MAX else endpoint
    before = f'{written(about)[:-1]},"spiderfoot":'.encode()
    return sized(siem_event(delivery, endpoint), limited, "raw_data", before, b"}")


FORMAT = Format(
    render,
    join=array,
    keys=(SERVICE, TAGS),
    key_header="DD-API-KEY",
    scheme="",
    request_max=REQUEST_MAX,
    surplus=lambda common: SURPLUS,
)
