"""Our own secrets, those of the settings: a text from others, such as a receiver's words or a value of the settings,
comes in; the same without them goes out. What scans find is masked by `redaction`.

A secret is searched in all views of the text (`decoding`), whole and by its beginnings and ends. All searches are
linear (`searching`).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain
from typing import NamedTuple
from urllib.parse import unquote

from sfwebhooks.authentication import basic, basic_of_client
from sfwebhooks.decoding import View, forms, from_base64, views
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.formats import FORMATS
from sfwebhooks.network.proxy import Proxy
from sfwebhooks.searching import PART, beginnings, ends, merged
from sfwebhooks.signing_keys import WHSEC, WHSK, hmac_key, is_asymmetric

MASK = "***"
#: most characters of a scanner error that are sent
ERROR_MAX = 1024
#: least characters of a part of a URL, a word of a header or a user name that may be a credential
CREDENTIAL = 12
#: least characters of a part of a path whose beginnings and ends are searched too
TOKEN = 16
#: most characters of an escaped character, and most that one character becomes when texts are compared
ESCAPED = 6
GROWTH = 3
#: characters of URLs, passwords, base64 and code, which only secret settings contain
SIGNS = re.compile(r"""wh(?:sec|sk)_|://|["'&%+=@$#?<>|]""")
#: a long word that is not a key: letters only, all lower or all upper case
WORD = re.compile(r"[a-z._*!/-]*|[A-Z._*!/-]*")
#: the name of an environment variable or the path of a file
NAME = re.compile(r"[A-Z_][A-Z0-9_]*|(?!.*wh(?:sec|sk)_)[\w~ -]*[/.][\w./~ -]*")
#: ordinary words and numbers of versions and years, between signs; a key has longer ones, or mixes them
PLAIN = re.compile(r"[A-Z]{0,20}[a-z]{0,20}(?:[A-Z][a-z]{1,20}){0,3}[0-9]{0,4}")


class Sought(NamedTuple):
    """A secret to search for."""

    text: str
    #: whether to search for its beginnings and ends too
    parts: bool = True


class Mask:
    """Replaces secrets, and beginnings and ends of them, in the texts of others."""

    def __init__(self, found: Iterable[Sought]) -> None:
        secrets = {secret for secret in found if secret.text.strip()}
        #: characters before the end of a cut text in which a part of a secret may begin that is too short to be masked
        self._room = ESCAPED * max((PART if secret.parts else len(secret.text) for secret in secrets), default=0)
        #: forms to search for, each with the least characters of it that are masked
        self._forms = [
            (form, min(PART, len(form)) if secret.parts else len(form))
            for secret in secrets
            for form in _forms(secret.text)
        ]
        self._least = min((least for _, least in self._forms), default=0)

    @classmethod
    def of(cls, endpoint: Endpoint) -> Mask:
        """Return the mask of an endpoint's secrets."""
        return cls(_secrets(endpoint))

    @classmethod
    def of_keys(cls, endpoint: Endpoint) -> Mask:
        """Return the mask of the secrets that an endpoint's format puts into its messages."""
        return cls(_secret_keys(endpoint))

    def over(self, text: str, limit: int) -> str:
        """Return the beginning of a text without secrets.

        Args:
            limit: most characters.
        """
        if len(text) * GROWTH < self._least:
            return text[:limit]
        start = text[: 4 * limit + self._room]
        spans = merged(chain.from_iterable(map(self._spans, views(start))))
        end = len(start)
        if len(text) > end:
            end = max(end - self._room, spans[-1][1] if spans else 0)
        parts: list[str] = []
        last = 0
        for begin, behind in spans:
            parts += (start[last:begin], MASK)
            last = behind
        return "".join((*parts, start[last:end]))[:limit]

    def _spans(self, view: View) -> Iterator[tuple[int, int]]:
        """Yield the places of secrets in the original text of a view."""
        for form, least in self._forms:
            found = [beginnings(form, view.text), *([ends(form, view.text)] if least < len(form) else [])]
            for at, length in chain.from_iterable(found):
                if length >= least:
                    yield view.begins[at], view.ends[at + length - 1]


def masked_error(text: str, endpoints: Iterable[Endpoint], others: Iterable[str] = ()) -> str:
    """Return the beginning of a scanner error without any secret of the endpoints, nor any of `others`."""
    secrets = (secret for endpoint in endpoints for secret in _secrets(endpoint))
    # a user name is among the others, and may be an ordinary word
    return Mask(chain(secrets, (Sought(other, not is_plain(other)) for other in others))).over(text, ERROR_MAX)


