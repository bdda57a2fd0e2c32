"""Secrets that were never filled in: a secret's text comes in; the reason why it cannot be a secret goes out.

An unexpanded template, or a sample from a document, signs as well as a secret does, but is known to everybody. The
reasons repeat no text except a few fixed words: almost all of a sample may be a secret.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from sfwebhooks.signing_keys import WHSEC, WHSK

#: templates of shells, INI files, Jinja and Helm, GitHub: this notation has no other use
EXPANDED_LATER = re.compile(r"\$\{[\w.: -]*[^{}]*\}|\{\{[^{}]*\}\}|%\(\w*\)[sd]")
#: the same for a whole word: text in <> or [], $NAME, %NAME%, @NAME@, __NAME__, #{NAME}#
WORD = re.compile(
    r"<[^<>]*>|\[[^\[\]]*\]|#?\{[^{}]*\}#?|\$\([^()]*\)|\$(?:[A-Z_][A-Z0-9_]*|[a-z_]+)|%\w+%|@\w+@|__[A-Za-z]\w*__"
)
#: env:NAME and file:PATH in a spelling that is not recognised
SOURCE = re.compile(r"(?i)\$?(?:env|file)\s*[:=].*|(?:os|process)\.(?:env\b|getenv|environ).*", re.DOTALL)
#: a part of a URL that a document's reader is meant to replace
BLANK = re.compile(r"(?i)[x*]{3,}|\.{3,}|change[-_]?me|your[-_].*")
#: words that samples are made of
SAMPLE = set(
    re.findall(
        r"\w+",
        "your my our some any this that it me here goes in with to for by put insert enter add paste set use"
        " replace change changeme changeit fixme todo tbd placeholder sample example dummy foo bar baz foobar test"
        " default please webhook webhooks secret secrets token tokens key keys api apikey password passwd passphrase"
        " pass pwd value text string signing shared hmac",
    )
)
#: instructions in place of a secret
ADVICE = re.compile(r"(?i)(?:your|change|replace|insert|enter|put|choose|use)[-_][a-z_-]+")
#: words that mean "none" but would be taken literally
NOTHING = {"none", "null", "nil", "no", "off", "false", "direct", "disabled", "undefined", "unset", "empty", "n/a", "-"}
TO_GO_WITHOUT = "for none, remove the key; to go without an inherited one, leave the value empty"
#: headers whose value is a credential
CREDENTIAL = re.compile(r"(?i)(?:auth|token|key|secret|passw|signature|cookie|credential)")
#: from this length on, one repeated character may be a real secret, unless it is one that marks a blank
BLANK_MAX = 16
#: a shorter secret can be guessed
SECRET_LEAST = 16


class UnfilledError(ValueError):
    """A value is a placeholder or a sample, which its reader was meant to replace."""


def unfilled(key: str, text: str) -> str:
    """Return why a value of a secret option was meant to be replaced, or nothing.

    Args:
        key: as written in the settings: secret, url, header.NAME ...
    """
    if SOURCE.fullmatch(text):
        return "write a variable as env:NAME and a file as file:PATH, in lower case"
    if is_template(text):
        return "this is a placeholder that was never filled in; write a variable as env:NAME, a file as file:PATH"
    if key in ("url", "default_url", "proxy", "outbox"):
        return _unfilled_url(text)
    if key.startswith("header."):
        text = text.split()[-1] if text.strip() and CREDENTIAL.search(key[len("header.") :]) else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((problem for line in lines if (problem := _sample(line))), "")


def is_template(text: str) -> bool:
    """Return whether a text, or a part of it, was meant to be replaced."""
    return bool(EXPANDED_LATER.search(text) or any(map(WORD.fullmatch, [text.strip(), *text.split()])))


def is_nothing(text: str) -> bool:
    """Return whether a value is a word for "none"."""
    return text.strip().lower() in NOTHING


def _unfilled_url(text: str) -> str:
    parts = re.split(r"[/?&=@:.]", text)
    try:
        password = unquote(urlsplit(text).password or "")
    except ValueError:  # the parser of URLs reports it
        password = ""
    if any(BLANK.fullmatch(part) or WORD.fullmatch(part) for part in parts):
        return "a part of it is a placeholder that was never filled in"
    return _sample(password) if password else ""


def _sample(text: str) -> str:
    """Return why a text cannot be a real secret, or nothing."""
    if is_nothing(text):
        return f'the word "{text.lower()}" would be taken literally; {TO_GO_WITHOUT}'
    for prefix in (WHSEC, WHSK):
        text = text[len(prefix) :] if text.startswith(prefix) else text
    words = re.findall(r"[^\W\d_]+|\d+", text.lower())
    if words and words[-1].isdigit() and len(words[-1]) < 4:
        del words[-1]
    characters = set(text.lower()) - set("-_./ ")
    blank = len(characters) < 2 and (len(text) < BLANK_MAX or characters <= set("x*0#?"))
    if blank or ADVICE.fullmatch(text) or (words and SAMPLE.issuperset(words)):
        return "this is a sample, which is not secret; sfwebhooks keygen generates a secret"
    return ""
