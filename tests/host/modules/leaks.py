"""A module that finds what no chat may get: put among the host's modules by a test, and taken away again."""

from typing import Any

from spiderfoot import SpiderFootEvent, SpiderFootPlugin

PASSWORD = "correct-horse-22"
LOGIN = f"jane.doe@acme.test:{PASSWORD} [Collection #1]"
CARD = "4111111111111111"
KEY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{KEY}\n-----END RSA PRIVATE KEY-----"
NAME = "Josephine Bloggs"
#: what is found, each below the one before it
FOUND = (
    ("LEAKSITE_CONTENT", f"{LOGIN}\n{CARD}\n{PEM}"),
    ("EMAILADDR", "jane.doe@acme.test"),
    ("PASSWORD_COMPROMISED", LOGIN),
    ("CREDIT_CARD_NUMBER", CARD),
    ("PGP_KEY", PEM),
    ("RAW_FILE_META_DATA", PEM),
    ("HUMAN_NAME", NAME),
    ("TCP_PORT_OPEN_BANNER", f"acme.test:21 welcome, your card is 4111 1111 1111 1111: {PEM}"),
    ("VULNERABILITY_GENERAL", f"https://jane.doe:{PASSWORD}@www.acme.test/ shows {LOGIN}"),
)


class sfp_test_leaks(SpiderFootPlugin):  # type: ignore[misc]  # the host has no types
    """Loaded by the scanner."""

    meta = {"name": "Leaks", "summary": "Finds secrets.", "flags": [], "useCases": [], "categories": []}
    opts: dict[str, Any] = {}
    optdescs: dict[str, str] = {}

    def setup(self, sfc: Any, userOpts: Any = None) -> None:
        """Keep the host's options, which its thread needs."""
        self.sf = sfc
        self.opts = {**self.opts, **(userOpts or {})}

    def watchedEvents(self) -> list[str]:
        """Watch the target."""
        return ["INTERNET_NAME"]

    def producedEvents(self) -> list[str]:
        """Return what it finds."""
        return [kind for kind, _ in FOUND]

    def handleEvent(self, event: Any) -> None:
        """Find all of it, then fail."""
        for kind, data in FOUND:
            event = SpiderFootEvent(kind, data, self.__name__, event)
            self.notifyListeners(event)
        raise ValueError(f"cannot log in as jane.doe@acme.test:{PASSWORD} with {CARD}")
