"""The reasons: why an attempt failed, why a delivery waits, why it is dead, why an event is not sent to an endpoint.

Each has a word for machines, a sentence and what to do; `show`, `deliveries`, `dead list`, alerts and the documents
take them from here. An HTTP status is a reason too, as http_503; what to do about these is in
`delivery/troubleshooting`.
"""

from __future__ import annotations

from enum import Enum


class Reason(str, Enum):
    """A reason; its value is the word for machines, which stays."""

    #: sentence
    meaning: str
    #: what to do; empty: nothing needs to be done, or nothing can be. {name} and {pid} are to be filled in
    cure: str

    def __new__(cls, value: str, meaning: str = "", cure: str = "") -> Reason:
        """Make a member."""
        made = str.__new__(cls, value)
        made._value_, made.meaning, made.cure = value, meaning, cure
        return made


class Failure(Reason):
    """Why an attempt got no reply."""

    CONNECTION = (
        "connection_failed",
        "the connection was refused, reset or closed early",
        "check whether a firewall or a load balancer in between drops connections",
    )
    DNS = (
        "dns_failed",
        "the host's name could not be resolved",
        "correct the host name in url, or this machine's resolver; if only a proxy knows the name, set proxy",
    )
    TIMEOUT = (
        "timeout",
        "the whole attempt took longer than timeout",
        "let the receiver answer before it processes the message, or raise timeout",
    )
    TLS_UNVERIFIED = (
        "tls_unverified",
        "the receiver's certificate was not verified",
        "set the CA of the receiver's certificate in ca_bundle (a self-signed one is its own CA)",
    )
    TLS_REFUSED = (
        "client_certificate_refused",
        "the receiver refused the client certificate, or requires one",
        "the receiver requires a client certificate from a CA that it trusts: set client_cert and client_key",
    )
    TLS = (
        "tls_failed",
        "the TLS handshake failed for another reason",
        "the receiver does not speak TLS 1.2 or newer: check its settings",
    )
    CERTIFICATE = (
        "certificate_unusable",
        "the endpoint's CA bundle, client certificate or key cannot be used; nothing was sent",
        "correct the named file; sfwebhooks check tries all of them",
    )
    PROTOCOL = (
        "protocol_error",
        "the answer was not HTTP",
        "if the port speaks HTTPS, write https:// in url",
    )
    ADDRESS = (
        "address_not_allowed",
        "the network policy forbids the receiver's address; nothing was sent",
        "use another host in url; allow_private = true allows private addresses; link-local ones and those of cloud"
        " metadata are never allowed",
    )
    SOURCE = (
        "source_address_unusable",
        "no connection can be opened from the endpoint's source_address; nothing was sent",
        "set source_address to an address of this machine (ip address lists them) that can reach the receiver, IPv4 or"
        " IPv6 like the receiver's, or remove it",
    )
    PROXY = (
        "proxy_failed",
        "the endpoint's proxy refused or failed to connect to the receiver",
        "check the proxy setting, and look for the reason in the proxy's log",
    )
    PROXY_REFUSED = (
        "proxy_refused",
        "the endpoint's proxy requires a user name and password, or different ones",
        "set the proxy's user name and password: proxy = SCHEME://USER:PASSWORD@HOST:PORT",
    )
    TOKEN_UNAVAILABLE = (
        "token_unavailable",
        "the token endpoint is busy or broken; nothing was sent",
        "check whether token_url works: messages wait until it does",
    )
    TOKEN_REFUSED = (
        "token_refused",
        "the token endpoint gave no token; nothing was sent",
        "correct token_url, client_id, client_secret and scope: the words of the token endpoint say what is wrong",
    )
    TEMPLATE = (
        "template_failed",
        "the endpoint's template failed with this event; nothing was sent",
        "correct the line of the template that is named, then sfwebhooks dead replay",
    )
    SHORTAGE = (
        "out_of_resources",
        "this process has no memory, descriptors or threads left; nothing was sent",
        "raise this user's limits (ulimit -a), or set concurrency = 1",
    )


