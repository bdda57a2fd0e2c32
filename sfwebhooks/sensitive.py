"""What a chat may not show: the host's event type and data come in, the same with secrets and people masked go out.

A channel has more readers than a scan, is searched, exported and kept for years. So a message there says that a
password leaked, and whose, but not the password; of a person it says enough for somebody who knows the person.
`redaction` decides what is masked for which endpoint. All searches are linear.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Callable, NamedTuple

from sfwebhooks.decoding import CODED, View, contents, readings
from sfwebhooks.searching import merged

MASK = "••••"
WITHHELD = "(not shown here)"


class Hidden(NamedTuple):
    """A secret in a text."""

    begin: int
    end: int
    #: what takes its place
    shown: str


class Kept(NamedTuple):
    """How much of a value stays readable, so that people recognise it."""

    #: characters at its beginning
    head: int
    #: characters at its end
    tail: int
    #: a shorter value is masked whole
    shortest: int


#: of what has no rule of its own
LAST_FOUR = Kept(0, 4, 8)
# The length is never shown. Of a hash only 16 bits are shown: eight hex digits would be enough to check guesses of a
# password. Of a card number the digits on a receipt are shown, of an IBAN also its country.
SECRETS = {
    "PASSWORD_COMPROMISED": Kept(1, 1, 8),
    "HASH_COMPROMISED": Kept(2, 2, 16),
    "CREDIT_CARD_NUMBER": Kept(0, 4, 12),
    "IBAN_NUMBER": Kept(2, 4, 15),
}
#: Types of which nothing is shown. Pages, leaks and dumps: the host extracts the types above from these, and breach
#: services' whole answers, with passwords, come as RAW_RIR_DATA: masking only the finding would leave its secret in its
#: source. A PGP_KEY may be a private one, BASE64_DATA are credentials at times, and WHOIS answers have names, addresses
#: and phone numbers.
RAW = ("RAW_*", "*_CONTENT", "*_WHOIS", "BASE64_DATA", "PGP_KEY")
# People. Not their accounts, user names and job titles, which are public, and of which a part would say nothing.
NAMES = ("HUMAN_NAME",)
#: also EMAILADDR_COMPROMISED, but not the addresses of a role, such as info@
ADDRESSES = ("*EMAILADDR", "EMAILADDR_[!G]*")
NUMBERS = ("PHONE_NUMBER", "PHONE_NUMBER_COMPROMISED", "MALICIOUS_PHONE_NUMBER")
PLACES_OF_PEOPLE = ("PHYSICAL_ADDRESS",)
BIRTHS = ("DATE_HUMAN_DOB", "PHYSICAL_COORDINATES")
PEOPLE = (*NAMES, *ADDRESSES, *NUMBERS, *PLACES_OF_PEOPLE, *BIRTHS)
#: how the host's modules write leaked logins: address, secret, and in brackets where it leaked
LOGIN = re.compile(r"([^\s:@]+@[^\s:@]+:)(.+?)(\s\[[^\[\]]*\])?", re.DOTALL)
#: the part of an e-mail address before its domain
LOCAL = re.compile(r"(?<![^\s@<>\[\](){},:;=\"'&/])([^\s@<>\[\](){},:;=\"'&/]+)@(?=\w)")
DOMAIN = re.compile(r"[\w.-]{1,253}\w|\w")
#: a phone number
PHONE = re.compile(r"(?<![0-9])\+?[0-9][0-9 ()/.-]{4,30}[0-9](?![0-9])")
#: lines of a secret found in a source repository (sfp_tool_trufflehog) that give its place
PLACES = ("branch", "commitHash", "date", "path", "reason")
#: most words of a name whose first letters are shown
WORDS_MAX = 5

#: where a card number can begin (ISO/IEC 7812: 3 to 6; 2 is used by Mastercard and Mir)
CARD = re.compile("(?<![0-9])[2-6](?=[0-9]{3})")
#: what is between its groups
GAP = r"[\s._+/-]{1,3}"
#: how card numbers are written: without separators, or in groups as on the card
CARD_FORMS = tuple(
    re.compile(f"{form}(?![0-9])")
    for form in (
        "[0-9]{13,19}",
        *(f"[0-9]{{4}}{GAP}[0-9]{{4}}{GAP}[0-9]{{4}}{GAP}{last}"
          for last in ("[0-9]", f"[0-9]{{4}}(?:{GAP}[0-9]{{1,3}})?", "[0-9]{4}")),
        f"[0-9]{{4}}{GAP}[0-9]{{6}}{GAP}[0-9]{{4,5}}",
    )
)  # fmt: skip
#: one with something between all digits
APART = re.compile(r"(?<![0-9])(?<![0-9][\s._-])[2-6]([\s._-])[0-9](?:\1[0-9]){11,17}(?!\1?[0-9])")
#: what may be the beginning of one, at the end of a text of at least CUT characters, which may have been cut: the
#: host's database keeps no more
CUT_CARD = re.compile(r"(?<![0-9])[2-6][0-9]{3}[0-9\s._-]*\Z")
CUT = 1024
#: characters of the longest one
CARD_MAX = 24
#: the hash of something, which may have any digits
DIGEST = re.compile("[0-9a-f]{32}(?:[0-9a-f]{8}(?:[0-9a-f]{24})?)?")
#: a private key in PEM, OpenPGP armour or the form of SSH2, whole, or from its beginning on if its end was cut off
ARMOUR = re.compile(
    r"-{4,5} ?BEGIN[ +][A-Z0-9 +]{0,40}PRIVATE[ +]{1,3}KEY(?:[ +]BLOCK)? ?-{4,5}"
    r".*?(?:-{4,5} ?END[ +][A-Z0-9 +]{0,60}-{4,5}|\Z)",
    re.DOTALL,
)
#: the end of one whose beginning was cut off
ARMOUR_END = re.compile(r"-{4,5} ?END[ +][A-Z0-9 +]{0,40}PRIVATE[ +]{1,3}KEY(?:[ +]BLOCK)? ?-{4,5}")
#: an e-mail address with a password behind it, as in lists of leaked logins, unless that is another address
COMBINATION = re.compile(r"@[A-Za-z0-9._-]{1,253}(?::|[;|](?![^\s@]{1,64}@[\w-]{1,63}\.\w))([^\s\"'<>/]\S*)")
#: the password in a URL
USERINFO = re.compile(r"://[^\s/:@]{0,255}:([^\s/]{1,255})@")


def matches_type(pattern: str, host_type: str) -> bool:
    """Return whether a pattern is for an event type of the host."""
    return pattern == host_type or fnmatchcase(host_type, pattern)


def is_secret(host_type: str) -> bool:
    """Return whether findings of a type are secrets, or may contain some, rather than about people."""
    return host_type in SECRETS or any(matches_type(pattern, host_type) for pattern in RAW)


def is_address(host_type: str) -> bool:
    """Return whether findings of a type are about e-mail addresses of people."""
    return any(matches_type(pattern, host_type) for pattern in ADDRESSES)


def masked_value(host_type: str, text: str) -> str:
    """Return a finding's data of which only as much is shown as people need to recognise it.

    Of an e-mail address that is the first letter and the domain, of a name its initials, else the last characters. The
    owner of a login is shown. If the place of a secret is not known, the whole text is masked.
    """
    text = text.strip()
    if host_type in SECRETS:
        return _secret_masked(text, SECRETS[host_type])
    if host_type in NAMES:
        return " ".join(_headed(word) for word in text.split()[:WORDS_MAX]) or MASK
    if host_type in BIRTHS:
        return MASK
    numbers = host_type in NUMBERS
    form = PHONE if numbers else LOCAL
    if (is_found := form.search(text)) and (numbers or is_address(host_type) or not re.search(r"\s", text)):
        return form.sub(_last_digits if numbers else lambda found: f"{_headed(found[1])}@", text)
    return text if MASK in text and not is_found else _masked(text, LAST_FOUR)


def parts_of(host_type: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield what another text may quote of a finding's data alone, such as the password of a login, each with what is
    shown of it."""
    text = text.strip()
    if is_address(host_type):
        for local in LOCAL.finditer(text):
            domain = DOMAIN.match(text, local.end())
            address = local[0] + (domain[0] if domain else "")
            yield address, masked_value(host_type, address)
    elif host_type in NUMBERS:
        yield from ((found[0], _last_digits(found)) for found in PHONE.finditer(text))
    elif host_type not in SECRETS:
        return
    elif login := LOGIN.fullmatch(text):
        yield login[2], MASK
    elif "\n" in text:
        hidden = (line for line in text.splitlines() if _line(line) != line)
        yield from ((line.partition(": ")[2].strip(" []'\""), MASK) for line in hidden)


