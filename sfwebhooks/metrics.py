"""Metrics for Prometheus: an outbox and the settings come in, metric families of prometheus_client go out.

All numbers come from the outbox, whichever process accepted, sent or deleted. prometheus_client is an extra: only this
module and `metrics_server` import it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.registry import Collector

from sfwebhooks import __version__
from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.status import Situation, switch_of, waiting_reason
from sfwebhooks.endpoints import SCAN_ENDS, Endpoint
from sfwebhooks.errors import CertificateError, OutboxBusyError, OutboxError
from sfwebhooks.events import printable
from sfwebhooks.files import is_deleted
from sfwebhooks.health import Condition, Health
from sfwebhooks.network.certificates import certificates_of, reading, validity
from sfwebhooks.outbox.counting import DEATH, END, SECONDS_BOUNDS, WAITED_BOUNDS, WITHHELD
from sfwebhooks.outbox.endpoint_state import Orders
from sfwebhooks.outbox.listing import Backlog
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Place, is_missing, local_path
from sfwebhooks.outbox.spool import Forwarding, Spool
from sfwebhooks.outbox.totals import Tally, Totals
from sfwebhooks.reasons import WITHHELD_WORDS, DeadReason, Failure, WaitingReason
from sfwebhooks.retry import State

#: outcomes of an attempt that failed: its delivery is retried, or dead
FAILED = (State.WAITING.value, State.DEAD.value)
#: the states of an endpoint; the first one that holds counts
STATES = (
    *(one.value for one in (WaitingReason.OFF, WaitingReason.MISTAKE, WaitingReason.PAUSED, WaitingReason.GONE)),
    *(one.value for one in (WaitingReason.HELD, WaitingReason.FAILING)),
    Condition.HEALTHY.value,
)
DEAD_REASONS = tuple(one.value for one in DeadReason)
FAILURES = tuple(one.value for one in Failure)
STATUSES = frozenset(f"http_{status.value}" for status in HTTPStatus)
KNOWN_FAILURES = STATUSES.union(FAILURES)
#: values of a counter's labels -> number
Numbers = Counter[tuple[str, ...]]
#: a reason that is not one of ours, in a damaged row
OTHER = "other"
#: seconds since its last attempt after which an endpoint that is neither in the settings nor has waiting deliveries has
#: only the counters that are not 0: names of past endpoints are never forgotten
UNUSED_SECONDS = 30 * 86400.0


class SpoolFigures(NamedTuple):
    """The spool of this machine at one moment."""

    backlog: Backlog
    forwarding: Forwarding
    #: number of events that are set aside
    aside: int
    #: epoch seconds
    now: float


@dataclass(frozen=True)
class Picture:
    """The endpoints of an outbox and of the settings at one moment."""

    #: names of the endpoints that have all metrics
    names: Sequence[str] = ()
    tallies: Sequence[Tally] = ()
    #: endpoint -> number of waiting deliveries
    depths: Mapping[str, int] = field(default_factory=dict)
    #: endpoint -> seconds since the oldest waiting delivery was accepted
    ages: Mapping[str, float] = field(default_factory=dict)
    #: endpoint -> one of STATES
    states: Mapping[str, str] = field(default_factory=dict)
    #: endpoint -> end of its client certificate, in epoch seconds
    certificates: Mapping[str, float] = field(default_factory=dict)
    #: bytes of the outbox, and their maximum
    size: float = 0.0
    limit: float = 0.0
    #: None: this machine has none
    spool: SpoolFigures | None = None


class OutboxMetrics(Collector):
    """The metrics of an outbox, read from it each time. Thread-safe.

    Args:
        place: of the outbox, which need not exist.
        settings: returns the current settings.
        counting: whether this process writes into the outbox, so that it reads each attempt only once.
    """

    def __init__(self, place: Place, settings: Callable[[], Settings], counting: bool = False) -> None:
        self._place = place
        self._settings = settings
        self._counting = counting
        self._outbox = Outbox(place, listing=not counting)
        self._totals = Totals(self._outbox.database)
        self._guard = threading.Lock()

    def registry(self) -> CollectorRegistry:
        """Return a registry with these metrics only."""
        made = CollectorRegistry(auto_describe=False)
        made.register(self)
        return made

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; if the outbox cannot be read, those of the spool in front of it.

        Raises:
            OutboxError: the outbox cannot be read, and there is no spool, or that cannot be read.
        """
        with self._guard:
            found, now = self._settings(), time.time()
            spool = self._spool(found, now)
            try:
                known = [*families(replace(self._picture(found, now), spool=spool))]
            except OutboxError:
                if spool is None:
                    raise
                known = [_build()]  # a counter of 0 would be taken for a new one
                known += _spool_families(spool)
            yield from known

    def close(self) -> None:
        """Close the outbox."""
        self._outbox.close()

    def _spool(self, found: Settings, now: float) -> SpoolFigures | None:
        path = found.spool_left_in(local_path(self._place).parent)
        if path is None:
            return None
        if is_deleted(path):
            return SpoolFigures(Backlog(), Forwarding(), 0, now)
        with closing(Spool(path, listing=True)) as spool:
            return SpoolFigures(spool.backlog(), spool.forwarding(), spool.number_aside(), now)

    def _picture(self, found: Settings, now: float) -> Picture:
        configured = {one.name: one for one in found.known}
        ends = {name: end for name, one in configured.items() for end in _certificate_end(one)}
        limit = float(found.storage.max_bytes)
        if is_missing(self._place):
            states = {name: _state(name, Health(), Orders(), found, now) for name in configured}
            return Picture(sorted(configured), states=states, certificates=ends, limit=limit)
        outbox = self._outbox
        if self._counting:
            with suppress(OutboxBusyError):  # the next time
                self._totals.count()
        tallies = [one for one in self._totals.tallies() if _is_name(one.endpoint)]
        depths = {name: number for name, number in self._totals.queues().items() if _is_name(name)}
        recent = {one.endpoint for one in tallies if one.endpoint and one.last_at > now - UNUSED_SECONDS}
        oldest = {name: outbox.listing.oldest(name) for name in depths}
        used = {name: (outbox.endpoints.health(name), outbox.endpoints.orders(name)) for name in {*configured, *depths}}
        return Picture(
            sorted({*configured, *depths, *recent}),
            tallies,
            depths,
            {name: max(now - at, 0.0) for name, at in oldest.items() if at is not None},
            {name: _state(name, *its, found, now) for name, its in used.items()},
            ends,
            outbox.database.fullness() * outbox.database.max_bytes,
            limit,
        )