class DeadReason(Reason):
    """Why a delivery is dead; in the outbox the reason of the last attempt may follow after a colon."""

    REFUSED = (
        "refused",
        "the receiver accepted other messages but refused this one three times",
        "correct what the receiver refuses, then sfwebhooks dead replay",
    )
    RETRIES = (
        "retries_exhausted",
        "it failed as often as retry_schedule allows, while its endpoint accepted others",
        "sfwebhooks dead replay sends it again",
    )
    EXPIRED = (
        "expired",
        "it waited longer than max_age, and its endpoint accepted nothing",
        "once the endpoint accepts messages again: sfwebhooks dead replay",
    )
    CRASHED = (
        "crashed_sender",
        "three times a process crashed, or raised an exception, while it built this message",
        "please report it; sfwebhooks dead replay tries it again",
    )
    DAMAGED = (
        "damaged_event",
        "its event is damaged in the outbox, or its endpoint's format cannot write it; the rest of its scan is sent",
        "sfwebhooks doctor looks for damage in the outbox; sfwebhooks dead replay tries it again",
    )
    TEMPLATE = (
        "template_failed",
        "its endpoint's template failed with this event",
        "correct the line of the template that sfwebhooks dead show names, then sfwebhooks dead replay",
    )
    REMOVED = (
        "endpoint_removed",
        "its endpoint is no longer in the settings, and it waited longer than max_age",
        "add the endpoint again, then sfwebhooks dead replay",
    )
    DROPPED = (
        "dropped",
        "an operator dropped it with sfwebhooks drop",
        "sfwebhooks dead replay sends it after all",
    )


class Withheld(Reason):
    """Why an event that an endpoint asked for by name is not accepted for it; the first one that holds counts.

    Its meaning follows a number of events.
    """

    FINDING_TYPE = (
        "finding_type",
        "not sent because of finding_types or include_raw",
        "change finding_types or include_raw if it should be sent",
    )
    SEVERITY = (
        "severity",
        "below min_severity",
        "lower min_severity, or raise the severity of its type in [webhooks-severity]",
    )
    CONFIDENCE = ("confidence", "below min_confidence", "lower min_confidence")
    MODULE = ("module", "not sent because of modules", "change modules if it should be sent")
    TARGET = ("target", "not sent because of targets", "change targets if the scan's findings should be sent")
    DATA = (
        "data",
        "not sent because of data_match or data_not_match",
        "change data_match or data_not_match if it should be sent",
    )
    FALSE_POSITIVE = (
        "false_positive",
        "marked as a false positive in SpiderFoot",
        "remove the mark in SpiderFoot's web interface; scans that begin afterwards send it",
    )
    MUTED = ("muted", "muted by an operator", "sfwebhooks unmute")
    KNOWN = ("known", "found by an earlier scan already (only_new)", "set only_new = false if it should be sent")
    BASELINE = (
        "baseline",
        "not sent because the first scan of a target is its baseline (only_new)",
        "set baseline = send if it should be sent",
    )
    UNCHANGED = (
        "unchanged",
        "not sent because nothing has changed (only_if_changed)",
        "set only_if_changed = false if it should be sent",
    )
    NOT_COMPARABLE = (
        "not_comparable",
        "not sent because the scan could not be compared with an earlier one (only_if_changed)",
        "set only_if_changed = false if it should be sent; its not_comparable says why",
    )
    OUTBOX_FULL = (
        "outbox_full",
        "refused because the outbox was full",
        "raise outbox_max_mb, or correct the endpoint whose deliveries wait; then sfwebhooks backfill",
    )
    UNWRITABLE = ("unwritable", "not accepted because they cannot be stored", "please report it; the log says why")
    SET_ASIDE = (
        "set_aside",
        "set aside in the spool of the scan's machine because of an error of sfwebhooks",
        "please report it; sfwebhooks spool list, on that machine, shows them and why",
    )


