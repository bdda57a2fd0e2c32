"""The apprise format: a notification for an Apprise API server, which passes it on to the services that its
configuration lists (https://github.com/caronc/apprise-api, `POST /notify/KEY`).

What these services take for markup or mentions cannot be known here, so `plain.defused` replaces the signs of all.
"""

from __future__ import annotations

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.formats.chat_format import chat_format
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.cutting import utf8_length, within
from sfwebhooks.formats.digest import Capacity
from sfwebhooks.formats.format import Key
from sfwebhooks.formats.notice import Notice
from sfwebhooks.formats.plain import defused, in_lines
from sfwebhooks.jsontext import written
from sfwebhooks.severity import Severity

#: bytes; Apprise itself splits or cuts what is too long for a service
BODY_MAX = 10_000
TITLE_MAX = 250
#: severity -> type
KINDS = {
    Severity.CRITICAL: "failure",
    Severity.HIGH: "failure",
    Severity.MEDIUM: "warning",
    Severity.LOW: "info",
    Severity.INFO: "info",
}
#: attempts after a partial failure: each one repeats the message for the services that have it
PARTIAL_RETRIES = 1
TAG = Key("apprise_tag", "only to the services with this tag; several as Apprise writes them: a b is both, a,b either")


def apprise(notice: Notice, endpoint: Endpoint) -> Content:
    """Return the notification with a notice."""
    tag = endpoint.key(TAG.name)
    body = {
        "title": within(defused(notice.headline), TITLE_MAX),
        "body": in_lines(notice, BODY_MAX, headline=False, safe=defused),
        "type": "success" if notice.event == "scan_completed" else KINDS[notice.severity],
        "format": "text",
        **({"tag": tag} if tag else {}),
    }
    return Content(written(body).encode())


def read(reply: Reply, batch: Batch) -> Verdict | None:
    """Return the verdict of the server's reply, or None: the status is enough."""
    if reply.status == 204:
        return Verdict(Outcome.HOLD, "http_204_no_such_key")
    if reply.status == 424:
        return Verdict(Outcome.RETRY, "http_424", retries=PARTIAL_RETRIES)
    return None


FORMAT = chat_format(apprise, Capacity(6000, lambda text: utf8_length(defused(text))), read=read, keys=(TAG,))