def _is_name(endpoint: object) -> bool:
    """Return whether a row's endpoint can be a label, alone and as it is; in a damaged file it may be anything."""
    return isinstance(endpoint, str) and printable(endpoint) == endpoint


def _state(name: str, health: Health, orders: Orders, found: Settings, now: float) -> str:
    situation = Situation(name, health, orders, Backlog(), switch_of(found, name), found.held.get(name, ""))
    reason = waiting_reason(situation, now).value
    return reason if reason in STATES else Condition.HEALTHY.value


def _certificate_end(endpoint: Endpoint) -> Iterator[float]:
    """Yield the end of an endpoint's own certificate, unless it has none or it cannot be read."""
    if endpoint.client_cert:
        with suppress(CertificateError), reading("client_cert", endpoint.client_cert):
            yield validity(certificates_of(endpoint.client_cert, "client_cert")[0])[1]


def families(found: Picture) -> Iterator[Metric]:
    """Yield all metrics. What is known but did not happen is 0, so that its first time is an increase."""
    yield _build()
    yield from _counters(found)
    yield _histogram(
        "sfwebhooks_attempt_duration_seconds",
        "Duration of attempts; a request of several deliveries is one attempt at each.",
        SECONDS_BOUNDS,
        found.names,
        [(one.endpoint, one.seconds_to, one.number, one.seconds) for one in found.tallies if one.seconds_to],
    )
    yield _histogram(
        "sfwebhooks_delivery_latency_seconds",
        "Time from acceptance, or replay, to delivery.",
        WAITED_BOUNDS,
        found.names,
        [(one.endpoint, one.waited_to, one.number, one.waited) for one in found.tallies if one.waited_to],
    )
    yield from _gauges(found)
    if found.spool:
        yield from _spool_families(found.spool)


def _build() -> Metric:
    return InfoMetricFamily("sfwebhooks_build", "Version of sfwebhooks.", {"version": __version__})


def _spool_families(found: SpoolFigures) -> Iterator[Metric]:
    """Yield the metrics of the spool of this machine."""
    backlog, known = found.backlog, found.forwarding
    oldest = 0.0 if backlog.oldest_at is None else max(found.now - backlog.oldest_at, 0.0)
    numbers = {
        "waiting": ("Events in the spool of this machine that wait to be forwarded.", backlog.waiting),
        "oldest_seconds": ("Time since the oldest of them was stored.", oldest),
        "set_aside": ("Events in the spool that cannot be forwarded because of an error of sfwebhooks.", found.aside),
        "failing": ("Whether something keeps events from being forwarded: 1 or 0.", bool(known.trouble)),
    }
    for name, (words, number) in numbers.items():
        yield GaugeMetricFamily(f"sfwebhooks_spool_{name}", words, number)
    yield CounterMetricFamily("sfwebhooks_spool_forwarded", "Events that were forwarded.", known.total)
    times = {
        "forwarded": ("When events were last forwarded.", known.last_at),
        "error": ("When forwarding last failed.", known.last_error_at),
    }
    for name, (words, at) in times.items():
        if at:
            yield GaugeMetricFamily(f"sfwebhooks_spool_last_{name}_timestamp_seconds", words, at)