class Unsent(Reason):
    """Why an endpoint has no delivery of an event, unless the event is withheld from it (`Withheld`)."""

    NOT_SUBSCRIBED = (
        "not_subscribed",
        "its events do not ask for it",
        "sfwebhooks update {name} --events ..., with {type} among them",
    )
    ENDPOINT_OFF = ("endpoint_off", "it is off (enabled = false in its section)", "sfwebhooks enable {name}")
    EVENTS_UNKNOWN = (
        "events_unknown",
        "a mistake in its settings hides which events it asks for, so it accepts none",
        "correct what sfwebhooks check shows, then sfwebhooks backfill {scan} --endpoint {name}",
    )
    NOT_IN_SETTINGS = (
        "not_in_settings",
        "the settings no longer have this endpoint",
        "sfwebhooks create {name} adds it again",
    )
    DISABLED = (
        "disabled_here",
        "SFWEBHOOKS_DISABLED is set in this environment, and the scan ran without webhooks",
        "unset SFWEBHOOKS_DISABLED where SpiderFoot runs, then sfwebhooks backfill {scan} --endpoint {name}",
    )
    WEBHOOKS_OFF = (
        "webhooks_off",
        "webhooks are off (enabled = false in [webhooks]), and the scan ran without them",
        "remove enabled = false, then sfwebhooks backfill {scan} --endpoint {name}",
    )
    MODULE_OFF = (
        "module_off",
        "the module's option on SpiderFoot's settings page is off, and the scan ran without webhooks",
        "turn the option on, then sfwebhooks backfill {scan} --endpoint {name}",
    )
    WITHOUT_US = (
        "scan_without_webhooks",
        "the scan ran without webhooks: its modules did not include ours, or it ran before the installation",
        "sfwebhooks backfill {scan} --endpoint {name}",
    )
    RUNNING = (
        "scan_running",
        "the scan is running, and the event is not stored yet",
        "wait; what is missing at the scan's end is then read from SpiderFoot's database",
    )
    UNRECOVERED = (
        "scan_unrecovered",
        "the scan's process has died, and what it did not store is not recovered yet",
        "sfwebhooks drain, or the next scan",
    )
    ADDED_LATER = (
        "added_later",
        "nothing of this scan was ever accepted for it: it was added after the scan, or was off",
        "sfwebhooks backfill {scan} --endpoint {name}",
    )
    DELETED = (
        "deleted",
        "deliveries of this scan to it were deleted since, for their age (keep_delivered, keep_dead) or by an operator",
        "sfwebhooks backfill {scan} --endpoint {name} --again",
    )
    SETTINGS_CHANGED = (
        "settings_changed",
        "its settings, a mute or a mark in SpiderFoot were others at the time",
        "sfwebhooks backfill {scan} --endpoint {name}, if it should be sent",
    )
    MISSED = (
        "missed",
        "it is not known why: it passes all filters, and nothing was counted",
        "sfwebhooks backfill {scan} --endpoint {name}",
    )


#: reason -> words after the number of such events
WITHHELD_WORDS = {one.value: one.meaning for one in Withheld}
#: the same for a reader, who does not know the settings; after the number of events
SHORT_WORDS = {
    Withheld.FINDING_TYPE.value: "of a type that is not wanted",
    Withheld.SEVERITY.value: "of a lower severity",
    Withheld.CONFIDENCE.value: "of a lower confidence",
    Withheld.MODULE.value: "from other modules",
    Withheld.TARGET.value: "of another target",
    Withheld.DATA.value: "because of their content",
    Withheld.FALSE_POSITIVE.value: "marked as false positives",
    Withheld.MUTED.value: "muted",
    Withheld.KNOWN.value: "known from earlier scans",
    Withheld.BASELINE.value: "of the first scan of the target",
    Withheld.UNCHANGED.value: "because nothing changed",
    Withheld.OUTBOX_FULL.value: "refused because the outbox was full",
    Withheld.UNWRITABLE.value: "that could not be stored",
    Withheld.SET_ASIDE.value: "that could not be forwarded",
}


def short_words(reason: str) -> str:
    """Return the words of a receipt's reason, which may be that of another version, for readers of a message."""
    return SHORT_WORDS.get(reason, reason.replace("_", " "))


class WaitingReason(Reason):
    """Why a delivery waits; the first one that holds counts."""

    OFF = ("off", "the settings prevent sending to its endpoint")
    MISTAKE = (
        "config_mistake",
        "the settings of its endpoint have a mistake",
        "deliveries are sent once its settings are corrected, see sfwebhooks check",
    )
    PAUSED = ("paused", "an operator paused its endpoint", "sfwebhooks resume {name}")
    GONE = (
        "disabled",
        "its endpoint answered 410 Gone",
        "nothing is sent until its settings change, or sfwebhooks enable {name}",
    )
    HANGING = (
        "sender_hangs",
        "the process that owns the endpoint's lock is inactive",
        "if it is stopped or hangs, end it: kill -9 {pid}",
    )
    HELD = (
        "held",
        "its endpoint refuses messages, or is configured wrongly; it is probed at intervals",
        "to send at once: sfwebhooks resume {name}",
    )
    FAILING = (
        "failing",
        "its endpoint failed several times in a row; it is probed at intervals",
        "to send at once: sfwebhooks resume {name}",
    )
    DIGEST = ("digest", "the time of its digest, or the end of its scan, has not come")
    SENDING = ("sending", "a process is sending; the delivery waits for its turn, its next retry, or because of rate")
    NO_SENDER = (
        "no_sender",
        "no process is sending",
        "sfwebhooks drain sends once, sfwebhooks run keeps sending",
    )
