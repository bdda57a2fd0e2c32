"""Certificate files of an endpoint that change, or are over, while its Sender lives."""

from __future__ import annotations

import hashlib
import os
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.attempts import Reply
from sfwebhooks.demo.certificates import Authority, Identity
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.network.certificates import certificates_of, validity
from sfwebhooks.network.sender import Sender
from sfwebhooks.reasons import Failure
from sfwebhooks.signing import Request
from tests.builders import PATIENCE, an_endpoint
from tests.conftest import Clock, Gate, Team
from tests.hostile import OK, Hostile, Visit, answering

Send = Callable[[], Reply]


def put(path: Path, *sources: Path) -> None:
    """Put a file in the place of another, as a careful program does, later than it was written last."""
    new = path.with_suffix(".new")
    new.write_bytes(b"".join(source.read_bytes() for source in sources))
    if path.exists():
        after = path.stat().st_mtime_ns + 10**9
        os.utime(new, ns=(after, after))
    new.replace(path)


class Files:
    """The certificate files of one endpoint, to be changed."""

    def __init__(self, folder: Path, authority: Authority, identity: Identity) -> None:
        self.ca_bundle = folder / "own-ca.pem"
        self.client_cert = folder / "own.pem"
        self.client_key = folder / "own.key"
        put(self.ca_bundle, authority.cert)
        self.show(identity)

    def show(self, identity: Identity) -> None:
        put(self.client_cert, identity.cert)
        put(self.client_key, identity.key)

    def endpoint(self, url: str) -> Endpoint:
        paths: dict[str, Any] = {
            "ca_bundle": self.ca_bundle,
            "client_cert": self.client_cert,
            "client_key": self.client_key,
        }
        return an_endpoint(url=url, timeout=PATIENCE, **paths)


@pytest.fixture
def files(tmp_path: Path, authority: Authority, client_identity: Identity) -> Files:
    return Files(tmp_path, authority, client_identity)


@pytest.fixture(scope="module")
def renewed(authority: Authority) -> Identity:
    return authority.issue("renewed", client=True)


@pytest.fixture
def demanding(receive: Callable[..., Team], mtls: ssl.SSLContext) -> Team:
    """A receiver that demands a client certificate."""
    return receive(tls=mtls)


@pytest.fixture
def sending() -> Iterator[Callable[..., Send]]:
    """Make what makes attempts, all with the same sender: `sending(endpoint, clock)`."""
    senders: list[Sender] = []

    def make(endpoint: Endpoint, *args: Clock) -> Send:
        sender = Sender(endpoint, *args)
        senders.append(sender)
        request = Request(endpoint.url, {"Content-Type": "application/json"}, b"{}")
        return lambda: sender.send(request)

    yield make
    for one in senders:
        one.close()


@pytest.fixture
def send(sending: Callable[..., Send], files: Files, demanding: Team) -> Send:
    """Make an attempt, with the sender of this test."""
    return sending(files.endpoint(demanding.url))


# --- new files


def test_a_renewed_certificate_is_shown_at_the_next_attempt(
    send: Send, files: Files, demanding: Team, renewed: Identity
) -> None:
    send()
    files.show(renewed)
    send()
    assert [received.client for received in demanding.got] == ["spiderfoot", "renewed"]


def test_a_ca_that_is_no_longer_trusted_is_not_even_over_a_kept_connection(
    send: Send, files: Files, demanding: Team, other_authority: Authority
) -> None:
    assert send().status == 200
    put(files.ca_bundle, other_authority.cert)
    assert (send().failure, len(demanding.got)) == (Failure.TLS_UNVERIFIED, 1)


def test_a_ca_is_trusted_once_it_is_in_the_bundle(
    send: Send, files: Files, authority: Authority, other_authority: Authority
) -> None:
    put(files.ca_bundle, other_authority.cert)
    assert send().failure is Failure.TLS_UNVERIFIED
    put(files.ca_bundle, other_authority.cert, authority.cert)
    assert send().status == 200


