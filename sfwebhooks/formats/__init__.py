"""The wire formats: one file each, and one line of the registry.

A format renders a delivery, and reads a reply where the table of `retry.judge` does not know it; `format` has all that
it can have.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, ValuesView
from dataclasses import replace
from importlib import import_module

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.format import Format
from sfwebhooks.formats.size_limit import cut_finding
from sfwebhooks.redaction import Rules, redacted, rules_of

#: the values of `format`, each with the hosts that accept no other one; * matches any text, and a pattern with a slash
#: is for host and path
HOSTS: dict[str, tuple[str, ...]] = {
    "apprise": (),
    "cef": (),
    "cloudevents": (),
    "csv": (),
    "datadog": (),
    "defectdojo": (),
    "dingtalk": ("oapi.dingtalk.com",),
    "discord": ("discord.com", "*.discord.com", "discordapp.com"),
    "ecs": (),
    "elastic": (),
    "gelf": (),
    "generic": (),
    "github_issue": ("api.github.com",),
    "gitlab_issue": ("gitlab.com",),
    "google_chat": ("chat.googleapis.com",),
    "jira": ("*.atlassian.net",),
    "jsonl": (),
    "lark": ("open.larksuite.com", "open.feishu.cn"),
    "leef": (),
    "mattermost": (),
    "misp": (),
    "ntfy": ("ntfy.sh",),
    "ocsf": (),
    "pagerduty": ("events.pagerduty.com", "events.eu.pagerduty.com"),
    "sarif": (),
    "security-audit": (),
    "sentinel": ("*.ingest.monitor.azure.com", "*.ingest.monitor.azure.us", "*.ingest.monitor.azure.cn"),
    "servicenow": ("*.service-now.com",),
    "siem": (),
    # Discord takes Slack's messages at an address of their own
    "slack": ("hooks.slack.com", "discord.com/*/slack", "*.discord.com/*/slack", "discordapp.com/*/slack"),
    "splunk_hec": (),
    "stix": (),
    "teams": ("*.webhook.office.com",),
    "telegram": ("api.telegram.org",),
    "template": (),
    "thehive": (),
    "wecom": ("qyapi.weixin.qq.com",),
}


class Registry(dict[str, Format]):
    """The formats by name: each is the FORMAT of the file of that name, in which - is _. A file is imported when its
    format is looked up, since a process needs one or two of them; from then on the look-up is that of a dict, without a
    call, since each delivery needs several.

    Args:
        names: of all formats.
    """

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self._names = dict.fromkeys(names)

    def __missing__(self, name: str) -> Format:
        """Import it."""
        if name not in self._names:
            raise KeyError(name)
        found: Format = import_module(f"{__name__}.{name.replace('-', '_')}").FORMAT
        self[name] = found
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._names or super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        return iter({**self._names, **dict.fromkeys(super().__iter__())})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def values(self) -> ValuesView[Format]:  # type: ignore[override]
        """Return all formats, imported."""
        return ValuesView(self)

    def items(self) -> ItemsView[str, Format]:  # type: ignore[override]
        """Return all names with their formats, imported."""
        return ItemsView(self)


FORMATS = Registry(HOSTS)


def redaction_of(endpoint: Endpoint) -> Rules:
    """Return what is redacted for an endpoint: by default what its format's readers need not see."""
    return rules_of(endpoint, FORMATS[endpoint.format].is_for_people)


def shown_to(batch: Batch, endpoint: Endpoint) -> Batch:
    """Return a request's deliveries with only what the endpoint may get (`redaction`)."""
    if endpoint.redact or FORMATS[endpoint.format].is_for_people:
        batch = redacted(batch, redaction_of(endpoint))
    if endpoint.max_data:  # only now: a part of a secret may not look like one
        batch = batch.changed(lambda one: replace(one, event=cut_finding(one.event, endpoint.max_data)))
    return batch


def render(batch: Batch, endpoint: Endpoint) -> Content:
    """Return the message for a request, which has only what the endpoint may get (`redaction`); one delivery is a batch
    too where the endpoint accepts batches."""
    one, handle = FORMATS[endpoint.format], batch.deliveries[0].handle
    if endpoint.redact or endpoint.max_data or one.is_chat or one.converse:
        batch = shown_to(batch, endpoint)
    if one.bundle:
        return one.bundle(batch, endpoint)
    if handle and one.follow and handle.address == endpoint.address_id:
        return one.follow(batch, endpoint, handle.value)
    if one.digest and len(batch.deliveries) > 1:
        return one.digest(batch, endpoint)
    if endpoint.batch_size == 1 or one.join is None:
        return one.render(batch.deliveries[0], endpoint)
    return one.join([one.render(delivery, endpoint) for delivery in batch.deliveries])
