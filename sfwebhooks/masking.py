"""What may be shown of a text that others wrote: a receiver's words, or a value of the settings, come in; the same
without secrets goes out.

A receiver repeats what it was told in its own way: percent-encoded, escaped for JSON or HTML, in capitals, in base64.
So each secret is looked for in all these ways at once, whichever of its characters are escaped.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from html.entities import codepoint2name
from itertools import chain
from urllib.parse import unquote

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.keys import WHSEC, WHSK, hmac_key, is_asymmetric
from sfwebhooks.proxies import Proxy

MASK = "***"
#: characters of an error of the scanner that are told
ERROR_MAX = 1024
#: a part of a URL, a word of a header or a user's name that has so many characters may be a credential
CREDENTIAL = 12
#: a character takes so many where it is escaped
ESCAPED = 6
#: what may be base64, in either alphabet, and long enough to hold a credential
BASE64 = re.compile(r"[\w+/-]{16,}", re.ASCII)
#: signs of URLs, passwords, base64 and code, of which no setting has any that is not a secret
SIGNS = re.compile(r"""wh(?:sec|sk)_|://|["'&%+=@$#?<>|]""")
#: a long word that is no key: mere letters, all small or all capitals
WORD = re.compile(r"[a-z._*!/-]*|[A-Z._*!/-]*")
#: the name of an environment variable, or the path of a file
NAME = re.compile(r"[A-Z_][A-Z0-9_]*|(?!.*wh(?:sec|sk)_)[\w~ -]*[/.][\w./~ -]*")


def masked(text: str, endpoint: Endpoint, limit: int) -> str:
    """Return the beginning of a text, with no secret of an endpoint in it, nor with the beginning of one at its end.

    Args:
        limit: characters.
    """
    return _masked(text, _secrets(endpoint), limit)


def masked_error(text: str, endpoints: Iterable[Endpoint], others: Iterable[str] = ()) -> str:
    """Return the beginning of an error of the scanner, with no secret of several endpoints in it, nor other ones."""
    secrets = (secret for endpoint in endpoints for secret in _secrets(endpoint))
    return _masked(text, chain(secrets, others), ERROR_MAX)


def _masked(text: str, found: Iterable[str], limit: int) -> str:
    texts = {secret for secret in found if secret.strip()}
    secrets = sorted(texts, key=len, reverse=True)  # one may be a part of another
    room = ESCAPED * max(map(len, secrets), default=0)
    start = _mask(text[: 4 * limit + room], secrets)
    if len(text) > 4 * limit + room:  # it was cut, and may end in a part of a secret, which is masked nowhere
        start = start[: max(len(start) - room, start.rfind(MASK) + len(MASK))]
    return start[:limit]


def shown(text: str) -> str:
    """Return what somebody wrote where no secret belongs; *** if it looks like one all the same."""
    long = [word for word in re.split(r"[\s,;]+", text) if len(word) >= CREDENTIAL]
    return MASK if SIGNS.search(text) or not all(map(WORD.fullmatch, long)) else text


def shown_name(text: str) -> str:
    """Return the name of what was to hold a secret, a variable or a file; *** if it looks like the secret itself."""
    return text if NAME.fullmatch(text) else shown(text)


def _mask(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = _pattern(secret).sub(MASK, text)

    def unpacked(run: re.Match[str]) -> str:
        inside = _from_base64(run[0])
        return MASK if any(_pattern(secret).search(inside) for secret in secrets) else run[0]

    return BASE64.sub(unpacked, text)


def _from_base64(text: str) -> str:
    """Return what stands in base64, in either alphabet; of what is none, or was cut, something."""
    whole = text[: -1 if len(text) % 4 == 1 else None].translate(str.maketrans("-_", "+/"))
    return base64.b64decode(whole + "==").decode("utf-8", "replace")


@lru_cache(maxsize=1024)
def _pattern(secret: str) -> re.Pattern[str]:
    single = re.sub(r"\\+", r"\\", " ".join(secret.split()))
    return re.compile("".join(map(_written, single)), re.IGNORECASE)


def _written(character: str) -> str:
    """Return a pattern for all ways of writing a character.

    Nothing in it is unlimited or fits in two ways: with a text that almost fits, a receiver could make us search for
    hours.
    """
    if character.isascii() and character.isalnum():
        return character
    if character == " ":
        return r"(?:\s{0,4}|\+|%(?:25){0,2}20)"
    data, number = character.encode("utf-8", "replace"), ord(character)
    plain = dict.fromkeys([character, character.upper(), data.decode("latin-1")])
    ways = [*map(re.escape, plain), f"u{number:04x}", f"&#(?:0{{0,4}}{number}|x0{{0,4}}{number:x});"]
    ways += ["".join(f"%(?:25){{0,2}}{byte:02x}" for byte in data), r"\\{1,4}".join(f"x{byte:02x}" for byte in data)]
    ways += [f"&{codepoint2name[number]};"] if number in codepoint2name else []
    return rf"\\{{0,4}}(?:{'|'.join(ways)})"


def _secrets(endpoint: Endpoint) -> Iterator[str]:
    """Yield what must not be shown of an endpoint; of its URL (a receiver echoes the path) all but scheme and host."""
    for secret in endpoint.secrets:
        yield from _of_key(secret.reveal())
    for header in endpoint.headers.values():
        yield from _of_header(header.reveal())
    for value in Proxy.of(endpoint.proxy).headers.values() if endpoint.proxy else ():
        yield from _of_header(value)
    yield from (secret.reveal() for secret in (endpoint.api_key, endpoint.client_key_password) if secret)
    url = endpoint.url.reveal()
    target = re.sub(r"^[^/?]*", "", url.partition("://")[2])
    yield from _credentials(url, target, *re.split(r"[/?&=]", target))


def _of_key(secret: str) -> Iterator[str]:
    """Yield a signing secret, and the forms in which its receiver may have it."""
    yield secret
    if secret.startswith((WHSEC, WHSK)):
        yield from _credentials(secret.partition("_")[2])
    if not is_asymmetric(secret):
        key = hmac_key(secret)
        yield from _credentials(base64.b64encode(key).decode(), key.hex())


def _of_header(value: str) -> Iterator[str]:
    """Yield a header's value, its words, and its credentials (RFC 9110 section 11.4), also read (RFC 7617)."""
    yield value
    yield from _credentials(*value.split())
    scheme, _, credentials = value.partition(" ")
    if credentials and " " not in credentials:
        yield credentials
    if scheme.lower() == "basic":
        login = _from_base64(credentials)
        user, _, password = login.partition(":")
        yield from (password, *_credentials(login, user))


def _credentials(*parts: str) -> Iterator[str]:
    """Yield what of some texts is long enough, as it is and decoded."""
    yield from (form for part in parts for form in (part, unquote(part)) if len(form) >= CREDENTIAL)