def hashed(name: str) -> str:
    """Return the file's name under which OpenSSL looks for a CA with this common name (`openssl x509 -hash`)."""
    text = name.lower().encode()
    attribute = b"\x06\x03\x55\x04\x03\x0c" + bytes([len(text)]) + text
    for tag in (b"\x30", b"\x31"):
        attribute = tag + bytes([len(attribute)]) + attribute
    return f"{int.from_bytes(hashlib.sha1(attribute).digest()[:4], 'little'):08x}.0"


def test_a_ca_that_left_the_folder_is_no_longer_trusted(
    sending: Callable[..., Send],
    receive: Callable[..., Team],
    https: ssl.SSLContext,
    authority: Authority,
    other_authority: Authority,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "cas"
    folder.mkdir()
    put(folder / hashed("Other CA"), other_authority.cert)
    put(folder / hashed("Test CA"), authority.cert)
    send = sending(an_endpoint(url=receive(tls=https).url, timeout=PATIENCE, ca_bundle=folder))
    assert send().status == 200
    (folder / hashed("Test CA")).unlink()
    os.utime(folder, ns=(0, 0))
    assert send().failure is Failure.TLS_UNVERIFIED


def test_files_that_stay_as_they_are_cost_no_new_connection(
    hostile: Callable[..., Hostile], https: ssl.SSLContext, files: Files, sending: Callable[..., Send]
) -> None:
    receiver = hostile(answering(OK), https)
    send = sending(files.endpoint(receiver.url))
    assert ([send().status for _ in range(3)], receiver.connections) == ([200] * 3, 1)


def test_an_attempt_looks_once_at_each_file(send: Send, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    send()
    looked: list[Path] = []
    stat = Path.stat

    def noted(path: Path) -> os.stat_result:
        looked.append(path)
        return stat(path)

    monkeypatch.setattr(Path, "stat", noted)
    send()
    assert sorted(looked) == sorted([files.ca_bundle, files.client_cert, files.client_key])


def test_an_attempt_of_an_endpoint_without_files_looks_at_none(
    sending: Callable[..., Send], team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = sending(an_endpoint(url=team.url))
    send()
    looked: list[Path] = []
    monkeypatch.setattr(Path, "stat", looked.append)
    assert (send().status, looked) == (200, [])


# --- new files that cannot be used


@pytest.mark.parametrize("option", ["ca_bundle", "client_cert", "client_key"])
@pytest.mark.parametrize("harm", [lambda path: path.write_bytes(b"rubbish"), Path.unlink], ids=["rubbish", "missing"])
def test_nothing_is_sent_with_the_old_files_while_the_new_ones_cannot_be_used(
    send: Send, files: Files, demanding: Team, option: str, harm: Callable[[Path], object]
) -> None:
    assert send().status == 200
    path: Path = getattr(files, option)
    good = path.read_bytes()
    harm(path)
    replies = [send(), send()]
    assert [reply.failure for reply in replies] == [Failure.CERTIFICATE] * 2
    assert f"{option} {path} " in replies[0].detail
    assert len(demanding.got) == 1
    path.write_bytes(good)
    assert (send().status, len(demanding.got)) == (200, 2)


def test_a_pair_of_which_only_one_is_new_waits_for_the_other(send: Send, files: Files, renewed: Identity) -> None:
    send()
    put(files.client_cert, renewed.cert)
    assert "does not belong to" in send().detail
    put(files.client_key, renewed.key)
    assert send().status == 200


def test_files_that_are_replaced_while_they_are_read_are_read_again(
    send: Send, files: Files, demanding: Team, renewed: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open
    turns = iter([files.client_cert])

    def open_and_replace(path: Any, *how: Any, **more: Any) -> int:
        number = opened(path, *how, **more)
        if path == files.client_cert and next(turns, None):
            files.show(renewed)
        return number

    monkeypatch.setattr(os, "open", open_and_replace)
    assert (send().status, demanding.got[0].client) == (200, "renewed")


# --- attempts in flight


def test_an_attempt_in_flight_ends_undisturbed(
    send: Send, files: Files, demanding: Team, gate: Gate, renewed: Identity
) -> None:
    demanding.answer = lambda received: gate(received) if received is demanding.got[0] else 200
    replies: list[Reply] = []
    thread = threading.Thread(target=lambda: replies.append(send()))
    thread.start()
    demanding.wait_for(1)
    files.show(renewed)
    replies.append(send())
    gate.open()
    thread.join(PATIENCE)
    assert [reply.status for reply in replies] == [200, 200]
    assert [received.client for received in demanding.got] == ["spiderfoot", "renewed"]


def test_connections_of_the_old_files_are_closed(
    hostile: Callable[..., Hostile],
    https: ssl.SSLContext,
    files: Files,
    sending: Callable[..., Send],
    renewed: Identity,
) -> None:
    receiver = hostile(answering(OK), https)
    send = sending(files.endpoint(receiver.url))
    send()
    files.show(renewed)
    send()
    assert receiver.ended.acquire(timeout=PATIENCE)
    assert (receiver.connections, receiver.ended.acquire(blocking=False)) == (2, False)


def test_the_connection_of_an_attempt_in_flight_is_closed_after_it(
    hostile: Callable[..., Hostile],
    https: ssl.SSLContext,
    files: Files,
    sending: Callable[..., Send],
    renewed: Identity,
) -> None:
    asked, free = threading.Event(), threading.Event()

    def way(visit: Visit) -> None:
        while visit.request():
            if not visit.number:
                asked.set()
                free.wait(PATIENCE)
            visit.say(OK)

    receiver = hostile(way, https)
    send = sending(files.endpoint(receiver.url))
    replies: list[Reply] = []
    thread = threading.Thread(target=lambda: replies.append(send()))
    thread.start()
    assert asked.wait(PATIENCE)
    files.show(renewed)
    send()
    ended_before = receiver.ended.acquire(blocking=False)
    free.set()
    thread.join(PATIENCE)
    assert ([reply.status for reply in replies], ended_before) == ([200], False)
    assert receiver.ended.acquire(timeout=PATIENCE)


def test_threads_that_share_a_sender_survive_files_that_change_all_the_time(
    send: Send, files: Files, demanding: Team, client_identity: Identity, authority: Authority
) -> None:
    replies: list[Reply] = []
    threads = [threading.Thread(target=lambda: replies.extend(send() for _ in range(25))) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        put(files.client_cert, client_identity.cert)
        put(files.client_cert, client_identity.cert, authority.cert)
    assert {(reply.status, reply.detail) for reply in replies} == {(200, "")}
    assert len(demanding.got) == len(replies) == 100


# --- a certificate that is over


@pytest.fixture
def at_its_end(client_identity: Identity) -> Clock:
    """A clock in the last second of our certificate."""
    return Clock(validity(certificates_of(client_identity.cert, "client_cert")[0])[1])


@pytest.fixture
def send_until_its_end(sending: Callable[..., Send], files: Files, demanding: Team, at_its_end: Clock) -> Send:
    return sending(files.endpoint(demanding.url), at_its_end)


def test_a_certificate_that_is_over_is_not_shown_any_more(
    send_until_its_end: Send, files: Files, demanding: Team, at_its_end: Clock
) -> None:
    assert send_until_its_end().status == 200
    at_its_end.now += 1
    reply = send_until_its_end()
    assert (reply.failure, len(demanding.got)) == (Failure.CERTIFICATE, 1)
    assert reply.detail.startswith(f"client_cert {files.client_cert} expired on ")


def test_it_is_logged_in_the_words_of_a_start(
    send_until_its_end: Send, sending: Callable[..., Send], files: Files, demanding: Team, at_its_end: Clock
) -> None:
    send_until_its_end()
    at_its_end.now += 1
    starting = sending(files.endpoint(demanding.url), at_its_end)
    assert send_until_its_end() == starting()


def test_after_its_renewal_deliveries_go_out_again(
    send_until_its_end: Send, files: Files, demanding: Team, at_its_end: Clock, authority: Authority
) -> None:
    send_until_its_end()
    at_its_end.now += 86400
    assert send_until_its_end().failure is Failure.CERTIFICATE
    files.show(authority.issue("longer", client=True, days=365))
    assert send_until_its_end().status == 200
    assert [received.client for received in demanding.got] == ["spiderfoot", "longer"]
