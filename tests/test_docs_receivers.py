"""The receivers in docs/examples, as other people run them: our sender's messages are accepted, all others are not."""

from __future__ import annotations

import base64
import hmac
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.formats.content import Content
from sfwebhooks.receive import Verified, verify
from sfwebhooks.signing import Request, sign
from tests.builders import PATIENCE, a_batch, an_endpoint
from tests.conftest import Result
from tests.receivers import GUIDES
from tests.servers import free_port
from tests.test_docs import PAGES, ROOT
from tests.test_signing import WHSEC
from tests.tiers import quick_first, slow

EXAMPLES = ROOT / "docs" / "examples"
#: language -> how to start the receiver
STARTS: dict[str, Sequence[str]] = {
    "shell": (),
    "python": (sys.executable, "receiver.py"),
    "node": ("node", "receiver.js"),
    "flask": (sys.executable, "receiver_flask.py"),
    "go": ("{build}",),
    "php": ("php", "-S", "127.0.0.1:{port}", "receiver.php"),
    "ruby": ("ruby", "receiver.rb"),
}
#: language -> a command that fails where the language is missing; the others are required
OPTIONAL = {"go": ("go", "version"), "php": ("php", "-v"), "ruby": ("ruby", "-rwebrick", "-e", "")}
SECRETS = {"text": "a sécret, of any length: " + "x" * 60, "whsec": WHSEC}
BODY = '{"event_type":"scan_started","data":{"target":"grüß.example"},"metadata":{}}'.encode()


@cache
def works(command: Sequence[str]) -> bool:
    return bool(shutil.which(command[0])) and subprocess.run(command, capture_output=True).returncode == 0


@cache
def go_program(folder: str) -> str:
    """Return the compiled receiver."""
    program = str(Path(folder) / "receiver")
    subprocess.run(["go", "build", "-o", program, "receiver.go"], cwd=EXAMPLES, check=True, env=go_environment(folder))
    return program


def go_environment(folder: str) -> dict[str, str]:
    return {**os.environ, "GOCACHE": f"{folder}/cache", "GO111MODULE": "off"}


class Running:
    """A receiver as a process of its own; it names its address in its first lines."""

    def __init__(self, command: Sequence[str], secret: str) -> None:
        environment = {**os.environ, "PORT": "0", "WEBHOOK_SECRET": secret, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            command, cwd=EXAMPLES, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._lines: list[str] = []
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.append(line)
            match = re.search(r"http://127\.0\.0\.1:\d+", line)
            if match:
                self.url = match[0]
                return
        raise AssertionError("".join(self._lines))

    def end(self) -> str:
        """End it; return all that it printed."""
        self._process.terminate()
        return "".join(self._lines) + self._process.communicate(timeout=PATIENCE)[0]


class Cgi:
    """A web server with one CGI program (RFC 3875), the shell's receiver."""

    def __init__(self, secret: str) -> None:
        said: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                given = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in self.headers.items()}
                environment = {"PATH": os.environ["PATH"], **given, "WEBHOOK_SECRET": secret}
                done = subprocess.run(
                    [str(EXAMPLES / "receiver.sh")],
                    input=body,
                    env={**environment, "CONTENT_LENGTH": str(len(body))},
                    capture_output=True,
                    check=True,
                )
                said.append(done.stderr.decode())
                self.send_response(int(re.fullmatch(rb"Status: (\d+) [ \w]+\r\n\r\n", done.stdout)[1]))  # type: ignore[index]
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._said = said
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def end(self) -> str:
        self._server.shutdown()
        self._server.server_close()
        return "".join(self._said)


