"""What a reason means, and what helps: the reason of an attempt or of a dead letter comes in, a sentence goes out."""

from __future__ import annotations

import re

from sfwebhooks.attempts import Failure
from sfwebhooks.formats.slack import WEBHOOK_IS_WRONG
from sfwebhooks.retry import DeadReason

MEANINGS = {
    DeadReason.REFUSED: "the receiver takes other messages, and refused this one again and again",
    DeadReason.RETRIES: "it failed as often as retry_schedule allows, while its endpoint took others",
    DeadReason.EXPIRED: "it waited longer than max_age, and its endpoint took nothing",
    DeadReason.CRASHED: "making its message ended the process again and again",
    DeadReason.REMOVED: "the settings have no such endpoint any more, and it waited longer than max_age",
    DeadReason.DROPPED: "an operator ended it with sfwebhooks drop",
}
#: reason, what the attempt's words have in them (any case; empty: anything), what helps; the first that fits counts
CURES: tuple[tuple[str, str, str], ...] = (
    (Failure.CONNECTION.value, "refused", "nothing listens there: start the receiver, or correct the port in url"),
    (Failure.CONNECTION.value, "unreachable|no route", "there is no way to that network: look at routes and firewalls"),
    (Failure.CONNECTION.value, "closed without an answer", "the receiver hung up: if its port speaks https, write"
     " https:// in url; else look into its log"),
    (Failure.CONNECTION.value, "", "look whether a firewall or a load balancer in between cuts connections"),
    (Failure.DNS.value, "", "correct the host's name in url, or this machine's resolver; where only a proxy knows the"
     " name, set proxy"),
    (Failure.TIMEOUT.value, r"\(connect\)", "nothing answers at that address: correct host and port in url, or open the"
     " firewall"),
    (Failure.TIMEOUT.value, r"\(tls handshake\)", "the port may not speak https, or something in between holds it up:"
     " look at host and port in url"),
    (Failure.TIMEOUT.value, r"\(connection\)", "the proxy is slow, or cannot reach the receiver: look into its log"),
    (Failure.TIMEOUT.value, "", "let the receiver answer before it works on the message, or raise timeout"),
    (Failure.TLS_UNVERIFIED.value, "proxy", "the proxy's certificate is of no CA known here: name its CA in ca_bundle"),
    (Failure.TLS_UNVERIFIED.value, "expired", "the receiver's certificate has expired: it has to be renewed there"),
    (Failure.TLS_UNVERIFIED.value, "not yet valid", "set this machine's clock, or the receiver's certificate is wrong"),
    (Failure.TLS_UNVERIFIED.value, "mismatch|not valid for", "the receiver's certificate is for another name: write in"
     " url a name that it has"),
    (Failure.TLS_UNVERIFIED.value, "", "name the CA of the receiver's certificate in ca_bundle (a self-signed one is"
     " its own CA)"),
    (Failure.TLS_REFUSED.value, "", "the receiver wants a client certificate of a CA that it knows: set client_cert and"
     " client_key"),
    (Failure.TLS.value, "wrong_version|http_request|record_layer|packet_length|unknown_protocol", "this port speaks"
     " http, not https: write http:// in url, or the port on which the receiver speaks https"),
    (Failure.TLS.value, "", "the receiver speaks no TLS that is accepted here (1.2 or newer): look at its settings"),
    (Failure.CERTIFICATE.value, "", "correct the file that is named; sfwebhooks check tries all of them"),
    (Failure.PROTOCOL.value, "", "what answers there is not HTTP: if the port speaks https, write https:// in url"),
    (Failure.ADDRESS.value, "", "write another host in url; allow_private = true allows private addresses, nothing"
     " allows link-local ones and those of cloud metadata"),
    (Failure.PROXY.value, "", "look whether proxy is right, and into the proxy's log whether it lets us through"),
    (Failure.PROXY_REFUSED.value, "", "set the proxy's user name and password: proxy = SCHEME://USER:PASSWORD@HOST:PORT"),
    (Failure.SHORTAGE.value, "", "raise this user's limits (ulimit -a), or set concurrency = 1"),
    ("http_400", "plain http|ssl-enabled|http request to an https", "this port speaks https: write https:// in url"),
    ("http_400", "", "the receiver does not understand the message: look at format and headers, and into its log"),
    ("http_401", "", "correct secret, api_key or header.NAME: the receiver does not know them"),
    ("http_402", "", "the receiver's account has to be paid"),
    ("http_403", "", "the receiver forbids it: look at the rights of the api_key, its list of allowed addresses, and"
     " whether a firewall for web applications blocks what findings say"),
    ("http_404", "", "correct the path in url: the receiver has nothing there"),
    ("http_405", "", "correct the path in url: what is there takes no POST"),
    ("http_407", "", "set the proxy's user name and password: proxy = SCHEME://USER:PASSWORD@HOST:PORT"),
    ("http_408", "", "let the receiver wait longer for a request, or look at the connection to it"),
    ("http_410", "", "the receiver says that it is gone: write its new url, or sfwebhooks enable NAME"),
    ("http_413", "", "let the receiver take larger bodies (nginx: client_max_body_size), or lower batch_size"),
    ("http_415", "", "look at format: the receiver wants another kind of content"),
    ("http_422", "", "the receiver does not accept what the message says: look at format, and into its log"),
    ("http_426", "", "the receiver wants https: write https:// in url"),
    ("http_429", "", "set rate to what the receiver allows"),
    ("http_431", "", "shorten header.NAME: the receiver takes no headers that long"),
    ("http_200_but_not_ok", "", "what answers is not Slack: correct url, or use format = generic"),
    ("|".join(sorted(WEBHOOK_IS_WRONG)), "", "Slack no longer knows this webhook: make a new one, and write its url"),
    (r"http_3\d\d", "", "the receiver has moved, and redirects are never followed: write its new address in url"),
    (r"http_4\d\d", "", "the receiver refuses it: look into its log"),
    (r"http_50[234]", "", "what stands before the receiver cannot reach it: look whether it runs"),
    (r"http_5\d\d", "", "the receiver failed: look into its log"),
)  # fmt: skip


def meaning(reason: str) -> str:
    """Return what the reason of a dead letter means, or nothing for another one."""
    word = reason.partition(":")[0]
    return next((text for known, text in MEANINGS.items() if known.value == word), "")


def cure(reason: str, words: str = "") -> str:
    """Return what helps against a reason for which something was not delivered, or nothing if nothing is known.

    Args:
        reason: of an attempt or of a health, or of a delivery, which may begin with one of ours, such as
            "refused: http_403".
        words: what the receiver, or the failure, said.
    """
    word = reason.rpartition(": ")[2]
    fitting = (text for known, said, text in CURES if re.fullmatch(known, word) and re.search(said, words, re.I))
    return next(fitting, "")
