"""A Notice: an event as a person reads it in any chat. `chat` makes it of a delivery; a chat format writes it,
within its limits."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from sfwebhooks.formats.links import OPEN_SCAN, SHOW_DELIVERIES
from sfwebhooks.severity import Severity
from sfwebhooks.text import in_line

COLOURS = {
    Severity.CRITICAL: "#8B0000",
    Severity.HIGH: "#E01E5A",
    Severity.MEDIUM: "#ECB22E",
    Severity.LOW: "#36C5F0",
    Severity.INFO: "#9AA0A6",
}
GOOD = "#2EB67D"
#: characters of a scanner event in one line
ITEM_MAX = 80
#: the label of the trail
FOUND_VIA = "Found via"
#: characters of a value that leaves room for another one next to it
SHORT = 40
#: facts that a message shows
FACTS_MAX = 10
#: characters of the value of a fact, where the chat does not allow fewer
VALUE_MAX = 2000
#: an at sign that can begin a mention; behind a letter, as in an address, or alone it does not
MENTION = re.compile(r"(?<![A-Za-z0-9])@(?=\S|$)")


@dataclass(frozen=True)
class Notice:
    """The content of a chat message. All texts are raw: the format escapes and cuts them."""

    #: severity and event, in one line
    headline: str
    #: the finding or event, possibly in several lines
    body: str
    #: label and value; none is empty
    facts: tuple[tuple[str, str], ...]
    #: "#RRGGBB"
    colour: str
    #: the target it is about
    target: str = ""
    #: the sources of the finding, from the direct one up
    trail: tuple[str, ...] = ()
    #: scan, time, number
    footer: tuple[str, ...] = ()
    #: URL of the scan in SpiderFoot
    link: str = ""
    #: and on our own page
    page: str = ""
    #: whether it is backfilled or replayed, so that it need not ring
    is_late: bool = False
    severity: Severity = Severity.INFO
    #: the event's type
    event: str = ""
    #: whether it is about several deliveries: each line of its body then begins with words of ours
    is_digest: bool = False

    @property
    def few_facts(self) -> list[tuple[str, str]]:
        """The first facts; the last of too many says how many are missing."""
        if len(self.facts) <= FACTS_MAX:
            return list(self.facts)
        return [*self.facts[: FACTS_MAX - 1], ("And", f"{len(self.facts) - FACTS_MAX + 1} more")]

    @property
    def rows(self) -> list[tuple[str, str]]:
        """The labels and values below the body: facts, and how it was found."""
        return [*self.few_facts, *([(FOUND_VIA, " ← ".join(self.trail))] if self.trail else [])]

    @property
    def small_print(self) -> str:
        """The footer in one line."""
        return " · ".join(self.footer)

    @property
    def links(self) -> list[tuple[str, str]]:
        """The texts and URLs of the links to the scan."""
        return [(text, url) for text, url in ((OPEN_SCAN, self.link), (SHOW_DELIVERIES, self.page)) if url]

    @property
    def unlinked(self) -> Notice:
        """The same without links, for a chat that shows them in a place of their own."""
        return replace(self, link="", page="")

    @property
    def summary(self) -> str:
        """All in one line, for a phone's lock screen."""
        about = f"{self.headline} on {self.target}" if self.target else self.headline
        body = in_line(self.body, 2 * ITEM_MAX)
        return " ".join((f"{about}: {body}" if body else about).split())


def is_short(value: str) -> bool:
    """Return whether a value leaves room for another one next to it."""
    return len(value) <= SHORT and "\n" not in value


def without_mentions(text: str) -> str:
    """Return a text in which nobody is mentioned: an at sign at the start of a word becomes a wide one.

    For chats that look for mentions even in escaped text.
    """
    return MENTION.sub("\N{FULLWIDTH COMMERCIAL AT}", text)
