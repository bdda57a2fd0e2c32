"""The page of all reasons: why a delivery waits or is dead, why an event is withheld, why an attempt failed, what a
status calls for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from sfwebhooks.delivery.troubleshooting import CURES
from sfwebhooks.reasons import DeadReason, Failure, Reason, Unsent, WaitingReason, Withheld
from tests.pages import MARK, cell, table

PAGE = """# Reasons

{mark}

`sfwebhooks show`, `deliveries`, `dead list`, `check` and alerts use these words. [Troubleshooting](troubleshooting.md)
starts from symptoms.

## Why a delivery waits

The first one that holds is shown.

{waiting}
## Why a delivery is dead

{dead}
## Why an event is not sent to an endpoint

An event that an endpoint subscribes to by name can still be withheld. The receipt of a scan, `sfwebhooks stats` and
metrics count these events by the first reason that holds.

{withheld}
`sfwebhooks explain ID` says for each endpoint why it has no delivery of an event; besides the reasons above:

{unsent}
## Why an attempt failed

An attempt that got no reply has one of these:

{failures}
An attempt that got a reply has its status, such as `http_503`, or the code that the service gave in its answer. Where
the answer says more, so does what to do about it; otherwise the row without words counts.

{replies}"""
HEADER = "reason | meaning | what to do"


def page() -> str:
    """Return the page."""
    order = [one.value for one in Failure]
    own = [cure for cure in CURES if cure[0] in order]
    failures = [
        *_rows(Failure),
        *((f"`{word}`", f"its text has {_words(said)}", cell(cure)) for word, said, cure in own),
    ]
    return PAGE.format(
        mark=MARK,
        waiting="\n".join(table(HEADER, _rows(WaitingReason))),
        dead="\n".join(table(HEADER, _rows(DeadReason))),
        withheld="\n".join(table(HEADER, _rows(Withheld))),
        unsent="\n".join(table(HEADER, _rows(Unsent))),
        failures="\n".join(table(HEADER, sorted(failures, key=lambda row: order.index(row[0].strip("`"))))),
        replies="\n".join(table("reason | words in the answer | what to do", list(_replies()))).rstrip() + "\n",
    )


def _rows(reasons: Iterable[Reason]) -> list[tuple[str, ...]]:
    blanks = {"name": "NAME", "pid": "PID", "scan": "SCAN_ID", "type": "TYPE"}
    return [(f"`{one.value}`", cell(one.meaning), cell(one.cure.format(**blanks))) for one in reasons]


def _replies() -> Iterator[tuple[str, ...]]:
    for word, said, cure in CURES:
        if word not in [one.value for one in Failure]:
            yield (", ".join(f"`{one}`" for one in named(word)), _words(said) if said else "", cell(cure))


def named(pattern: str) -> list[str]:
    """Return the words that a pattern of reasons, or of an answer's words, is for."""
    plain = pattern.replace(r"\d\d", "xx").replace(r"-?\d+", "NUMBER").replace("(err)?", "").replace(" ?", " ")
    group = re.search(r"(?<!\\)\(([^()\\]*)\)|\[([^]-]*)\]", plain)
    if not group:
        return [re.sub(r"\\(.)", r"\1", word) for word in plain.split("|")]
    choices = group[1].split("|") if group[1] else list(group[2])
    found = [word for one in choices for word in named(plain[: group.start()] + one + plain[group.end() :])]
    return list(dict.fromkeys(found))


def _words(said: str) -> str:
    return cell(" or ".join(f"`{one}`" for one in named(said)))
