"""Trouble that lasts: a text comes in each time that something fails; one log line goes out, and one at its end."""

from __future__ import annotations

import logging

log = logging.getLogger("spiderfoot.webhooks")


class Trouble:
    """What is wrong with one thing, logged once until it changes or is over.

    Args:
        about: what to put before each line, such as "endpoint team: "; empty: nothing.
        over: what to log when it is over; empty: nothing.
    """

    def __init__(self, about: str = "", over: str = "") -> None:
        self.text = ""
        self._about = about
        self._over = over

    def __bool__(self) -> bool:
        """Say whether something is wrong now."""
        return bool(self.text)

    def met(self, text: str, consequence: str = "") -> None:
        """Log what is wrong, with its consequence; the same again only as DEBUG."""
        level = logging.DEBUG if text == self.text else logging.WARNING
        log.log(level, "webhooks: %s%s%s", self._about, text, consequence)
        self.text = text

    def ended(self) -> None:
        """Log that it is over, if something was wrong."""
        if self.text and self._over:
            log.info("webhooks: %s%s", self._about, self._over)
        self.text = ""
