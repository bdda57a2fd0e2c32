"""The wire formats: one file each, and one line of the registry.

A format renders a delivery, and reads a reply where the table of `retry.judge` does not know it; `format` has all that
it can have.
"""

from __future__ import annotations

from importlib import import_module

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.format import Format

#: the values of `format`; each one is the FORMAT of the file of that name, in which - is _
NAMES = (
    "apprise",
    "cef",
    "cloudevents",
    "datadog",
    "dingtalk",
    "discord",
    "ecs",
    "elastic",
    "gelf",
    "generic",
    "google_chat",
    "lark",
    "leef",
    "mattermost",
    "ntfy",
    "ocsf",
    "pagerduty",
    "security-audit",
    "sentinel",
    "siem",
    "slack",
    "splunk_hec",
    "teams",
    "telegram",
    "template",
    "wecom",
)
FORMATS: dict[str, Format] = {name: import_module(f"{__name__}.{name.replace('-', '_')}").FORMAT for name in NAMES}


def render(batch: Batch, endpoint: Endpoint) -> Content:
    """Return the message for a request; one delivery is a batch too where the endpoint accepts batches."""
    one, handle = FORMATS[endpoint.format], batch.deliveries[0].handle
    if handle and one.follow and handle.address == endpoint.address_id:
        return one.follow(batch, endpoint, handle.value)
    if one.digest and len(batch.deliveries) > 1:
        return one.digest(batch, endpoint)
    if endpoint.batch_size == 1 or one.join is None:
        return one.render(batch.deliveries[0], endpoint)
    return one.join([one.render(delivery, endpoint) for delivery in batch.deliveries])