def _counters(found: Picture) -> Iterator[Metric]:
    outcomes = [(State.DELIVERED.value, ""), *((State.DEAD.value, reason) for reason in DEAD_REASONS)]
    ended: Numbers = Counter({(name, *outcome): 0 for name in found.names for outcome in outcomes})
    failed: Numbers = Counter({(name, reason): 0 for name in found.names for reason in FAILURES})
    retries: Numbers = Counter({(name,): 0 for name in found.names})
    withheld: Numbers = Counter({(name, reason): 0 for name in found.names for reason in WITHHELD_WORDS})
    scans: Numbers = Counter({(event,): 0 for event in SCAN_ENDS})
    for one in found.tallies:
        if one.waited_to:
            ended[one.endpoint, State.DELIVERED.value, ""] += one.number
        elif one.what == DEATH:
            ended[one.endpoint, State.DEAD.value, _known(one.reason, DEAD_REASONS)] += one.number
        elif one.what in FAILED:
            failed[one.endpoint, _failure(one.reason)] += one.number
            if one.what == State.WAITING.value:
                retries[one.endpoint,] += one.number
        elif one.what == WITHHELD:
            withheld[one.endpoint, _known(one.reason, WITHHELD_WORDS)] += one.number
        elif one.what == END:
            scans[_known(one.reason, SCAN_ENDS),] += one.number
    yield _counter(
        "sfwebhooks_deliveries",
        "Deliveries that ended: delivered, or dead for a reason; one that is replayed can end several times.",
        ("endpoint", "outcome", "reason"),
        ended,
    )
    words = "Failed attempts, by HTTP status or by the reason why there was no reply."
    yield _counter("sfwebhooks_attempts_failed", words, ("endpoint", "reason"), failed)
    words = "Failed attempts after which the delivery was kept for another one."
    yield _counter("sfwebhooks_retries", words, ("endpoint",), retries)
    words = "Events that an endpoint subscribes to and that are not sent: refused, or withheld by its filters."
    yield _counter("sfwebhooks_withheld", words, ("endpoint", "reason"), withheld)
    words = "Scans whose end was reported, by the event that reported it."
    yield _counter("sfwebhooks_scans", words, ("event",), scans)


def _gauges(found: Picture) -> Iterator[Metric]:
    depth = GaugeMetricFamily("sfwebhooks_queue_depth", "Waiting deliveries.", labels=["endpoint"])
    oldest = GaugeMetricFamily(
        "sfwebhooks_queue_oldest_seconds", "Time since the oldest waiting delivery was accepted.", labels=["endpoint"]
    )
    last = GaugeMetricFamily(
        "sfwebhooks_last_success_timestamp_seconds", "When something was last delivered.", labels=["endpoint"]
    )
    state = StateSetMetricFamily("sfwebhooks_endpoint_state", "State of an endpoint.", labels=["endpoint"])
    expiry = GaugeMetricFamily(
        "sfwebhooks_client_certificate_expiry_timestamp_seconds",
        "End of an endpoint's client certificate.",
        labels=["endpoint"],
    )
    delivered_at: dict[str, float] = {}
    for one in found.tallies:
        if one.waited_to:
            delivered_at[one.endpoint] = max(one.last_at, delivered_at.get(one.endpoint, 0.0))
    for name in found.names:
        depth.add_metric([name], found.depths.get(name, 0))
        oldest.add_metric([name], found.ages.get(name, 0.0))
        if name in delivered_at:
            last.add_metric([name], delivered_at[name])
    for name, its in sorted(found.states.items()):
        state.add_metric([name], {one: one == its for one in STATES})
    for name, end in sorted(found.certificates.items()):
        expiry.add_metric([name], end)
    yield from (depth, oldest, last, state, expiry)
    yield GaugeMetricFamily("sfwebhooks_outbox_bytes", "Bytes used in the outbox.", found.size)
    yield GaugeMetricFamily("sfwebhooks_outbox_limit_bytes", "Value of outbox_max_mb, in bytes.", found.limit)


def _counter(name: str, words: str, labels: Sequence[str], numbers: Numbers) -> Metric:
    made = CounterMetricFamily(name, words, labels=labels)
    for values, number in numbers.items():
        made.add_metric(values, number)
    return made


def _histogram(
    name: str,
    words: str,
    bounds: Sequence[float],
    endpoints: Sequence[str],
    numbers: Sequence[tuple[str, float, int, float]],
) -> Metric:
    """Return a histogram by endpoint from (endpoint, upper bound, number, sum)."""
    made = HistogramMetricFamily(name, words, labels=["endpoint"])
    counts: Counter[tuple[str, float]] = Counter()
    sums: dict[str, float] = defaultdict(float)
    for endpoint, most, number, total in numbers:
        counts[endpoint, most] += number
        sums[endpoint] += total
    for endpoint in endpoints:
        limits = (*bounds, float("inf"))
        grown = accumulate(counts[endpoint, most] for most in limits)
        buckets = [(str(most).replace("inf", "+Inf"), number) for most, number in zip(limits, grown)]
        made.add_metric([endpoint], buckets, sums[endpoint])
    return made


def _failure(reason: str) -> str:
    """Return the reason of a failed attempt as a label: a receiver's statuses, which it chooses, are bounded."""
    is_odd = reason.startswith("http_") and reason not in STATUSES
    return f"{reason[:6]}xx" if is_odd else _known(reason, KNOWN_FAILURES)


def _known(reason: str, known: Collection[str]) -> str:
    return reason if reason in known else OTHER
