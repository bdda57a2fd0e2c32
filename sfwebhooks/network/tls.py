"""TLS of an endpoint: its certificate files come in; Credentials go out, with an SSLContext that verifies.

`certificates` checks the files before OpenSSL sees them, since OpenSSL's own messages name neither the file nor the
reason, and it would ask for a missing password on the terminal. `sender` uses the credentials until they are outdated;
`expiring` finds certificates that expire soon.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import certifi

from sfwebhooks import files
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import CertificateError
from sfwebhooks.events import printable
from sfwebhooks.network.certificates import ClientCertificate, certificates_of, check_identity, reading, utc, validity
from sfwebhooks.text_file import FileState, state_of

#: file names that OpenSSL looks for in a folder of CAs; it ignores others
HASHED = re.compile(r"[0-9a-f]{8}\.\d+")
DAY = 86400
#: seconds before its expiry from which on a certificate gets a warning
EXPIRY_WARNING_SECONDS = 30.0 * DAY
#: a bundle of more certificates has public CAs: some of them always expire, and no action is needed
OWN_BUNDLE_MAX = 16
#: file or folder of CAs -> its state, which differs after a change
States = Mapping[Path, FileState]


@dataclass(frozen=True)
class Credentials:
    """The certificate files of an endpoint as loaded."""

    #: verifies the receiver, and presents our client certificate
    context: ssl.SSLContext
    certificate: ClientCertificate | None
    states: States

    def outdated(self, now: float) -> bool:
        """Return whether one of the files has changed since; calls `stat` for each of them.

        Args:
            now: epoch seconds.

        Raises:
            CertificateError: none has, and our client certificate is not valid now.
        """
        if any(state_of(path) != state for path, state in self.states.items()):
            return True
        if self.certificate:
            self.certificate.check(now)
        return False


@dataclass(frozen=True)
class Expiry:
    """When a certificate expires, or has expired."""

    #: the option that names its file: client_cert, ca_bundle
    what: str
    file: Path
    #: subject; empty if it is the only certificate of its file
    subject: str
    #: epoch seconds
    ends_at: float
    #: seconds from the check until the expiry; negative after it
    seconds_left: float = field(compare=False)

    @property
    def is_soon(self) -> bool:
        """Whether it is time to renew it."""
        return self.seconds_left <= EXPIRY_WARNING_SECONDS

    @property
    def words(self) -> str:
        """The text for the operator."""
        name = f"{self.what} {self.file}" + (f" ({self.subject})" if self.subject else "")
        days = int(abs(self.seconds_left) // DAY)
        span = f"{days} day{'s' if days > 1 else ''}" if days else "less than a day"
        if self.seconds_left < 0:
            return f"{name} expired on {utc(self.ends_at)}, {span} ago"
        return f"{name} expires on {utc(self.ends_at)}, in {span}"


def context_for(endpoint: Endpoint) -> ssl.SSLContext:
    """Return the TLS context of an endpoint from its current files; errors are those of `credentials_for`."""
    return credentials_for(endpoint, time.time()).context


def tls_problem(endpoint: Endpoint) -> str:
    """Return the problem with the endpoint's certificate files, or an empty text."""
    try:
        context_for(endpoint)
    except CertificateError as error:
        return str(error)
    return ""


def credentials_for(endpoint: Endpoint, now: float) -> Credentials:
    """Load an endpoint's files; the context verifies, requires TLS 1.2, and has the client certificate.

    Args:
        now: epoch seconds.

    Raises:
        CertificateError: a file cannot be used; the text names it and says what is accepted.
    """
    states = _states(endpoint)  # before the files are read: later changes make them outdated
    try:
        return _load(endpoint, states, now)
    except CertificateError:
        later = _states(endpoint)
        if later == states:
            raise
        return _load(endpoint, later, now)  # they were replaced while being read, and did not match


