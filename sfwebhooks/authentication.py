"""Authentication: how a request says who sends it, apart from its signature. An Endpoint comes in, headers go out.

`network/tokens` adds the tokens of OAuth 2.0, which have to be fetched.
"""

from __future__ import annotations

import base64
from enum import Enum
from urllib.parse import quote_plus

from sfwebhooks.endpoints import Endpoint


class Auth(str, Enum):
    """The values of `auth`."""

    BEARER = "bearer"
    BASIC = "basic"
    HEADER = "header"
    OAUTH2 = "oauth2"


#: the keys that each of them needs
NEEDED = {
    Auth.BEARER: (),
    Auth.BASIC: ("username", "password"),
    Auth.HEADER: ("auth_header", "api_key"),
    Auth.OAUTH2: ("token_url", "client_id", "client_secret"),
}
#: all keys that each of them uses
USED = {**NEEDED, Auth.BEARER: ("api_key",), Auth.OAUTH2: (*NEEDED[Auth.OAUTH2], "scope")}


def credentials(endpoint: Endpoint, header: str, scheme: str) -> dict[str, str]:
    """Return the headers of an endpoint, and those that authenticate a request without a token.

    Args:
        header: its name if it has an `api_key`.
        scheme: what is in front of the key (RFC 9110 section 11.4); may be empty.
    """
    found = {name: value.reveal() for name, value in endpoint.headers.items()}
    if endpoint.auth == Auth.BASIC.value and endpoint.password:
        found["Authorization"] = basic(endpoint.username, endpoint.password.reveal())
    elif endpoint.api_key and endpoint.auth == Auth.HEADER.value:
        found[endpoint.auth_header] = endpoint.api_key.reveal()
    elif endpoint.api_key:
        found[header] = f"{scheme} {endpoint.api_key.reveal()}".lstrip()
    return found


def basic(user: str, password: str) -> str:
    """Return the value of an Authorization header for the Basic scheme, in UTF-8 (RFC 7617 section 2.1)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def basic_of_client(client: str, secret: str) -> str:
    """Return the same for a client of OAuth 2.0, whose id and secret are encoded first (RFC 6749 section 2.3.1)."""
    return basic(quote_plus(client), quote_plus(secret))
