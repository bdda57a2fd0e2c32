"""The fakes of vendors' services by the format that each one reads: one of every format in the registry."""

from __future__ import annotations

from functools import partial
from typing import Callable

from tests.receivers.azure import Azure
from tests.receivers.chats import Discord, GoogleChat, Mattermost, Slack, Teams, Telegram
from tests.receivers.collectors import Broker, Collector, Datadog, Elasticsearch, Graylog, Splunk
from tests.receivers.notifiers import Apprise, DingTalk, Lark, Ntfy, PagerDuty, WeCom
from tests.receivers.vendor import Vendor

#: format -> what makes a service
VENDORS: dict[str, Callable[[], Vendor]] = {
    "apprise": Apprise,
    "cloudevents": Broker,
    "datadog": Datadog,
    "dingtalk": DingTalk,
    "discord": Discord,
    "elastic": Elasticsearch,
    "gelf": Graylog,
    "google_chat": GoogleChat,
    "lark": Lark,
    "mattermost": Mattermost,
    "ntfy": Ntfy,
    "pagerduty": PagerDuty,
    "sentinel": Azure,
    "slack": Slack,
    "splunk_hec": Splunk,
    "teams": Teams,
    "telegram": Telegram,
    "wecom": WeCom,
    # of no vendor
    **{
        name: partial(Collector, name)
        for name in ("cef", "ecs", "generic", "leef", "ocsf", "security-audit", "siem", "template")
    },
}
