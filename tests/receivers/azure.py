"""Microsoft Entra ID, and the logs ingestion endpoint of Azure Monitor with one data collection rule."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from urllib.parse import parse_qs, unquote_plus

from tests.receivers.vendor import Answer, Asked, Json, Vendor

TENANT = "0f8fad5b-d9cb-469f-a165-70867728950e"
RULE = "dcr-000a00a000a00000a000000aa000a0aa"
STREAM = "Custom-SpiderFoot_CL"
CLIENT, SECRET = "5c0de5c0-de5c-0de5-c0de-5c0de5c0de5c", "Q8~of.the_app-registration~1234567890"
SCOPE = "https://monitor.azure.com/.default"
#: bytes of a request, before compression or not
REQUEST_MAX = 1_048_576


def error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, {"error": {"code": code, "message": message}}, headers or {})


class Azure(Vendor):
    """Gives tokens to one client, and takes rows from who has the last one. Requests for tokens are not in `got`."""

    format = "sentinel"
    path = ""
    token_path = f"/{TENANT}/oauth2/v2.0/token"
    gone = error(401, "InvalidToken", "The authentication token is not valid.")
    busy = error(429, "TooManyRequests", "Slow down.", {"Retry-After": "7"})
    wait = 7.0

    def __init__(self) -> None:
        super().__init__()
        self.keys = {"tenant": TENANT, "dcr_id": RULE}
        #: bytes of each request that was taken, as they came
        self.sizes: list[int] = []
        #: number of tokens that were given out; only the last one is valid
        self.tokens = 0
        #: whether the client has the role on the rule
        self.has_role = True
        self.rule = RULE
        #: the answer of Entra ID instead of a token
        self.no_token: Answer | None = None

    @property
    def fields(self) -> Mapping[str, str]:
        token_url = f"{self.root}{self.token_path}"
        secrets = {"client_id": CLIENT, "client_secret": SECRET}
        return {"auth": "oauth2", "token_url": token_url, "scope": SCOPE, **secrets}

    def __call__(self, asked: Asked) -> Answer:
        if asked.path == self.token_path:
            return self.no_token or self._token(asked)
        return super().__call__(asked)

    def answer(self, asked: Asked) -> Answer:
        if asked.headers.get("Authorization") != f"Bearer token-{self.tokens}":
            return self.gone
        if not asked.path.startswith(f"/dataCollectionRules/{self.rule}/"):
            return error(404, "NotFound", f"Data collection rule with immutable Id '{RULE}' not found.")
        if not self.has_role:
            words = "The authentication token provided does not have access to ingest data for the data collection rule"
            return error(403, "OperationFailed", f"{words} with immutable Id '{RULE}'.")
        return self._take(asked)

    def _token(self, asked: Asked) -> Answer:
        name, _, secret = base64.b64decode(asked.headers["Authorization"].partition(" ")[2]).decode().partition(":")
        form = parse_qs(asked.text)
        if form["grant_type"] != ["client_credentials"] or form["scope"] != [SCOPE]:
            return Answer(400, {"error": "invalid_scope", "error_description": "AADSTS70011: The scope is not valid."})
        if (unquote_plus(name), unquote_plus(secret)) != (CLIENT, SECRET):
            words = "AADSTS7000215: Invalid client secret."
            return Answer(401, {"error": "invalid_client", "error_description": words})
        self.tokens += 1
        return Answer(200, {"token_type": "Bearer", "expires_in": 3599, "access_token": f"token-{self.tokens}"})

    def _take(self, asked: Asked) -> Answer:
        if len(asked.body) > REQUEST_MAX:
            return error(413, "ContentLengthLimitExceeded", "Maximum allowed content length: 1048576 bytes (1 MB).")
        right = (f"/dataCollectionRules/{RULE}/streams/{STREAM}", {"api-version": ["2023-01-01"]})
        if (asked.path, asked.query) != right:
            return error(400, "InvalidStream", "The stream is not declared in the data collection rule.")
        is_gzip = asked.headers.get("Content-Encoding") == "gzip"
        found: list[Json] = json.loads(gzip.decompress(asked.body) if is_gzip else asked.body)
        is_array = isinstance(found, list) and all(isinstance(one, dict) for one in found)
        if asked.headers["Content-Type"] != "application/json" or not is_array:
            return error(400, "InvalidPayload", "The body is not an array of objects.")
        if not all(map(self.is_wanted, found)):
            return error(400, "InvalidPayload", "A row is invalid.")
        self.sizes.append(len(asked.body))
        self.taken += found
        return Answer(204)
