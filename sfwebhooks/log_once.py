"""Lasting trouble: a text comes in at each failure; one log line goes out, and one at its end."""

from __future__ import annotations

import logging

log = logging.getLogger("spiderfoot.webhooks")


class Trouble:
    """The trouble of one object, logged once until it changes or is over.

    Args:
        about: prefix of each line, such as "endpoint team: ".
        over: line to log when it is over; empty: none.
    """

    def __init__(self, about: str = "", over: str = "") -> None:
        self.text = ""
        self._about = about
        self._over = over

    def __bool__(self) -> bool:
        """Return whether there is trouble now."""
        return bool(self.text)

    def met(self, text: str, consequence: str = "") -> None:
        """Log the trouble with its consequence; a repetition is logged at DEBUG."""
        level = logging.DEBUG if text == self.text else logging.WARNING
        log.log(level, "webhooks: %s%s%s", self._about, text, consequence)
        self.text = text

    def ended(self) -> None:
        """Log that the trouble is over, if there was any."""
        if self.text and self._over:
            log.info("webhooks: %s%s", self._about, self._over)
        self.text = ""
