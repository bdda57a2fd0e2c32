"""Masking for chats: a finding's data comes in, the text that a channel may read goes out.

A channel has more readers than a scan, is searched, exported and kept for years. So chat formats report that a password
leaked, and whose, but not the password. The siem and generic formats send findings unmasked. The few findings in a
scan's closing event are masked for every endpoint: a subscription to the end of scans does not ask for passwords.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sfwebhooks.searching import beginnings

MASK = "••••"
WITHHELD = "(raw content is not shown here)"


class Kept(NamedTuple):
    """How much of a secret stays readable, so that people recognise it."""

    #: characters at its beginning
    head: int
    #: characters at its end
    tail: int
    #: a shorter secret is masked whole
    shortest: int


# The length is never shown. Of a hash only 16 bits are shown: eight hex digits would be enough to check guesses of a
# password. Of a card number the digits on a receipt are shown, of an IBAN also its country.
SECRETS = {
    "PASSWORD_COMPROMISED": Kept(1, 1, 8),
    "HASH_COMPROMISED": Kept(2, 2, 16),
    "CREDIT_CARD_NUMBER": Kept(0, 4, 12),
    "IBAN_NUMBER": Kept(2, 4, 15),
}
# Pages, leaks and dumps. The host extracts the types above from these, and breach services' whole answers, with
# passwords, come as RAW_RIR_DATA: masking only the finding would leave its secret in its source.
RAW = re.compile(r"RAW_\w+|\w+_CONTENT")
#: how the host's modules write leaked logins: address, secret, and in brackets where it leaked
LOGIN = re.compile(r"([^\s:@]+@[^\s:@]+:)(.+?)(\s\[[^\[\]]*\])?", re.DOTALL)
#: least characters of a quotation: any text may contain shorter data
QUOTED_LEAST = 4
#: characters of a text that are shown: more than a chat accepts
TEXT_MAX = 4096
#: most data that are searched in a text; with more, nothing of the text is shown
QUOTED_MAX = 32
#: lines of a secret found in a source repository (sfp_tool_trufflehog) that give its place
PLACES = ("branch", "commitHash", "date", "path", "reason")


def for_chat(host_type: str, text: str) -> str:
    """Return a finding's data, or a source's, as a chat may show it.

    Args:
        host_type: the host's event type, such as PASSWORD_COMPROMISED.
    """
    if RAW.fullmatch(host_type):
        return WITHHELD
    kept = SECRETS.get(host_type)
    return secret_masked(text, kept) if kept else text


def about_for_chat(text: str, events: object) -> str:
    """Return a text about some events as a chat may show it: it can quote the events' data.

    A quotation at the end may be cut, as in a correlation's title. Replacements are not searched again.

    Args:
        events: their `event_type` and `data`, as a correlation's evidence has them; anything else counts as no events.
    """
    quoted = {data: shown for data, shown in _quotable(events) if data != shown}
    if len(quoted) > QUOTED_MAX:
        return WITHHELD
    start, more = text[:TEXT_MAX], "…" if len(text) > TEXT_MAX else ""
    spans = [(at, -end, data) for data in quoted for at, end in _quotations(data, start)]
    parts: list[str] = []
    last = 0
    for at, behind, data in sorted(
        spans, key=lambda span: span[:2]
    ):  # of those that begin at a place the longest first
        end, whole = -behind, -behind - at == len(data)
        if at >= last:
            parts += (start[last:at], quoted[data] if whole or quoted[data] == WITHHELD else MASK)
        elif end > last:  # it overlaps the one before
            parts.append(MASK)
        last = max(last, end)
    return "".join((*parts, start[last:], more))


def _quotations(data: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield where data are quoted in a text, whole, or cut where it ends."""
    last = 0
    for at, length in beginnings(data, text):
        if at >= last and (length == len(data) or at + length == len(text)):
            last = at + length
            yield at, last


def _quotable(events: object) -> Iterator[tuple[str, str]]:
    """Yield the data of some events, and the same as a chat may show it."""
    for event in events if isinstance(events, list) else ():
        data = event.get("data") if isinstance(event, Mapping) else None
        if isinstance(data, str) and len(data) >= QUOTED_LEAST:
            yield data, for_chat(str(event.get("event_type")), data)


def secret_masked(text: str, kept: Kept) -> str:
    """Return a text with its secret masked; if its place is not known, the whole text is masked."""
    login = LOGIN.fullmatch(text.strip())
    if login:
        return login[1] + _mask(login[2], kept) + (login[3] or "")
    if "\n" in text.strip():
        return "\n".join(_line(line) for line in text.strip().splitlines())
    return _mask(text.strip(), kept)


def _line(line: str) -> str:
    key, colon, _ = line.partition(": ")
    return line if colon and key in PLACES else MASK


def _mask(secret: str, kept: Kept) -> str:
    if len(secret) == kept.head + len(MASK) + kept.tail and secret[kept.head :].startswith(MASK):
        return secret  # it is masked already
    if len(secret) < kept.shortest:
        return MASK
    return secret[: kept.head] + MASK + secret[len(secret) - kept.tail :]
