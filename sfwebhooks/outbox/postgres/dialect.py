"""The dialect: a statement in SQLite's words comes in, the same one in those of PostgreSQL goes out.

Most words are those of both. `schema` creates the functions of SQLite that PostgreSQL lacks, so few are rewritten here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

from sfwebhooks.outbox.rows import FRESH
from sfwebhooks.outbox.schema import TABLES

#: a text, or a comment, in which nothing is rewritten
KEPT = re.compile(r"('(?:[^']|'')*'|--[^\n]*)")
PARAMETER = re.compile(r"\?([0-9]*)|(?<!:):([a-z_]+)")
#: what is written otherwise
WORDS = (
    (re.compile(r"\bINSERT OR FAIL INTO\b"), "INSERT INTO"),
    (re.compile(r"\bSELECT value FROM json_each\("), "SELECT CAST(value AS bigint) FROM json_each("),
    (re.compile(r"\blength\(CAST\((\S+) AS BLOB\)\)"), r"octet_length(\1)"),
    (re.compile(r"\bCAST\(((?:[^()]|\([^()]*\))*) AS INTEGER\)"), r"CAST(trunc(\1) AS bigint)"),
    (re.compile(r"(?<=[\s(])\+(?=[a-z]\.)"), ""),
    (re.compile(r" NOT INDEXED\b"), ""),
    (re.compile(r"\bNOT IN \(\)"), "<> ALL ('{}')"),
    (re.compile(r"\bIN \(\)"), "= ANY ('{}')"),
    # an event's id is unique in a partition only
    (
        re.compile(r"\bits WHERE true ON CONFLICT DO NOTHING"),
        "its WHERE (SELECT count(*) FROM event WHERE scan = its.number AND id = ?2) = 0",
    ),
    # for an equality the server may read all deliveries in the order of their events, if it believes that there are few
    (re.compile(r"\be\.number = d\.event\b"), "e.number BETWEEN d.event AND d.event"),
    # which does not say the type of a NULL
    (re.compile(r"(\?[0-9]*|:[a-z_]+) IS NULL"), r"CAST(\1 AS text) IS NULL"),
    (re.compile(r"\b9e999\b"), "CAST('infinity' AS double precision)"),
)
REPLACE = re.compile(r"INSERT OR REPLACE INTO (\w+)(.*)", re.DOTALL)
#: a new row of these returns its number
NUMBERED = re.compile(r"\s*INSERT INTO (?:event|series) \(")
#: the deliveries of an endpoint in parts of 256 numbers (`rows.parts`). With OFFSET the server cannot read them before
#: the parts, as it would while it believes that few are waiting: it would read all of them then
PARTED = re.compile(
    r"\bpart CROSS JOIN delivery d ON d\.number >> 8 = part\.at AND d\.endpoint = (\?[0-9]|n\.endpoint)"
)
OF_PART = (
    f"part CROSS JOIN LATERAL (SELECT * FROM delivery WHERE {FRESH} AND number >> 8 = part.at"  # noqa: S608
    " AND endpoint = \\1 ORDER BY number OFFSET 0) d"
)
#: the part of the last number; and the last one in which any are fresh, else the first one that was looked at: rows
#: that have left an index may still be in it while any transaction is open, and are not looked for
LAST_PART = "(SELECT max(number) >> 8 FROM delivery), 0"
LAST_FRESH = "(SELECT max(at) FROM part), ?2"
#: rows with the numbers that a query finds
AMONG = re.compile(r"\bnumber (IN) \((?=\s*(?:--[^\n]*\s+)*(?:SELECT|WITH)\b)")
JOIN = "CROSS JOIN"
#: words that follow a table without an alias
NO_ALIAS = frozenset(("ON", "CROSS", "JOIN", "LEFT", "WHERE", "ORDER", "GROUP", "LIMIT", "UNION"))
WORD = re.compile(r"\s*(\w+)")


class Translation(NamedTuple):
    """A statement of PostgreSQL."""

    text: bytes
    #: places or names of its parameters among those that are given
    parameters: tuple[int | str, ...]
    #: whether it returns the number of a new row
    is_numbered: bool
    #: whether it asks for keys of events
    asks_keys: bool

    def values(self, given: Sequence[Any] | Mapping[str, Any]) -> list[Any]:
        """Return the values of its parameters."""
        return [given[one] for one in self.parameters]  # type: ignore[index]


@lru_cache(maxsize=2000)
def translated(text: str) -> Translation:
    """Return the statement of PostgreSQL for one of SQLite."""
    found = REPLACE.fullmatch(text.strip())
    if found:
        text = f"INSERT INTO {found[1]}{found[2]} {upsert_clause(found[1])}"
    numbered = NUMBERED.match(text) is not None
    if numbered:
        text = f"{text} RETURNING number"
    text = _without_cross(PARTED.sub(OF_PART, text).replace(LAST_PART, LAST_FRESH))
    order: dict[int | str, int] = {}
    pieces = KEPT.split(_with_arrays(text))
    pieces[::2] = [_piece(piece, order) for piece in pieces[::2]]
    return Translation("".join(pieces).encode(), tuple(order), numbered, "event_key_of(" in text)


def _piece(text: str, order: dict[int | str, int]) -> str:
    """Rewrite what is outside of texts, and add its parameters to those of the statement, each with its place."""
    for pattern, word in WORDS:
        text = pattern.sub(word, text)

    def number(match: re.Match[str]) -> str:
        its: int | str = match[2] or (int(match[1]) - 1 if match[1] else len(order))
        return f"${order.setdefault(its, len(order)) + 1}"

    return PARAMETER.sub(number, text)


def _without_cross(text: str) -> str:
    """Let a CROSS JOIN that has a condition be a JOIN: SQLite takes the one for the order of reading."""
    at = text.find(JOIN)
    while at >= 0:
        end = _after_source(text, at + len(JOIN))
        word = WORD.match(text, end)
        if word and word[1] == "ON":
            text = f"{text[:at]}{JOIN[6:]}{text[at + len(JOIN) :]}"
        at = text.find(JOIN, at + 1)
    return text


def _with_arrays(text: str) -> str:
    """Let numbers that a query finds be an array, with which rows are read by their index; joined with the query, all
    rows may be read in the order that is asked for."""
    found = AMONG.search(text)
    while found:
        end = _after_brackets(text, found.end() - 1)
        text = f"{text[: found.start(1)]}= ANY (ARRAY{text[found.end() - 1 : end]}){text[end:]}"
        found = AMONG.search(text, found.end())
    return text


def _after_source(text: str, at: int) -> int:
    """Return the place after a table, function or query of a join, and after its alias."""
    word = WORD.match(text, at)
    at = word.end() if word and text[at:].lstrip()[:1] != "(" else at + len(text[at:]) - len(text[at:].lstrip())
    if text[at : at + 1] == "(":
        at = _after_brackets(text, at)
    word = WORD.match(text, at)
    return word.end() if word and word[1] not in NO_ALIAS else at


def _after_brackets(text: str, at: int) -> int:
    """Return the place after a bracket with all that is in it."""
    depth = 0
    for end in range(at, len(text)):
        depth += (text[end] == "(") - (text[end] == ")")
        if not depth:
            return end + 1
    return len(text)


@cache
def upsert_clause(table: str) -> str:
    """Return what makes an INSERT replace the row with the same primary key."""
    body = re.search(rf"CREATE TABLE {table} \((.*?)\n    \)", TABLES, re.DOTALL)
    if not body:
        raise KeyError(table)
    lines = [KEPT.sub("", line).strip() for line in body[1].split("\n")]
    key = next(re.findall(r"\w+", line.partition("(")[2] or line.split()[0]) for line in lines if "PRIMARY KEY" in line)
    columns = [line.split()[0] for line in lines if line and not line.startswith("PRIMARY")]
    changed = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in key)
    return f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changed}"