def login_owner(host_type: str, text: str) -> str:
    """Return the e-mail address in the data of a leaked login, or nothing."""
    login = LOGIN.fullmatch(text.strip()) if host_type in SECRETS else None
    return login[1][:-1] if login else ""


def keys_in(text: str) -> Iterator[Hidden]:
    """Yield the private keys in a text."""
    if "----" in text:
        last = 0
        for key in ARMOUR.finditer(text):
            yield Hidden(*key.span(), WITHHELD)
            last = key.end()
        ends = [found.end() for found in ARMOUR_END.finditer(text)]
        whole = {found.end() for found in ARMOUR.finditer(text)} if last else {0}
        if cut := [end for end in ends if end not in whole]:
            yield Hidden(0, cut[-1], WITHHELD)
    if (start := text.find("PuTTY-User-Key-File-")) >= 0:
        yield Hidden(start, len(text), WITHHELD)


def cards_in(text: str) -> Iterator[Hidden]:
    """Yield the card numbers in a text; of each the last four digits are shown."""
    if len(text) >= CUT and (cut := CUT_CARD.search(text, len(text) - CARD_MAX)):
        yield Hidden(*cut.span(), MASK)
    spans = [] if DIGEST.fullmatch(text) else merged(_cards(text))
    for begin, end in spans:
        yield Hidden(begin, end, MASK + re.sub("[^0-9]", "", text[begin:end])[-4:])


