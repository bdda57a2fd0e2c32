"""The links of a message to people: a scan and an endpoint come in; the scan's addresses go out."""

from __future__ import annotations

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Scan

#: the texts of the links to the scan in SpiderFoot and on our own page
OPEN_SCAN = "Open scan"
SHOW_DELIVERIES = "Show deliveries"
#: characters of the links that a message shows, together; and those of a digest, to leave room for its text
LINK_MAX = 900
LINK_LENGTH = 300


def scan_links(scan: Scan | None, endpoint: Endpoint, most: int) -> tuple[str, str]:
    """Return a scan's addresses in SpiderFoot and on our own page; one is empty that is not known, or for which `most`
    characters leave no room."""
    link, page = endpoint.link(scan), endpoint.page(scan)
    link = link if len(link) <= most else ""
    return link, page if len(link) + len(page) <= most else ""
