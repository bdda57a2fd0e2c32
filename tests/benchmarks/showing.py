"""Tables of the figures, for a terminal and as docs/speed.md: one for each group, with the columns that it needs."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from itertools import groupby
from textwrap import fill
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.figures import NULL_LEAST, NULL_MOST

#: group -> what its rows measure
GROUPS = {
    "accept": "What an event costs the scan until it is on disk, against a commit of the same bytes with bare sqlite3.",
    "sightings": "The same for an endpoint with `only_new`, against one that wants everything.",
    "survey": "The end of a scan for each of its findings, against one whose endpoint was sent all of them: then they"
    " are not read once more.",
    "deliver": "Deliveries a second and their CPU in the sending process, against a bare loop of `Session.post` that"
    " stores and signs nothing. Ours are durable and signed. Those with `proof` are against the same without.",
    "render": "A message from the stored event, against `json.dumps` of the same data; of formats that send whole scans"
    " each event's share of one request.",
    "emit": "`emit` alone, against opening a bare sqlite3 file, a commit, and closing it.",
    "end to end": "Time from a call of `emit` in one process until the receiver has the message from `sfwebhooks run`"
    " in another, at a steady rate, against posting it straight to the receiver.",
    "start": "The start of a process, and what our module adds to the start of a scanner.",
    "linger": "How long a scan's process stays after the scan's end while its deliveries wait for dead endpoints.",
    "backlog": "The outbox with many deliveries waiting, against the same with 1,000.",
    "list": "Commands that list or count deliveries, at the backlog, without the start of their process.",
    "drain": "`sfwebhooks drain` at the backlog from the start of its process, with the peak of its memory. With 1,000"
    " deliveries, a rate makes them last until the timeout.",
    "memory": "Peak memory of a process that delivers many messages, against one that delivers a tenth of them.",
    "web": "`sfwebhooks web` at the backlog: from a new connection to the first byte of an answer, against a list with"
    " 1,000 waiting; and deliveries a second with event streams that are open and read, against `sfwebhooks run`.",
    "fleet": "Several `sfwebhooks run` with one outbox on PostgreSQL on the same machine: deliveries a second, with the"
    " CPU of all hosts, against one host; and from the commit of a message until the receiver has it from one of two"
    " hosts, at a steady rate.",
    "postgres": "The outbox on PostgreSQL, which syncs each commit to the disk, with many settled deliveries, against"
    " the same with 1,000, or a plain table. The size of a churn is that of the partition of waiting deliveries after"
    " it.",
    "host": "Real scans as the scanner itself measures them (`ended - started`): of a fictional site, against the same"
    " without us; and storms of events, against the same with a module that does nothing.",
}
#: column -> field of a Measure
COLUMNS = {
    "per second": "per_second",
    "p50": "p50",
    "p95": "p95",
    "p99": "p99",
    "p99.9": "p999",
    "CPU each": "cpu_seconds",
    "time": "seconds",
    "size": "size",
}
#: characters in a line of the page, tables apart
WIDTH = 120
HEAD = """# Speed

What sfwebhooks costs a scan, and how fast it delivers. `python -m tests.benchmarks` measures it and writes this page
([how to run it](../CONTRIBUTING.md#benchmarks)).

{place}

## How to read it

- A **ratio** compares a row with its reference within the same run, since figures of different machines or moments say
  little about each other. More is better: 0.80 is a fifth slower (or larger) than the reference, 2.00 twice as fast.
  It is the median over the rounds, with the lowest and the highest in parentheses. Each round runs all rows in a new
  order, a reference together with its rows.
- A **null row** is its reference, measured once more. Without noise its ratio would be 1.00. The ratio of another row
  that lies within the null row's range says nothing.
- **void**: the reference's null row is outside of {least} to {most}. The machine was too noisy for the ratios of these
  rows, and nothing follows from them, good or bad.
- **CPU** is that of our process alone, without the receiver. In its ratio less is better, and it has a `void` of its
  own: on a busy machine it says more than the time does.
"""


def tables(found: Mapping[str, Any]) -> Iterator[tuple[str, list[list[str]]]]:
    """Yield each group with its table, the head of the columns first."""
    for group, names in groupby(found["rows"], key=lambda name: name.partition(": ")[0]):
        rows = {name.partition(": ")[2]: found["rows"][name] for name in names}
        columns = [head for head, field in COLUMNS.items() if any(figure(row, field) for row in rows.values())]
        head = ["row", *columns, "against", "ratio"]
        if "CPU each" in columns:
            head.append("CPU ratio")
        yield group, [head, *([name, *cells(name, row, head)] for name, row in rows.items())]


def cells(name: str, row: Mapping[str, Any], head: list[str]) -> Iterator[str]:
    """Yield the cells of a row that follow its name."""
    reference = row["reference"].partition(": ")[2]
    yield from (figure(row, COLUMNS[column]) for column in head[1:] if column in COLUMNS)
    if reference == name:
        yield from [""] * (len(head) - head.index("against"))
        return
    yield reference
    yield f"{'void ' if row['void'] else ''}{row['ratio']:.2f} ({row['least']:.2f}-{row['most']:.2f})"
    if head[-1] == "CPU ratio":
        yield f"{'void ' if row['cpu_void'] else ''}{row['cpu_ratio']:.2f}" if row["cpu_ratio"] else ""


def figure(row: Mapping[str, Any], field: str) -> str:
    """Return the median of a field with its unit; empty if the row has none."""
    values = [sample[field] for sample in row["samples"] if sample[field] is not None]
    if not values:
        return ""
    value = statistics.median(values)
    if field == "per_second":
        return rounded(value)
    if field == "size":
        return f"{rounded(value / 1e6)} MB"
    units = ((1, "s"), (1e3, "ms"), (1e6, "us"))
    factor, unit = next((pair for pair in units if value * pair[0] >= 1), units[-1])
    return f"{rounded(value * factor)} {unit}"


def rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def show(found: Mapping[str, Any]) -> None:
    """Print the tables."""
    console = Console(width=180)
    for group, (head, *rows) in tables(found):
        table = Table(*head, title=group)
        for row in rows:
            table.add_row(*row)
        console.print(table)


def page(found: Mapping[str, Any]) -> str:
    """Return the page of the documents."""
    sections = [HEAD.format(place=place(found), least=NULL_LEAST, most=NULL_MOST)]
    for group, table in tables(found):
        head, *rows = (f"| {' | '.join(row)} |" for row in table)
        rule = "|---" * len(table[0]) + "|"
        sections.append("\n".join([f"## {group}\n", f"{fill(GROUPS[group], WIDTH)}\n", head, rule, *rows, ""]))
    return "\n".join(sections)


def place(found: Mapping[str, Any]) -> str:
    """Return where and how the figures were measured; parts of a run may differ in that."""
    runs = [row["run"] for row in found["rows"].values()]
    values = {name: dict.fromkeys(str(run[name]) for run in runs if name in run) for name in runs[0]}
    options = [f"{name} {' and '.join(its)}" for name, its in values.items()]
    return (
        f"Measured on {found['cores']} cores with Python {found['python']}, {found['system']}; "
        f"the receiver is {found['receiver']}.\n"
        f"Run: {'; '.join(options)}."
    )