@lru_cache(maxsize=1024)
def _forms(secret: str) -> tuple[str, ...]:
    return tuple(forms(secret))


def shown(text: str) -> str:
    """Return a value of a setting that is not a secret; *** if it looks like one."""
    long = [word for word in re.split(r"[\s,;]+", text) if len(word) >= CREDENTIAL]
    return MASK if SIGNS.search(text) or not all(map(WORD.fullmatch, long)) else text


def shown_words(text: str) -> str:
    """Return a line in which each long word that looks like a secret is ***."""
    return re.sub(rf"\S{{{CREDENTIAL},}}", lambda word: shown(word[0]), text)


def shown_name(text: str) -> str:
    """Return the name of a variable or file for a secret; *** if it looks like the secret itself."""
    return text if NAME.fullmatch(text) else shown(text)


def is_plain(text: str) -> bool:
    """Return whether a text consists of ordinary words, unlike a key."""
    return all(PLAIN.fullmatch(word) for word in re.split(r"[^A-Za-z0-9]+", unquote(text)))


def _secrets(endpoint: Endpoint) -> Iterator[Sought]:
    """Yield an endpoint's secrets, including all of its URL but scheme and host (a receiver may echo the path)."""
    for secret in (*endpoint.secrets, *filter(None, (endpoint.proof,))):
        yield from map(Sought, _of_key(secret.reveal()))
    for header in endpoint.headers.values():
        yield from map(Sought, _of_header(header.reveal()))
    for value in Proxy.of(endpoint.proxy).headers.values() if endpoint.proxy else ():
        yield from map(Sought, _of_header(value))
    passwords = (endpoint.api_key, endpoint.client_key_password, endpoint.password, endpoint.client_secret)
    yield from (Sought(secret.reveal()) for secret in (*passwords, endpoint.redact_key) if secret)
    if endpoint.password:
        yield from map(Sought, _of_header(basic(endpoint.username, endpoint.password.reveal())))
    if endpoint.client_secret:
        yield from map(Sought, _of_header(basic_of_client(endpoint.client_id, endpoint.client_secret.reveal())))
    yield from _secret_keys(endpoint)
    for url in (one.reveal() for one in (endpoint.url, endpoint.token_url) if one):
        path, _, query = re.sub(r"^[^/?]*", "", url.partition("://")[2]).partition("?")
        yield from _of_url(TOKEN, url, path, *path.split("/"))
        yield from _of_url(CREDENTIAL, f"{path}?{query}", query, *re.split(r"[/&=]", query))


def _secret_keys(endpoint: Endpoint) -> Iterator[Sought]:
    """Yield the secrets among the keys that only an endpoint's format has."""
    own = (endpoint.key(key.name) for key in FORMATS[endpoint.format].keys if key.secret)
    yield from map(Sought, filter(None, own))


def _of_url(least: int, *parts: str) -> Iterator[Sought]:
    """Yield parts of a URL; beginnings and ends are searched only for those that are not a path and not words such as
    services, which any text may contain."""
    for part in _credentials(*parts):
        yield Sought(part, len(part) >= least and not re.search("[/?&=]", part) and not is_plain(part))


def _of_key(secret: str) -> Iterator[str]:
    """Yield a signing secret and the forms in which its receiver may have it."""
    yield secret
    if secret.startswith((WHSEC, WHSK)):
        yield from _credentials(secret.partition("_")[2])
    if not is_asymmetric(secret):
        key = hmac_key(secret)
        yield from _credentials(base64.b64encode(key).decode(), key.hex())


def _of_header(value: str) -> Iterator[str]:
    """Yield a header's value, its words, and its credentials (RFC 9110 section 11.4), also decoded (RFC 7617)."""
    yield value
    yield from _credentials(*value.split())
    scheme, _, credentials = value.partition(" ")
    if credentials and " " not in credentials:
        yield credentials
    if scheme.lower() == "basic":
        login = from_base64(credentials).decode("utf-8", "replace")
        user, _, password = login.partition(":")
        yield from (password, *_credentials(login, user))


def _credentials(*parts: str) -> Iterator[str]:
    """Yield the texts that are long enough, raw and percent-decoded."""
    yield from (form for part in parts for form in (part, unquote(part)) if len(form) >= CREDENTIAL)
