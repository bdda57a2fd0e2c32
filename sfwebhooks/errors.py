"""The exceptions that leave a module of ours. A failed delivery is not among them: that is data (an Attempt)."""

from __future__ import annotations

import errno
import ssl

#: what this process lacks, not what it talks to: descriptors, memory, buffers
SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
#: what OpenSSL says when it gets no memory; its errors have no errno of the system
OPENSSL_SHORTAGE = "malloc failure"


class WebhooksError(Exception):
    """Anything that sfwebhooks has to tell its operator; the text says where, what, and what would be right."""


class ConfigError(WebhooksError):
    """The configuration cannot be used as a whole (a single wrong endpoint is a Mistake, not this)."""


class CertificateError(WebhooksError):
    """An endpoint's CA bundle, client certificate or key cannot be used; nothing is sent in its stead."""


class AddressError(WebhooksError):
    """The network policy forbids the address that would be connected to; nothing is sent."""


class OutboxError(WebhooksError):
    """The outbox file cannot be opened or written for good: wrong permissions, not a database, too new."""


class OutboxBusyError(OutboxError):
    """The outbox is locked just now, or was set aside; the same call may succeed in a moment."""

    #: what an operator does before a command is given again
    cure = ""


class DiskFullError(OutboxBusyError):
    """The disk of the outbox is full, or fails; the same call may succeed once there is room."""

    cure = "make room on its disk"


class ShortageError(OutboxBusyError):
    """This process has no descriptors or memory left; the same call may succeed once something is closed."""

    cure = "raise this user's limits (ulimit -a)"


class UnwritableError(WebhooksError):
    """An event has a value that the outbox cannot write; it alone is not accepted."""


class InstallError(WebhooksError):
    """The shim cannot be put into the scanner, or taken out of it."""


class CaptureError(WebhooksError):
    """A captured request cannot be read: not a line of `receive --save`, not an HTTP request."""


class SelectionError(WebhooksError):
    """What a command was given names no delivery, or several, or would name all of them without saying so."""


class EmitError(WebhooksError):
    """What another tool wants to tell is not as the catalogue says, or nothing that JSON can say; nothing was kept."""


def is_shortage(error: BaseException | None) -> bool:
    """Say whether an exception, or what caused it, is that this process lacks a resource."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in SHORTAGES):
            return True
        if isinstance(error, ssl.SSLError) and OPENSSL_SHORTAGE in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
