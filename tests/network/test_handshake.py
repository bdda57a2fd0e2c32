"""Certificates of a handshake, as peers may write them: nothing in them ends an attempt."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as some

from sfwebhooks.demo.certificates import Authority, Identity
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.network.certificates import summary_of
from sfwebhooks.network.handshake import certificates_in
from sfwebhooks.network.sender import Sender
from sfwebhooks.network.steps import Secured, Step
from sfwebhooks.receive.server import server_context
from sfwebhooks.signing import Request
from tests.builders import PATIENCE, an_endpoint
from tests.conftest import Team

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
ONE, OTHER = b"the first certificate", b"another one"


def sized(data: bytes, size: int = 3) -> bytes:
    return len(data).to_bytes(size, "big") + data


def test_the_certificates_of_a_message_of_tls_1_2_are_found() -> None:
    body = sized(sized(ONE) + sized(OTHER))
    assert [*certificates_in(b"\x0b" + sized(body), TLS_1_2)] == [ONE, OTHER]


def test_the_certificates_of_a_message_of_tls_1_3_are_found_between_context_and_extensions() -> None:
    items = sized(ONE) + sized(b"an extension", 2) + sized(OTHER) + sized(b"", 2)
    body = sized(b"context", 1) + sized(items)
    assert [*certificates_in(b"\x0b" + sized(body), TLS_1_3)] == [ONE, OTHER]


@given(message=some.binary(max_size=200), version=some.sampled_from([TLS_1_2, TLS_1_3]))
def test_any_message_is_read_to_its_end(message: bytes, version: int) -> None:
    assert sum(map(len, certificates_in(message, version))) <= len(message)


def test_a_certificate_that_is_cut_anywhere_has_no_summary(server_identity: Identity) -> None:
    whole = ssl.PEM_cert_to_DER_cert(server_identity.cert.read_text())
    assert summary_of(whole) is not None
    assert [summary_of(whole[:length]) for length in range(0, len(whole), 7)] == [None] * len(range(0, len(whole), 7))


@given(data=some.data())
def test_a_certificate_with_any_byte_replaced_raises_nothing(server_identity: Identity, data: some.DataObject) -> None:
    changed = bytearray(ssl.PEM_cert_to_DER_cert(server_identity.cert.read_text()))
    changed[data.draw(some.integers(0, len(changed) - 1))] = data.draw(some.integers(0, 255))
    summary_of(bytes(changed))


def secured(endpoint: Endpoint) -> Secured:
    """Return the only handshake of an attempt."""
    steps: list[Step] = []
    sender = Sender(endpoint)
    sender.watch = steps.append
    sender.send(Request(endpoint.url, {"Content-Type": "application/json"}, b"{}"))
    sender.close()
    (found,) = [step for step in steps if isinstance(step, Secured)]
    return found


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_a_receiver_with_thousands_of_names_is_seen_whole(
    receive: Callable[..., Team], authority: Authority, version: ssl.TLSVersion
) -> None:
    hosts = ("127.0.0.1", *(f"host-{number}.example" for number in range(3000)))
    many = authority.issue("many", hosts=hosts)
    context = server_context(many.cert, many.key)
    context.minimum_version = context.maximum_version = version
    found = secured(an_endpoint(url=receive(tls=context).url, ca_bundle=authority.cert, timeout=PATIENCE))
    summary = summary_of(found.theirs[0])
    assert found.verified and summary and len(summary.names) == len(hosts)


def test_the_messages_of_a_handshake_are_looked_at_only_if_somebody_watches(
    receive: Callable[..., Team], https: ssl.SSLContext, authority: Authority
) -> None:
    endpoint = an_endpoint(url=receive(tls=https).url, ca_bundle=authority.cert, timeout=PATIENCE)
    sender = Sender(endpoint)
    assert sender.send(Request(endpoint.url, {"Content-Type": "application/json"}, b"{}")).status == 200
    assert sender._adapter
    assert getattr(sender._adapter.credentials.context, "_msg_callback", None) is None
    sender.close()