def _load(endpoint: Endpoint, states: States, now: float) -> Credentials:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # a receiver may ask for our certificate only after it knows the path (Apache: SSLVerifyClient in a Location);
    # TLS 1.3 allows that only if the client has offered it in its hello (RFC 8446 section 4.2.6)
    context.post_handshake_auth = endpoint.client_cert is not None
    if ssl.HAS_NEVER_CHECK_COMMON_NAME:
        context.hostname_checks_common_name = False  # RFC 9525 section 2; requests and curl ignore it too
    _trust(context, endpoint)
    return Credentials(context, _identify(context, endpoint, now), states)


def expiring(endpoint: Endpoint, now: float) -> list[Expiry]:
    """Return those of an endpoint's `expiries` that are soon or past."""
    return [expiry for expiry in expiries(endpoint, now) if expiry.is_soon]


def expiries(endpoint: Endpoint, now: float) -> list[Expiry]:
    """Return when the certificates of an endpoint's client chain and of its own CAs expire.

    An unreadable file is skipped here: `credentials_for` reports it.

    Args:
        now: epoch seconds.
    """
    bundle = endpoint.ca_bundle if endpoint.verify_tls else None
    found: list[Expiry] = []
    for what, file in (("client_cert", endpoint.client_cert), ("ca_bundle", bundle)):
        with suppress(CertificateError):
            found += _ending(what, file, now) if file else []
    return found


def _ending(what: str, file: Path, now: float) -> list[Expiry]:
    certificates = certificates_of(file, what)
    if what == "ca_bundle" and len(certificates) > OWN_BUNDLE_MAX:
        return []
    with reading(what, file):
        ends = [validity(certificate)[1] for certificate in certificates]
        subjects = [printable(one.subject.rfc4514_string()) if len(ends) > 1 else "" for one in certificates]
    return [Expiry(what, file, subject, end, end - now) for subject, end in zip(subjects, ends)]


def _states(endpoint: Endpoint) -> States:
    return {path: state_of(path) for path in endpoint.files}


def _trust(context: ssl.SSLContext, endpoint: Endpoint) -> None:
    if not endpoint.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return
    if not endpoint.ca_bundle and not _encrypts(endpoint):
        return  # reading the public CAs would waste 15 ms; without them nothing is trusted
    bundle = endpoint.ca_bundle or Path(certifi.where())
    folder = _folder(bundle)
    if not folder and endpoint.ca_bundle:
        certificates_of(bundle, "ca_bundle")
    try:
        context.load_verify_locations(cafile=None if folder else bundle, capath=folder)
    except (ssl.SSLError, OSError) as error:
        raise CertificateError(f"ca_bundle {bundle} is refused by OpenSSL: {error}") from error


def _encrypts(endpoint: Endpoint) -> bool:
    """Return whether the receiver or the proxy of an endpoint uses TLS."""
    places = [endpoint.url, *([endpoint.proxy] if endpoint.proxy else [])]
    return any(place.reveal()[:6].lower() == "https:" for place in places)


def _folder(bundle: Path) -> Path | None:
    """Return the bundle if it is a folder that OpenSSL can use, None if it is not a folder."""
    try:
        found = [file for file in bundle.iterdir() if HASHED.fullmatch(file.name)]
        for file in found:
            files.demand_regular(file)  # OpenSSL opens them in the middle of a handshake
    except NotADirectoryError:
        return None
    except OSError as error:
        raise CertificateError(f"ca_bundle {bundle} cannot be read: {error.strerror}") from error
    if not found:
        raise CertificateError(f"ca_bundle {bundle} is a folder without hashed certificates: openssl rehash {bundle}")
    return bundle


def _identify(context: ssl.SSLContext, endpoint: Endpoint, now: float) -> ClientCertificate | None:
    if not endpoint.client_cert:
        return None
    password = endpoint.client_key_password.reveal() if endpoint.client_key_password else None
    key = endpoint.client_key or endpoint.client_cert
    certificate = check_identity(endpoint.client_cert, key, password, now)
    try:
        context.load_cert_chain(endpoint.client_cert, key, password=password or "")
    except (ssl.SSLError, OSError) as error:
        raise CertificateError(f"client_cert {endpoint.client_cert} is refused by OpenSSL: {error}") from error
    return certificate
