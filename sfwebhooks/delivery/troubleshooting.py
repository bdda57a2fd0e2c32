"""Meanings and remedies: the reason of an attempt or of a dead letter comes in, a sentence goes out.

The remedies here depend on the words of an attempt or belong to an HTTP status; `reasons` has those for the others.
"""

from __future__ import annotations

import re

from sfwebhooks.formats.slack import WEBHOOK_IS_WRONG
from sfwebhooks.reasons import DeadReason, Failure

#: reason, pattern in the attempt's words (any case; empty: anything), remedy; the first match counts
CURES: tuple[tuple[str, str, str], ...] = (
    (Failure.CONNECTION.value, "refused", "nothing listens there: start the receiver, or correct the port in url"),
    (Failure.CONNECTION.value, "unreachable|no route", "there is no route to that network: check routes and firewalls"),
    (Failure.CONNECTION.value, "closed without an answer", "the receiver closed the connection: if its port speaks"
     " https, write https:// in url; else check its log"),
    (Failure.TIMEOUT.value, r"\(connect\)", "nothing answers at that address: correct host and port in url, or open the"
     " firewall"),
    (Failure.TIMEOUT.value, r"\(tls handshake\)", "the port may not speak https, or something in between blocks it:"
     " check host and port in url"),
    (Failure.TIMEOUT.value, r"\(connection\)", "the proxy is slow, or cannot reach the receiver: check its log"),
    (Failure.TLS_UNVERIFIED.value, "proxy", "no CA known here issued the proxy's certificate: set its CA in ca_bundle"),
    (Failure.TLS_UNVERIFIED.value, "expired", "the receiver's certificate has expired: renew it there"),
    (Failure.TLS_UNVERIFIED.value, "not yet valid", "set this machine's clock, or correct the receiver's certificate"),
    (Failure.TLS_UNVERIFIED.value, "mismatch|not valid for", "the receiver's certificate is for another name: use one"
     " of its names in url"),
    (Failure.TLS.value, "wrong_version|http_request|record_layer|packet_length|unknown_protocol", "this port speaks"
     " http, not https: write http:// in url, or the port on which the receiver speaks https"),
    ("http_40[134]", "unknown webhook|invalid webhook token", "Discord does not know this webhook: create a new one and"
     " set its url"),
    ("http_400", "22000[1-4]", "add ?thread_id=ID to url if the channel is a forum, else remove it"),
    ("http_400", "upgraded to a supergroup", "set chat_id to the number in the answer: the group has a new one"),
    ("http_400", "chat not found", "correct chat_id, and add the bot to that chat"),
    ("http_40[14]", r'"ok": ?false', "correct the token in url: Telegram knows no such bot"),
    ("http_403", r"bot was (blocked|kicked)|bot is not a member", "add the bot to the chat again"),
    (r"http_(40[0134]|501)", r"web\.incoming_webhook", "Mattermost does not accept this webhook: create a new one and"
     " set its url"),
    ("http_403", "does not have access to ingest", "give the app registration the role Monitoring Metrics Publisher on"
     " the data collection rule; this takes up to 30 minutes"),
    ("http_404", "immutable id", "correct dcr_id, or url: this logs ingestion endpoint has no such rule"),
    ("InvalidStream", "", "correct stream: the data collection rule does not declare it"),
    ("http_200_but_not_204", "", "the answer is not from Azure: url must be the logs ingestion endpoint of the rule"),
    ("http_403", "organisation as the original creator", "MISP has this target's event from another organisation: set"
     " api_key to that of a user of that organisation"),
    ("http_413", "report file is too large", "raise DD_SCAN_FILE_MAX_SIZE of DefectDojo, or send less with"
     " min_severity or finding_types; then sfwebhooks replay"),
    ("taxii_objects_refused", "", "the answer of the TAXII server says why it refuses the objects: check whether the"
     " collection accepts STIX 2.1 and whether the user may add to it"),
    ("http_400", "plain http|ssl-enabled|http request to an https", "this port speaks https: write https:// in url"),
    ("http_400", "", "the receiver does not understand the message: check format, headers and its log"),
    ("http_401", "", "correct secret, api_key or header.NAME: the receiver does not accept them"),
    ("http_402", "", "the receiver's account needs payment"),
    ("http_403", "", "the receiver forbids it: check the rights of the api_key, its list of allowed addresses, and"
     " whether a web application firewall blocks the content of findings"),
    ("http_404", "", "correct the path in url: the receiver has nothing there"),
    ("http_405", "", "correct the path in url: this one does not accept POST"),
    ("http_407", "", "set the proxy's user name and password: proxy = SCHEME://USER:PASSWORD@HOST:PORT"),
    ("http_408", "", "let the receiver wait longer for a request, or check the connection to it"),
    ("http_410", "", "the receiver says that it is gone: set its new url, or run sfwebhooks enable NAME"),
    ("http_413", "", "let the receiver accept larger bodies (nginx: client_max_body_size), or lower batch_size;"
     " of a whole scan send less (min_severity, finding_types, max_data)"),
    ("http_415", "", "check format: the receiver expects another content type"),
    ("http_422", "", "the receiver does not accept the message's content: check format and its log"),
    ("http_426", "", "the receiver requires https: write https:// in url"),
    ("http_429", "", "set rate to what the receiver allows"),
    ("http_431", "", "shorten header.NAME: the receiver does not accept headers of that length"),
    ("http_200_but_not_ok", "", "the answer is not from the service that format names: correct url, or use"
     " format = generic"),
    ("ticket_elsewhere", "", "its tickets are in another project: restore url and project, or run sfwebhooks tickets"
     " --endpoint NAME --forget"),
    ("issues_disabled", "", "enable issues in the settings of the repository"),
    ("no_such_transition", "", "set close_transition to a transition that the workflow has in the issue's state"),
    ("ticket_too_long", "", "shorten the ticket's description: at most 64 KiB are read of it"),
    ("ticket_still_open", "", "the tracker says that it has closed the ticket, and shows it open: check its rules"),
    ("search_incomplete", "", "GitHub's search ran out of time; it is repeated"),
    ("too_many_requests", "", "the tracker's answers lead to ever more requests: check format and url"),
    ("http_204_no_such_key", "", "the Apprise server has no configuration under the key in url: add it there, or"
     " correct url"),
    ("http_424", "", "a service in the configuration of the Apprise server failed: check the server's log"),
    ("topic_in_url", "", "remove the topic from url: ntfy takes JSON at https://HOST/ only"),
    ("topic_invalid|topic_disallowed", "", "set another topic: the ntfy server does not accept this one"),
    (r"(err)?code_-?\d+", "", "look the code up in the receiver's documentation: url, or the settings of the robot"
     " there, may be wrong"),
    ("http_200_but_not_hec", "", "the answer is not from Splunk: url must end with /services/collector/event"),
    ("hec_(token_disabled|token_missing|authorization_invalid|token_invalid)", "", "set api_key to a token of the HTTP"
     " Event Collector that is enabled"),
    ("hec_index_incorrect", "", "set splunk_index to an index that the token allows"),
    ("hec_channel_(missing|invalid)", "", "the token requires acknowledgement: set splunk_channel to a UUID, or"
     " disable it for the token"),
    ("hec_ack_disabled", "", "enable acknowledgement for the token, or remove splunk_channel"),
    ("hec_ack_unavailable", "", "let the proxy in front of Splunk pass /services/collector/ack too, or remove"
     " splunk_channel"),
    ("hec_not_acknowledged", "", "the indexers confirm nothing: check whether they run and keep up; a load balancer"
     " must send all requests of a channel to the same Splunk"),
    ("http_200_but_not_bulk", "", "the answer is not from Elasticsearch's bulk API: url must end with /INDEX/_bulk"),
    ("(mapper|document)_parsing_exception", "", "a field of the index has another type: send to a data stream named"
     " logs-NAME-NAMESPACE, or correct the mapping of the index"),
    ("es_rejected_execution_exception", "", "Elasticsearch is overloaded: lower batch_size, or set rate"),
    ("security_exception", "", "the API key must have the privileges create_doc and auto_configure for the index"),
    ("|".join(sorted(WEBHOOK_IS_WRONG)), "", "Slack no longer knows this webhook: create a new one and set its url"),
    (r"http_3\d\d", "", "the receiver has moved, and redirects are never followed: set its new address in url"),
    (r"http_4\d\d", "", "the receiver refuses it: check its log"),
    (r"http_50[234]", "", "the proxy in front of the receiver cannot reach it: check whether it runs"),
    (r"http_5\d\d", "", "the receiver failed: check its log"),
)  # fmt: skip


def meaning(reason: str) -> str:
    """Return the meaning of a dead letter's reason, or nothing for another reason."""
    word = reason.partition(":")[0]
    return next((known.meaning for known in DeadReason if known.value == word), "")


def cure(reason: str, words: str = "", name: str = "NAME") -> str:
    """Return the remedy for a reason why something was not delivered, or nothing if none is known.

    Args:
        reason: of an attempt, of an endpoint's health, or of a delivery, which may start with one of ours, such as
            "refused: http_403".
        words: the receiver's answer, or the text of the failure.
        name: the endpoint, for commands in the remedy.
    """
    word = reason.rpartition(": ")[2]
    fitting = (text for known, said, text in CURES if re.fullmatch(known, word) and re.search(said, words, re.I))
    found = next(fitting, "") or next((known.cure for known in (*Failure, *DeadReason) if known.value == word), "")
    return found.replace(" NAME", f" {name}")
