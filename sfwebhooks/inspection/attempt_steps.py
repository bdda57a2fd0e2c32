"""The steps of an attempt come in as the network makes them; lines for people, and fields for JSON, go out.

There is a line as soon as its step is over, with the time since the step before it. The route says which step comes
next, so that a failure is shown at the one in which it happened.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Callable

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.inspection.certificate_words import (
    fields_of_certificate,
    fields_of_handshake,
    listed_texts,
    our_words,
    their_lines,
)
from sfwebhooks.network.route import FAMILIES, Route, family_of
from sfwebhooks.network.steps import (
    Arrived,
    Asked,
    Begun,
    Connected,
    Ended,
    Resolved,
    Secured,
    Sent,
    Step,
    TokenFetched,
    TokenWanted,
    Tunnelled,
    Unreached,
)
from sfwebhooks.text import amount, duration


@dataclass(frozen=True)
class StepLine:
    """A line for people about a step, or about what was found in it."""

    #: the step; empty: more about the one above
    label: str
    words: str
    #: what it says is good (green), doubtful (yellow) or bad (red); bold: advice
    style: str = ""
    #: seconds since the step before; None: it is not a step
    seconds: float | None = None


class AttemptSteps:
    """Watches the attempts of a test of one endpoint.

    Args:
        show: gets each line at once; None: only `fields` are collected.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        show: Callable[[StepLine], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        #: those of each step, for JSON
        self.fields: list[dict[str, Any]] = []
        self._endpoint = endpoint
        self._print = show
        self._clock = clock
        self._shows: dict[type, Callable[[Any], None]] = {
            Begun: self._begun,
            TokenWanted: self._token_wanted,
            TokenFetched: self._token_fetched,
            Resolved: self._resolved,
            Unreached: lambda step: self._unreached.append(step),
            Connected: self._connected,
            Secured: self._secured,
            Asked: self._asked_late,
            Tunnelled: self._tunnelled,
            Sent: self._sent,
            Arrived: self._arrived,
            Ended: self._ended,
        }
        #: the request that waits for a token
        self._waiting = "message"
        self.begin(self._waiting)

    def __call__(self, step: Step) -> None:
        """Show a step."""
        self._shows[type(step)](step)

    def begin(self, request: str, route: Route | None = None) -> None:
        """Expect the steps of a request: a message, a handshake, a confirmation, a token.

        Args:
            route: its way; that of the endpoint by default.
        """
        self._request, self._route = request, route or Route.to(self._endpoint)
        #: name of the step that comes next
        self._next = "prepare"
        self._size = 0
        self._unreached: list[Unreached] = []
        #: the handshake that failed
        self._failed: Secured | None = None
        self._since = self._clock()
        #: when the attempt ended without a reply; 0: it has not
        self._over_at = 0.0

    def fail(self, words: str) -> None:
        """Show why the attempt ended in the step that was next."""
        fields: dict[str, Any] = fields_of_handshake(self._failed) if self._failed else {}
        if self._unreached:
            fields["unreached"] = {missed.address: missed.why for missed in self._unreached}
        self._show(self._next, f"failed: {words}", "red", failed=True, **fields)
        if len(self._unreached) > 1:  # one of them failed for the reason that was shown
            self._show_unreached()
        if self._failed:
            self._show_certificates(self._failed)

    def line(self, label: str, words: str, style: str = "", seconds: float | None = None) -> None:
        """Show a line; one below a step is a note about it."""
        if label[:1] in ("", " ") and self.fields:
            self.fields[-1]["notes"].append(f"{label.strip()}: {words}" if label.strip() else words)
        if self._print:
            self._print(StepLine(label, words, style, seconds))

    def _show(self, name: str, words: str, style: str = "", **fields: Any) -> None:
        """Show a step that is over."""
        now = self._over_at or self._clock()
        seconds, self._since = now - self._since, now
        about = {"request": self._request, "step": name, "seconds": round(seconds, 4), "failed": False}
        self.fields.append({**about, "words": words, **fields, "notes": []})
        self.line(name, words, style, seconds)

    def _begun(self, step: Begun) -> None:
        if self._next != "prepare":
            self.line("", "the receiver has closed the connection from before; a new one is opened")
        self._next, self._since, self._over_at = "resolve", self._clock(), 0.0

    def _token_wanted(self, step: TokenWanted) -> None:
        self.line("token", f"is fetched from {step.place}")
        self._waiting = self._request
        self.begin("token", Route.to(replace(self._endpoint, url=self._endpoint.token_url or self._endpoint.url)))

    def _token_fetched(self, step: TokenFetched) -> None:
        self._show("token", f"can be used for {duration(step.seconds)}", valid_seconds=step.seconds)
        self.begin(self._waiting)

    def _resolved(self, step: Resolved) -> None:
        known = [*step.addresses, *step.refused]
        host = f"the proxy {step.host}" if self._route.proxy else step.host
        words = f"{host} is {listed_texts(known)}" if known != [step.host] else f"{host}, an address"
        self._show("resolve", words, **step._asdict())
        for why in dict.fromkeys(step.refused.values()) if step.addresses else ():
            others = [address for address, reason in step.refused.items() if reason == why]
            self.line("", f"not tried: {listed_texts(others)} ({why})")
        self._next = "connect"

    def _connected(self, step: Connected) -> None:
        proxy, forwarded = self._route.proxy, self._route.forwarded
        words = f"{step.address} port {step.port} ({FAMILIES[family_of(step.address)]}), from {step.source}"
        if proxy:
            words += f": the proxy {proxy.place}" + (", which forwards the request" if forwarded else "")
        unreached = {missed.address: missed.why for missed in self._unreached}
        self._show("connect", words, proxy=proxy.place if proxy else None, **step._asdict(), unreached=unreached)
        self._show_unreached()
        if step.silent:
            self.line("", f"no answer so far from {listed_texts(step.silent)}")
        secure = self._route.secure if not proxy else proxy.scheme == "https"
        self._next = "TLS" if secure else "proxy" if proxy and not forwarded else "send"

    def _show_unreached(self) -> None:
        for missed in self._unreached:
            self.line("", f"{missed.address}: {missed.why}")
        self._unreached = []

    def _secured(self, step: Secured) -> None:
        if not step.version:
            self._failed = step
            return
        who = " with the proxy" if step.is_proxys else ""
        self._show("TLS", f"{step.version}, {step.cipher}{who}", **fields_of_handshake(step))
        self._next = "proxy" if step.is_proxys and not self._route.forwarded else "send"
        self._show_certificates(step)
        if not step.asked and self._endpoint.client_cert and not step.is_proxys:
            self.line("  ours", "client_cert was not asked for, so it was not sent")

    def _show_certificates(self, step: Secured) -> None:
        for number, words in enumerate(their_lines(step, self._endpoint, time.time())):
            self.line("" if number else "  theirs", words)
        if step.asked:
            self._show_ours(step.ours)

    def _asked_late(self, step: Asked) -> None:
        ours = fields_of_certificate(step.ours)
        about = {"request": self._request, "step": "certificate", "failed": False}
        self.fields.append({**about, "ours": ours, "notes": []})
        self._show_ours(step.ours, " after the request")

    def _show_ours(self, certificates: tuple[bytes, ...], when: str = "") -> None:
        style = "" if certificates else "yellow"
        self.line("  ours", our_words(certificates, self._endpoint, when, time.time()), style)

    def _tunnelled(self, step: Tunnelled) -> None:
        self._show("proxy", f"connected to {step.host} port {step.port}", **step._asdict())
        self._next = "TLS" if self._route.secure else "send"

    def _sent(self, step: Sent) -> None:
        if self._next == "resolve":
            self.line("connect", "the connection from before is used again")
        self._show("send", amount(step.size, "byte"), **step._asdict())
        self._next = "wait"

    def _arrived(self, step: Arrived) -> None:
        if self._next == "proxy":  # its reply to CONNECT
            return
        self._size += step.size
        if self._next != "read":
            early = "" if self._next == "wait" else ", which began before the whole request was sent"
            self._show("wait", f"for the reply{early}")
            self._next = "read"

    def _ended(self, step: Ended) -> None:
        if not step.status:
            self._over_at = self._clock()
            return
        self._show("read", amount(self._size, "byte"), size=self._size, **step._asdict())
        self._next = "token" if self._request == "token" else "reply"
