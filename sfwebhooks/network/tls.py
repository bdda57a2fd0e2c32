"""TLS of an endpoint: its certificate files come in; Credentials go out, with an SSLContext that verifies.

`certificates` checks the files before OpenSSL sees them, since OpenSSL's own messages name neither the file nor the
reason, and it would ask for a missing password on the terminal. `sender` uses the credentials until they are outdated;
`expiring` says early what will be over.
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

#: the only names of files that OpenSSL looks for in a folder of CAs
HASHED = re.compile(r"[0-9a-f]{8}\.\d+")
DAY = 86400
#: how long before its end a certificate is worth a warning
EXPIRY_WARNING_SECONDS = 30.0 * DAY
#: a bundle of more certificates holds public CAs: of these one ends now and then, and nobody has to act
OWN_BUNDLE_MAX = 16
#: file, or folder of CAs -> what differs once it was changed
States = Mapping[Path, FileState]


@dataclass(frozen=True)
class Credentials:
    """The certificate files of an endpoint as they were when they were loaded."""

    #: verifies the receiver, and shows it our client certificate
    context: ssl.SSLContext
    certificate: ClientCertificate | None
    states: States

    @property
    def outdated(self) -> bool:
        """Whether one of the files has been changed since: a call of `stat` for each of them."""
        return any(state_of(path) != state for path, state in self.states.items())

    def check(self, now: float) -> None:
        """Check that our client certificate, if there is one, is valid at `now` (epoch seconds).

        Raises:
            CertificateError: it is not.
        """
        if self.certificate:
            self.certificate.check(now)


@dataclass(frozen=True)
class Expiry:
    """A certificate that ends soon, or has ended."""

    #: the option that names its file: client_cert, ca_bundle
    what: str
    file: Path
    #: whose it is; empty where it is the only one of its file
    subject: str
    #: epoch seconds
    ends_at: float
    #: from the moment of looking until the end; negative once it is over
    seconds_left: float = field(compare=False)

    @property
    def words(self) -> str:
        """What an operator is told."""
        name = f"{self.what} {self.file}" + (f" ({self.subject})" if self.subject else "")
        days = int(abs(self.seconds_left) // DAY)
        span = f"{days} day{'s' if days > 1 else ''}" if days else "less than a day"
        if self.seconds_left < 0:
            return f"{name} expired on {utc(self.ends_at)}, {span} ago"
        return f"{name} expires on {utc(self.ends_at)}, in {span}"


def context_for(endpoint: Endpoint) -> ssl.SSLContext:
    """Return the TLS context of an endpoint by its files of now; errors are those of `credentials_for`."""
    return credentials_for(endpoint, time.time()).context


def credentials_for(endpoint: Endpoint, now: float) -> Credentials:
    """Load an endpoint's files; the context verifies, has TLS 1.2 at least, and the client certificate.

    Args:
        now: epoch seconds.

    Raises:
        CertificateError: a file cannot be used; the text names it and says what would be right.
    """
    states = _states(endpoint)  # before the files are read: what changes from now on makes them outdated
    try:
        return _load(endpoint, states, now)
    except CertificateError:
        later = _states(endpoint)
        if later == states:
            raise
        return _load(endpoint, later, now)  # they were replaced while they were read, and did not fit together


def _load(endpoint: Endpoint, states: States, now: float) -> Credentials:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # a receiver may ask for our certificate only once it knows the path (Apache: SSLVerifyClient in a Location);
    # TLS 1.3 allows that only with a client that has offered it in its hello (RFC 8446 section 4.2.6)
    context.post_handshake_auth = endpoint.client_cert is not None
    if ssl.HAS_NEVER_CHECK_COMMON_NAME:
        context.hostname_checks_common_name = False  # RFC 9525 section 2; requests and curl do not look at it either
    _trust(context, endpoint)
    return Credentials(context, _identify(context, endpoint, now), states)


def expiring(endpoint: Endpoint, now: float) -> list[Expiry]:
    """Return what of an endpoint's client certificate with its chain, and of its own CAs, ends soon or is over.

    A file that cannot be read tells nothing here: `credentials_for` says what is wrong with it.

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
    found = [Expiry(what, file, subject, end, end - now) for subject, end in zip(subjects, ends)]
    return [expiry for expiry in found if expiry.seconds_left <= EXPIRY_WARNING_SECONDS]


def _states(endpoint: Endpoint) -> States:
    return {path: state_of(path) for path in endpoint.files}


def _trust(context: ssl.SSLContext, endpoint: Endpoint) -> None:
    if not endpoint.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return
    if not endpoint.ca_bundle and not _encrypts(endpoint):
        return  # the public CAs take 15 ms to read, for nothing; without them nobody is trusted
    bundle = endpoint.ca_bundle or Path(certifi.where())
    folder = _folder(bundle)
    if not folder and endpoint.ca_bundle:
        certificates_of(bundle, "ca_bundle")
    try:
        context.load_verify_locations(cafile=None if folder else bundle, capath=folder)
    except (ssl.SSLError, OSError) as error:
        raise CertificateError(f"ca_bundle {bundle} is refused by OpenSSL: {error}") from error


def _encrypts(endpoint: Endpoint) -> bool:
    """Say whether TLS is spoken on the way to an endpoint, with its receiver or a proxy."""
    places = [endpoint.url, *([endpoint.proxy] if endpoint.proxy else [])]
    return any(place.reveal()[:6].lower() == "https:" for place in places)


def _folder(bundle: Path) -> Path | None:
    """Return the bundle if it is a folder that OpenSSL can use, None if it is no folder."""
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
