"""Filters that are valid but doubtful: an endpoint comes in, warnings for the operator go out."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator
from fnmatch import fnmatchcase

from sfwebhooks.config.lists import WRONG_MAX
from sfwebhooks.config.values import nearest
from sfwebhooks.endpoints import RISK_NAMES, Endpoint, subscribed_name, takes_findings
from sfwebhooks.own_secrets import shown
from sfwebhooks.screening import CORRELATION, withheld_type
from sfwebhooks.severity import RISK_BOUNDS, SEVERITY_OF_TYPE, Severities, Severity, special_of


def filter_warnings(endpoint: Endpoint, severities: Severities, own: Container[str]) -> Iterator[str]:
    """Yield what an endpoint's filters seem to miss; `own` are the keys that it does not inherit."""
    is_about_any = takes_findings(endpoint.events) or any(
        subscribed_name(endpoint.events, CORRELATION, severity, None) for severity in Severity
    )
    if endpoint.only_new and "only_new" in own and not is_about_any:
        yield f"{endpoint.name}: only_new has no effect: its events have no findings and no correlations"
    for doubt in doubtful_types(endpoint.finding_types):
        yield f"{endpoint.name}: finding_types: {doubt}"
    if endpoint.has_filters and takes_findings(endpoint.events) and not any(_passing(endpoint, severities)):
        yield f"{endpoint.name} is sent no findings: its filters withhold all those that its events ask for"


def _passing(endpoint: Endpoint, severities: Severities) -> Iterator[bool]:
    """Yield for each of the host's types, and each risk that a module can give it, whether it can be sent."""
    unknown = [word for word in endpoint.finding_types if not word.startswith("!")]
    for host_type in (*SEVERITY_OF_TYPE, *unknown):
        for risk in (0, *(bound for bound, _ in RISK_BOUNDS)):
            severity = severities.of(host_type, risk)
            name = subscribed_name(endpoint.events, RISK_NAMES[severity], severity, special_of(host_type))
            yield bool(name) and not withheld_type(endpoint, host_type, severity)


def unknown_modules(endpoints: Iterable[Endpoint], known: Collection[str]) -> Iterator[str]:
    """Yield a warning for each name or pattern in `modules` that matches none of the known ones, if there are any."""
    for endpoint in endpoints if known else ():
        for word in [word.lstrip("!") for word in endpoint.modules][: 10 * WRONG_MAX]:
            if not any(fnmatchcase(one, word) for one in known):
                yield f'{endpoint.name}: modules: SpiderFoot has no module "{shown(word)}".{nearest(word, known)}'


def doubtful_types(words: tuple[str, ...]) -> Iterator[str]:
    """Yield a warning for each name or pattern that matches no known type of the host."""
    for word in [word.lstrip("!") for word in words][: 10 * WRONG_MAX]:
        if not any(fnmatchcase(one, word) for one in SEVERITY_OF_TYPE):
            yield f'"{shown(word)}" is not an event type of SpiderFoot.{nearest(word, SEVERITY_OF_TYPE)}'