Start = Callable[[str, str], "Running | Cgi"]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start the receiver of a language: `start("node", secret)`."""
    started: list[Running | Cgi] = []
    folder = str(tmp_path_factory.mktemp("go"))

    def begin(language: str, secret: str) -> Running | Cgi:
        command = STARTS[language]
        if language in OPTIONAL and not works(OPTIONAL[language]):
            pytest.skip(f"{language} is not installed")
        if language == "shell":
            started.append(Cgi(secret))
        else:
            build = go_program(folder) if language == "go" else ""
            started.append(Running([part.format(port=free_port(), build=build) for part in command], secret))
        return started[-1]

    yield begin
    for one in started:
        with suppress(OSError):
            one.end()


def post(url: str, request: Request) -> int:
    """Send a request as it is; return the status."""
    connection = http.client.HTTPConnection(url.rpartition("/")[2], timeout=PATIENCE)
    try:
        connection.request("POST", "/", request.body, request.headers)
        return connection.getresponse().status
    finally:
        connection.close()


def signed(*secrets: str, late: float = 0.0) -> Request:
    return sign(Content(BODY), a_batch(), an_endpoint(secrets=secrets), time.time() - late)


def without(request: Request, name: str) -> Request:
    return replace(request, headers={key: value for key, value in request.headers.items() if key != name})


def divided_elsewhere(secret: str) -> Request:
    """Return a request whose signed bytes are those of a genuine one, but a part of its body is now the timestamp."""
    now = f"{time.time():.0f}"
    genuine = sign(Content(f"title.{now}.forged".encode()), a_batch(), an_endpoint(secrets=[secret]), time.time() - 900)
    message_id = f"{genuine.headers['webhook-id']}.{genuine.headers['webhook-timestamp']}.title"
    return replace(
        genuine, body=b"forged", headers={**genuine.headers, "webhook-id": message_id, "webhook-timestamp": now}
    )


def refused(secret: str) -> Iterator[tuple[str, Request]]:
    """Yield what a receiver must not accept, each with its name."""
    right = signed(secret)
    yield "a changed body", replace(right, body=BODY.replace(b"started", b"aborted"))
    yield "a byte more", replace(right, body=BODY + b"\n")
    yield "another secret", signed("another one")
    yield "an old message", signed(secret, late=400)
    yield "one of tomorrow", signed(secret, late=-400)
    yield "not signed", signed()
    yield "another division", divided_elsewhere(secret)
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        yield f"no {name}", without(right, name)
    for name, value in (
        ("webhook-id", "another"),
        ("webhook-timestamp", f"{time.time():.0f}.5"),
        ("webhook-timestamp", "-1"),
        ("webhook-timestamp", "9" * 5000),
        ("webhook-signature", "v1, v1,AAAA v1a,AAAA v2"),
        ("webhook-signature", right.headers["webhook-signature"].replace("v1,", "v1a,")),
        ("webhook-signature", right.headers["webhook-signature"].rstrip("=")),
    ):
        yield f"{name}: {value[:20]}", replace(right, headers={**right.headers, name: value})


LANGUAGES = quick_first(STARTS, 3)


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_receiver_of_the_documents_accepts_what_is_right_and_nothing_else(
    start: Start, language: str, kind: str
) -> None:
    secret = SECRETS[kind]
    receiver = start(language, secret)
    right = [signed(secret), signed("another one", secret), signed(secret, late=200), signed(secret, late=-200)]
    assert [post(receiver.url, request) for request in right] == [200] * len(right)
    statuses = {name: post(receiver.url, request) for name, request in refused(secret)}
    assert statuses == dict.fromkeys(statuses, 401)
    printed = receiver.end()
    assert printed.count(f"{right[0].headers['webhook-id']} {BODY.decode()}") == len(right), printed


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_commands_test_message_arrives_in_it(
    start: Start, cli: Callable[..., Result], tmp_path: Path, language: str
) -> None:
    receiver = start(language, SECRETS["text"])
    for secret, code in ((SECRETS["text"], 0), ("another one, as long", 1)):
        settings = f"[webhooks.team]\nurl = {receiver.url}/\nsecret = {secret}\n"
        (tmp_path / "webhooks.ini").write_text(settings, encoding="utf-8")
        result = cli("test", "team")
        assert (result.code, bool(re.search(r"^reply +401 ", result.out, re.M))) == (code, bool(code)), result.out
    assert '"event_type":"system_alert"' in receiver.end()


@slow
@pytest.mark.parametrize("language", STARTS)
def test_a_receiver_without_a_secret_accepts_nothing(start: Start, language: str) -> None:
    """HMAC with an empty key is one that anybody can make."""
    forged = signed("whsec_!")
    key = hmac.new(b"", f"{forged.headers['webhook-id']}.".encode(), "sha256")
    key.update(f"{forged.headers['webhook-timestamp']}.".encode() + BODY)
    assert forged.headers["webhook-signature"] == f"v1,{base64.b64encode(key.digest()).decode()}"
    try:
        receiver = start(language, "")
    except AssertionError as ended:
        assert "WEBHOOK_SECRET" in str(ended)
        return
    try:
        status = post(receiver.url, forged)
    except (http.client.HTTPException, OSError):  # it ended without an answer
        return
    assert status in (401, 500)


# --- test vectors


def vectors() -> dict[str, Any]:
    found = re.search(r"```json\n(.*?)```", PAGES["receivers.md"], re.S)
    assert found
    loaded: dict[str, Any] = json.loads(found[1])
    return loaded


def headers_of(found: dict[str, Any], vector: dict[str, Any]) -> dict[str, str]:
    standard = {name: found[name] for name in ("webhook-id", "webhook-timestamp")}
    return {**standard, **{name: value for name, value in vector.items() if name.lower().endswith("-signature")}}


def test_the_documented_vectors_are_what_the_sender_signs() -> None:
    found, kinds = vectors(), set()
    for vector in found["signed"]:
        given = headers_of(found, vector)
        kind = "security-audit" if "X-Security-Signature" in given else "generic"
        endpoint = an_endpoint(secrets=vector["secrets"], format=kind)
        sent = sign(Content(found["body"].encode()), a_batch(), endpoint, float(found["webhook-timestamp"]))
        signatures = re.compile("webhook-|X-.*-Signature")
        assert {name: value for name, value in sent.headers.items() if signatures.match(name)} == given
        kinds |= {kind, *(one.partition(",")[0] for one in given["webhook-signature"].split())}
    assert kinds == {"v1", "v1a", *GUIDES}


def test_the_documented_vectors_verify_with_each_of_their_keys() -> None:
    found = vectors()
    stamp = int(found["webhook-timestamp"])
    for vector in found["signed"]:
        for key in (*vector["secrets"], *vector.get("public_keys", ())):
            verified = verify(found["body"].encode(), headers_of(found, vector), key, now=stamp)
            assert verified == Verified(found["webhook-id"], stamp)
