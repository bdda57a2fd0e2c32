"""The wire formats: one file each, and one line of the registry.

A format renders a delivery, and reads a reply where the table of `retry.judge` does not know it; `format` has all that
it can have.
"""

from __future__ import annotations

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.formats import (
    apprise,
    cef,
    cloudevents,
    datadog,
    dingtalk,
    discord,
    ecs,
    elastic,
    gelf,
    generic,
    google_chat,
    lark,
    leef,
    mattermost,
    ntfy,
    ocsf,
    pagerduty,
    security_audit,
    sentinel,
    siem,
    slack,
    splunk_hec,
    teams,
    telegram,
    template,
    wecom,
)
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.format import Format

FORMATS: dict[str, Format] = {
    "apprise": apprise.FORMAT,
    "cef": cef.FORMAT,
    "cloudevents": cloudevents.FORMAT,
    "datadog": datadog.FORMAT,
    "dingtalk": dingtalk.FORMAT,
    "discord": discord.FORMAT,
    "ecs": ecs.FORMAT,
    "elastic": elastic.FORMAT,
    "gelf": gelf.FORMAT,
    "generic": generic.FORMAT,
    "google_chat": google_chat.FORMAT,
    "lark": lark.FORMAT,
    "leef": leef.FORMAT,
    "mattermost": mattermost.FORMAT,
    "ntfy": ntfy.FORMAT,
    "ocsf": ocsf.FORMAT,
    "pagerduty": pagerduty.FORMAT,
    "security-audit": security_audit.FORMAT,
    "sentinel": sentinel.FORMAT,
    "siem": siem.FORMAT,
    "slack": slack.FORMAT,
    "splunk_hec": splunk_hec.FORMAT,
    "teams": teams.FORMAT,
    "telegram": telegram.FORMAT,
    "template": template.FORMAT,
    "wecom": wecom.FORMAT,
}


def render(batch: Batch, endpoint: Endpoint) -> Content:
    """Return the message for a request; one delivery is a batch too where the endpoint accepts batches."""
    one, handle = FORMATS[endpoint.format], batch.deliveries[0].handle
    if handle and one.follow and handle.address == endpoint.address_id:
        return one.follow(batch, endpoint, handle.value)
    if one.digest and len(batch.deliveries) > 1:
        return one.digest(batch.deliveries, endpoint)
    if endpoint.batch_size == 1 or one.join is None:
        return one.render(batch.deliveries[0], endpoint)
    return one.join([one.render(delivery, endpoint) for delivery in batch.deliveries])
