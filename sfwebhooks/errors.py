"""The exceptions that our modules raise. A failed delivery is not an exception but data (an Attempt)."""

from __future__ import annotations

import errno
import ssl

#: errors for resources that this process lacks, not its peer: descriptors, memory, buffers
SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
#: what errors say that have no errno of the system: OpenSSL's without memory, in TLS and in hashlib, and Python's for a
#: lock or a thread, and where it lost the error itself
SHORTAGE_WORDS = (
    *("malloc failure", "no reason supplied", "can't allocate", "can't start new thread"),
    *("without setting an exception", "without exception set"),
)
WORDY = (ssl.SSLError, ValueError, RuntimeError, SystemError)
#: the trouble of a process for which `is_shortage` is true and no more is known
NO_MEMORY = "this process has no memory left"


class WebhooksError(Exception):
    """A problem for the operator; the text says where it is, what is wrong, and what is expected."""


class ConfigError(WebhooksError):
    """The configuration as a whole cannot be used (for a single wrong endpoint there is Mistake)."""


class NotEditableError(ConfigError):
    """The settings file cannot be edited by a command, whatever the edit: its owner has to change it first."""


class CertificateError(WebhooksError):
    """An endpoint's CA bundle, client certificate or key cannot be used; nothing is sent without it."""


class AddressError(WebhooksError):
    """The network policy forbids the receiver's address; nothing is sent."""


class OutboxError(WebhooksError):
    """The outbox cannot be opened or written, and a retry does not help: wrong permissions, not a database, too
    new."""


class OutboxReplacedError(OutboxError):
    """The outbox is another one than the caller wrote to before; nothing was written."""


class OutboxBusyError(OutboxError):
    """The outbox is locked just now, or was set aside; the same call may succeed in a moment."""

    #: what the operator has to do before running the command again
    cure = ""


class PoolerError(OutboxError):
    """A pooler lends one session of PostgreSQL to several clients, which would share their locks."""


class MovedError(OutboxError):
    """The rows of the outbox file were moved to a server, or are being moved: nothing is accepted or sent here."""


class RejectedError(OutboxError):
    """The server does not take the values of a row, such as one that is too long for an index; nothing was written."""


class FencedError(OutboxError):
    """Another process has taken over endpoints; nothing was written of the results of this one."""

    def __init__(self, text: str, endpoints: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        #: their names
        self.endpoints = endpoints


class TargetBusyError(OutboxBusyError):
    """Another process is recording a scan of the same target; the same call may succeed in a moment."""


class DiskFullError(OutboxBusyError):
    """The disk of the outbox is full or fails; the same call may succeed once there is space."""

    cure = "make room on its disk"


class UnreachableError(OutboxBusyError):
    """The server of the outbox does not answer; the same call may succeed once it does."""

    cure = "start PostgreSQL, or correct outbox in [webhooks]"


class DamagedError(OutboxError):
    """Maintenance met damage in the outbox, which is logged; senders, who do not, still use it."""


class DamagedRowError(OutboxError):
    """A row of the outbox has values that we never write; the other rows can be used."""


class ShortageError(OutboxBusyError):
    """This process has no descriptors or memory left; the same call may succeed once some are released."""

    cure = "raise this user's limits (ulimit -a)"


class UnwritableError(WebhooksError):
    """An event has a value that the outbox cannot write; it alone is rejected."""


class NotYetError(WebhooksError):
    """The time for the recovery of a scan is over; what was done stays, and the next run continues it."""


class InstallError(WebhooksError):
    """The shim cannot be installed into the scanner, or removed from it."""


class TemplateFailedError(WebhooksError):
    """The operator's template failed with an event, or is wrong; the text names its line and says why."""


class CaptureError(WebhooksError):
    """A captured request cannot be read: not a line of `receive --save`, not an HTTP request."""


class NotStoredError(WebhooksError):
    """A receiver could not store a request where it was asked to; the sender has to send it again."""


class SelectionError(WebhooksError):
    """The arguments of a command select no delivery, several, or all of them without an explicit option."""


class HostDatabaseError(WebhooksError):
    """SpiderFoot's database cannot be read, and a retry does not help: there is none, its tables are others, no
    permission."""


class HostBusyError(HostDatabaseError):
    """Another process has locked SpiderFoot's database, or its server cannot be reached just now; the same read may
    succeed in a moment."""


class SlowReadError(HostDatabaseError):
    """A read of SpiderFoot's database took longer than its limit."""


class EmitError(WebhooksError):
    """An event of another tool does not match the catalogue or is not valid JSON; nothing was stored."""


def is_shortage(error: BaseException | None) -> bool:
    """Return whether an exception, or its cause, is a lack of resources in this process."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in SHORTAGES):
            return True
        if isinstance(error, WORDY) and any(words in str(error) for words in SHORTAGE_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False
