"""The fakes of vendors' services by the format that each one reads: one of every format in the registry."""

from __future__ import annotations

from functools import partial
from typing import Callable

from tests.receivers.azure import Azure
from tests.receivers.chats import Discord, GoogleChat, Mattermost, Slack, Teams, Telegram
from tests.receivers.collectors import Archive, Broker, Collector, Datadog, Elasticsearch, Graylog, Splunk
from tests.receivers.intelligence import DefectDojo, Misp, Taxii, TheHive
from tests.receivers.notifiers import Apprise, DingTalk, Lark, Ntfy, PagerDuty, WeCom
from tests.receivers.trackers import GitHub, GitLab, Jira, ServiceNow
from tests.receivers.vendor import Vendor

#: format -> what makes a service
VENDORS: dict[str, Callable[[], Vendor]] = {
    "apprise": Apprise,
    "cloudevents": Broker,
    "datadog": Datadog,
    "defectdojo": DefectDojo,
    "dingtalk": DingTalk,
    "discord": Discord,
    "elastic": Elasticsearch,
    "gelf": Graylog,
    "github_issue": GitHub,
    "gitlab_issue": GitLab,
    "google_chat": GoogleChat,
    "jira": Jira,
    "lark": Lark,
    "mattermost": Mattermost,
    "misp": Misp,
    "ntfy": Ntfy,
    "pagerduty": PagerDuty,
    "sentinel": Azure,
    "servicenow": ServiceNow,
    "slack": Slack,
    "splunk_hec": Splunk,
    "stix": Taxii,
    "teams": Teams,
    "telegram": Telegram,
    "thehive": TheHive,
    "wecom": WeCom,
    # of no vendor
    **{name: partial(Archive, name) for name in ("csv", "jsonl", "sarif")},
    **{
        name: partial(Collector, name)
        for name in ("cef", "ecs", "generic", "leef", "ocsf", "security-audit", "siem", "template")
    },
}
