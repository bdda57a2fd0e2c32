"""Whatever a receiver, a proxy or a network does, nothing of what an endpoint holds or was sent gets out."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.attempts import Reply
from sfwebhooks.config.settings import Settings, load
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.demo.certificates import Authority
from sfwebhooks.health import FAILURES_MAX
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.reasons import Failure
from sfwebhooks.retry import OUTCOME_OF_FAILURE
from tests.conftest import Clock, Team, put, soon, sql
from tests.hostile import Hostile, refusing
from tests.middlemen import Middleman, SocksMiddleman
from tests.network.test_hostile_receiver import EVILS, reason_of, reasons
from tests.secrecy.planted import (
    API_KEY,
    BASIC_PASSWORD,
    BASIC_USER,
    FORMAT_KEYS,
    KEY_PASSWORD,
    OWN,
    PATH_TOKEN,
    SECRETS,
    WATCHER,
    WRITINGS,
    echoing,
    proxy_at,
    section,
    written,
)
from tests.secrecy.witness import Witness
from tests.stores import BOTH
from tests.tiers import quick_first

STORES = BOTH

ALL = " ".join(SECRETS)
#: a name whose address is that of cloud metadata; in a URL that address would be a mistake
METADATA = "metadata.test"


# --- what a receiver says


@pytest.mark.parametrize("status", quick_first([400, 200, 503, 204, 302, 401, 404, 410, 413, 429], 3))
def test_a_receiver_repeats_all_that_it_was_sent(
    plant: Callable[..., Settings], hostile: Callable[..., Hostile], send: Callable[..., None], status: int
) -> None:
    send(plant(hostile(echoing(status)).place), 2)


@pytest.mark.parametrize("writing", quick_first(WRITINGS, 4))
def test_a_receiver_repeats_it_in_another_writing(
    plant: Callable[..., Settings], hostile: Callable[..., Hostile], send: Callable[..., None], writing: str
) -> None:
    send(plant(hostile(echoing(400, writing)).place))


def test_slack_repeats_it(
    plant: Callable[..., Settings], hostile: Callable[..., Hostile], send: Callable[..., None]
) -> None:
    send(plant(hostile(echoing(200)).place, format="slack"))


@pytest.mark.parametrize("format", FORMAT_KEYS)
@pytest.mark.parametrize("status", [400, 200])
def test_a_service_repeats_the_keys_of_its_format(
    plant: Callable[..., Settings],
    hostile: Callable[..., Hostile],
    send: Callable[..., None],
    format: str,
    status: int,
) -> None:
    keys = FORMAT_KEYS[format]
    send(plant(hostile(echoing(status, secrets=(*OWN, *keys.values()))).place, format=format, **keys))


@pytest.mark.parametrize("status", quick_first([400, 413]))
def test_a_batch_is_split(
    plant: Callable[..., Settings],
    hostile: Callable[..., Hostile],
    send: Callable[..., None],
    outbox: Outbox,
    status: int,
) -> None:
    send(plant(hostile(echoing(status)).place, batch_size=3), steps=6, events=3)
    assert outbox.scans.tallies()["dead"] == 3


def test_retries_are_used_up(
    plant: Callable[..., Settings], hostile: Callable[..., Hostile], send: Callable[..., None], outbox: Outbox
) -> None:
    send(plant(hostile(echoing(503)).place, max_retries=0), steps=1)
    assert sql(outbox, "SELECT reason FROM delivery WHERE state = 'dead'") == [("retries_exhausted: http_503",)]


# --- no reply


@dataclass
class Stage:
    """What situations are made of."""

    folder: Path
    hostile: Callable[..., Hostile]
    receive: Callable[..., Team]
    mtls: ssl.SSLContext
    authority: Authority
    other_authority: Authority
    middlemen: list[Middleman]

    def proxy(self, kind: type[Middleman], **values: Any) -> dict[str, Any]:
        self.middlemen.append(kind(**values))
        return {"place": "https://receiver.test", "proxy": proxy_at(self.middlemen[-1].url)}

    def certificate(self, name: str, issuer: Authority | None = None, **values: Any) -> dict[str, Any]:
        made = (issuer or self.authority).issue(name, client=True, **{"password": KEY_PASSWORD.encode(), **values})
        return self.files(made.cert, made.key)

    def files(self, cert: Path, key: Path, **keys: Any) -> dict[str, Any]:
        place = self.receive((), self.mtls).receiver.url.rpartition("/")[0]
        return {"place": place, "client_cert": cert, "client_key": key, "ca_bundle": self.authority.cert, **keys}

    def nothing(self, name: str) -> Path:
        (self.folder / name).write_text(ALL, encoding="utf-8")
        return self.folder / name


def with_tokens(stage: Stage, status: int) -> dict[str, Any]:
    """Return an endpoint whose token endpoint answers with a status and all that it was sent."""
    place = stage.hostile(echoing(status)).place
    keys = {"token_url": f"{place}/{PATH_TOKEN}", "client_id": BASIC_USER, "client_secret": BASIC_PASSWORD}
    return {"place": place, "auth": "oauth2", "api_key": None, "header__X-Key": API_KEY, **keys}


#: name -> what must come, and how the endpoint is made for which it does
SITUATIONS: dict[str, tuple[Failure, Callable[[Stage], dict[str, Any]]]] = {
    "no such host": (Failure.DNS, lambda stage: {"place": "http://no-such-host.invalid"}),
    "cloud metadata": (Failure.ADDRESS, lambda stage: {"place": f"http://{METADATA}"}),
    "a private address": (Failure.ADDRESS, lambda stage: {"place": "http://localhost:1", "allow_private": "false"}),
    "an address of another machine": (
        Failure.SOURCE,
        lambda stage: {"place": "http://127.0.0.1:1", "source_address": "192.0.2.200"},
    ),
    "a client that is refused a token": (Failure.TOKEN_REFUSED, lambda stage: with_tokens(stage, 401)),
    "a busy token endpoint": (Failure.TOKEN_UNAVAILABLE, lambda stage: with_tokens(stage, 503)),
    "no certificate": (
        Failure.TLS_REFUSED,
        lambda stage: {"place": stage.files(Path(), Path())["place"], "ca_bundle": stage.authority.cert},
    ),
    "a stranger's certificate": (
        Failure.TLS_REFUSED,
        lambda stage: stage.certificate("stranger", stage.other_authority),
    ),
    "a missing certificate": (
        Failure.CERTIFICATE,
        lambda stage: stage.certificate("c1") | {"client_cert": stage.folder / "none.pem"},
    ),
    "a missing key": (
        Failure.CERTIFICATE,
        lambda stage: stage.certificate("c2") | {"client_key": stage.folder / "none.key"},
    ),
    "a certificate that is no PEM": (
        Failure.CERTIFICATE,
        lambda stage: stage.certificate("c3") | {"client_cert": stage.nothing("no.pem")},
    ),
    "a key that is no PEM": (
        Failure.CERTIFICATE,
        lambda stage: stage.certificate("c4") | {"client_key": stage.nothing("no.key")},
    ),
    "a wrong password": (Failure.CERTIFICATE, lambda stage: stage.certificate("c5", password=b"another")),
    "a password for nothing": (Failure.CERTIFICATE, lambda stage: stage.certificate("c6", password=None)),
    "a key of another certificate": (
        Failure.CERTIFICATE,
        lambda stage: stage.certificate("c7") | {"client_cert": stage.certificate("c8")["client_cert"]},
    ),
    "an expired certificate": (Failure.CERTIFICATE, lambda stage: stage.certificate("c9", days=-1)),
    "a certificate of the future": (
        Failure.CERTIFICATE,
        lambda stage: stage.certificate("c10", not_before_days=1),
    ),
    "no CAs": (
        Failure.CERTIFICATE,
        lambda stage: {"place": "https://127.0.0.1:1", "ca_bundle": stage.nothing("ca.pem")},
    ),
    "a folder without CAs": (
        Failure.CERTIFICATE,
        lambda stage: {"place": "https://127.0.0.1:1", "ca_bundle": stage.nothing("x").parent},
    ),
    "a proxy that is not there": (
        Failure.PROXY,
        lambda stage: {"place": "http://a.test", "proxy": proxy_at(stage.hostile(refusing).place)},
    ),
    "a proxy that repeats all": (Failure.PROXY, lambda stage: stage.proxy(Middleman, refusal=f"502 {ALL}")),
    "a proxy that says much before": (
        Failure.PROXY,
        lambda stage: stage.proxy(Middleman, refusal=f"502 {'no ' * 320}{ALL}"),
    ),
    "a proxy that knows somebody else": (
        Failure.PROXY_REFUSED,
        lambda stage: stage.proxy(Middleman, credentials="else:else"),
    ),
    "a SOCKS proxy that fails": (Failure.PROXY, lambda stage: stage.proxy(SocksMiddleman, refusal="1")),
    "a SOCKS proxy that reaches nobody": (
        Failure.CONNECTION,
        lambda stage: stage.proxy(SocksMiddleman, refusal="4"),
    ),
    "a SOCKS proxy that knows somebody else": (
        Failure.PROXY_REFUSED,
        lambda stage: stage.proxy(SocksMiddleman, credentials="else:else"),
    ),
}


@pytest.fixture
def stage(
    tmp_path_factory: pytest.TempPathFactory,
    hostile: Callable[..., Hostile],
    receive: Callable[..., Team],
    mtls: ssl.SSLContext,
    authority: Authority,
    other_authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    def look(host: str, *args: Any) -> list[Any]:
        return socket.getaddrinfo("169.254.169.254" if host == METADATA else host, *args)

    monkeypatch.setattr("sfwebhooks.network.route.getaddrinfo", look)
    made = Stage(tmp_path_factory.mktemp("stage"), hostile, receive, mtls, authority, other_authority, [])
    yield made
    for middleman in made.middlemen:
        middleman.close()


@pytest.mark.parametrize("situation", quick_first(SITUATIONS, 5))
def test_nothing_comes_back(
    stage: Stage, plant: Callable[..., Settings], send: Callable[..., None], outbox: Outbox, situation: str
) -> None:
    failure, make = SITUATIONS[situation]
    send(plant(**{"timeout": "5s", **make(stage)}))
    assert (failure.value,) in sql(outbox, "SELECT reason FROM delivery_attempt")


def test_each_failure_has_a_situation() -> None:
    ours = {Failure.SHORTAGE, Failure.TEMPLATE}  # no receiver brings these about
    brought_about = {failure for failure, _ in SITUATIONS.values()} | {evil.came for evil in EVILS.values()}
    assert brought_about >= set(Failure) - ours


@pytest.mark.slow
def test_hostile_receivers_do_harm(
    hostile: Callable[..., Hostile],
    contexts: dict[str, Any],
    authority: Authority,
    settings_folder: Path,
    witness: Witness,
    outbox: Outbox,
    dispatch: Callable[..., Dispatcher],
) -> None:
    sections = [WATCHER]
    for number, evil in enumerate(EVILS.values()):
        place = hostile(evil.way, contexts[evil.tls]).place
        place = place.replace("http:", "https:") if evil.tls == "raw" else place
        keys = {
            "ca_bundle": authority.cert,
            "format": evil.format,
            "timeout": "3s" if evil.endless else "15s",  # all of them at once take a while
        }
        sections.append(section(f"evil-{number}", place, **keys))
    _, *found = load(written(settings_folder, *sections)).endpoints
    put(outbox, *found)
    dispatch(*found).wake()
    expected = {f"evil-{number}": evil.reason or reason_of(evil.came) for number, evil in enumerate(EVILS.values())}
    until = soon()
    while len(came := reasons(outbox)) < len(expected) and time.monotonic() < until:
        time.sleep(0.05)
    assert came == expected
    witness.run("deliveries", "--json")


class Mouthpiece:
    """In the place of a Sender: gives a reply that no network gives."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply

    def send(self, request: object) -> Reply:
        return self.reply

    def close(self) -> None:
        pass


@pytest.mark.parametrize("failure", quick_first(OUTCOME_OF_FAILURE, 3))
def test_a_failure_is_shown_in_words_for_all_of_it(
    plant: Callable[..., Settings], witness: Witness, outbox: Outbox, clock: Clock, failure: Failure
) -> None:
    found = plant("http://127.0.0.1:1", proxy=proxy_at("http://127.0.0.1:1"))
    queue = SendQueue(found.endpoints[:1], outbox, clock)
    queue.states[0].sender = Mouthpiece(Reply(failure=failure, detail=ALL))  # type: ignore[assignment]  # it only speaks
    put(outbox, found.endpoints[0])
    for _ in range(FAILURES_MAX + 1):
        queue.step()
        clock.now += 3600
    queue.stop(soon())
    witness.run("deliveries", "--json")
    assert witness.has_seen(failure.value)