def _cards(text: str) -> Iterator[tuple[int, int]]:
    """Yield where card numbers may be: they can overlap."""
    for begin in CARD.finditer(text):
        for form in CARD_FORMS:
            found = form.match(text, begin.start())
            if found and is_card(re.sub("[^0-9]", "", found[0])):
                yield found.span()
    for found in APART.finditer(text):
        if is_card(re.sub("[^0-9]", "", found[0])):
            yield found.span()


def is_card(digits: str) -> bool:
    """Return whether digits have the length and the check digit of a card number (ISO/IEC 7812-1, Luhn)."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return 13 <= len(digits) <= 19 and (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def passwords_in(text: str) -> Iterator[Hidden]:
    """Yield the passwords next to e-mail addresses, and those in URLs."""
    if "@" not in text:
        return
    kept = SECRETS["PASSWORD_COMPROMISED"]
    for found in USERINFO.finditer(text):
        yield Hidden(*found.span(1), MASK)
    for found in COMBINATION.finditer(text):
        yield Hidden(*found.span(1), _once(found[1], kept))


#: without any of these a text has nothing that they find, unless it is encoded
SUSPICIOUS = re.compile(r"@|[0-9]{4}|----|PuTTY|[0-9]([\s._-])[0-9]\1[0-9]")
#: what is masked in any text of a message -> function that finds it
IN_TEXTS: dict[str, Callable[[str], Iterator[Hidden]]] = {
    "private keys": keys_in,
    "card numbers": cards_in,
    "passwords": passwords_in,
}
#: and in the contents of base64, where any bytes may look like an address
IN_BASE64 = ("private keys", "card numbers")


def without_secrets(text: str) -> tuple[str, list[str]]:
    """Return a text without what looks like a secret in it, in whatever form a reader sees it, and what was found."""
    if not (is_coded := CODED.search(text)) and not SUSPICIOUS.search(text):
        return text, []
    found: dict[Hidden, str] = {}
    for kind, find in IN_TEXTS.items():
        found.update(dict.fromkeys(find(text), kind))
    for view in readings(text) if is_coded else ():
        _search(view, IN_TEXTS, found)
    for view in contents(text) if is_coded else ():
        _search(view, IN_BASE64, found)
    return _shown(text, found), [
        *dict.fromkeys(kind for one, kind in found.items() if text[one.begin : one.end] != one.shown)
    ]


def _search(view: View, kinds: Iterable[str], found: dict[Hidden, str]) -> None:
    """Add the secrets in a view, at their places in the original text."""
    for kind in kinds:
        for begin, end, shown in IN_TEXTS[kind](view.text):
            found[Hidden(view.begins[begin], view.ends[end - 1], shown)] = kind


def _shown(text: str, found: Iterable[Hidden]) -> str:
    """Return a text with what is shown of its secrets; of those at the same place the longest one counts."""
    parts: list[str] = []
    last = 0
    for begin, end, shown in sorted(found, key=lambda one: (one.begin, -one.end)):
        if begin >= last:
            parts += (text[last:begin], shown)
        last = max(last, end)
    return "".join((*parts, text[last:]))


def _secret_masked(text: str, kept: Kept) -> str:
    login = LOGIN.fullmatch(text)
    if login:
        return login[1] + _masked(login[2], kept) + (login[3] or "")
    if "\n" in text:
        return "\n".join(_line(line) for line in text.splitlines())
    return _masked(text, kept)


def _line(line: str) -> str:
    key, colon, _ = line.partition(": ")
    return line if colon and key in PLACES else MASK


def _last_digits(found: re.Match[str]) -> str:
    return MASK + re.sub("[^0-9]", "", found[0])[-4:]


def _headed(word: str) -> str:
    """Return the first letter of a word."""
    return word if MASK in word else word[: len(word) > 1] + MASK


def _once(text: str, kept: Kept) -> str:
    """Return a masked text, or one that is masked already."""
    return text if MASK in text else _masked(text, kept)


def _masked(text: str, kept: Kept) -> str:
    if len(text) == kept.head + len(MASK) + kept.tail and text[kept.head :].startswith(MASK):
        return text  # it is masked already
    if len(text) < kept.shortest:
        return MASK
    return text[: kept.head] + MASK + text[len(text) - kept.tail :]
