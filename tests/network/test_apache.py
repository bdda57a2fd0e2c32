"""A real Apache that asks for the client certificate of one path only, so after the handshake."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sfwebhooks.demo.certificates import Authority, Identity
from sfwebhooks.network.sender import Sender
from sfwebhooks.signing import Request
from tests.builders import PATIENCE, an_endpoint
from tests.hostile import held_port

APACHE = shutil.which("apache2", path="/usr/sbin:/usr/bin") or ""
MODULES = Path("/usr/lib/apache2/modules")
CONFIGURATION = """
ServerName localhost
User nobody
Group nogroup
ServerRoot {folder}
PidFile {folder}/pid
ErrorLog /dev/stderr
DocumentRoot {pages}
Listen 127.0.0.1:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule ssl_module {modules}/mod_ssl.so
SSLEngine on
SSLProtocol -all +{version}
SSLCertificateFile "{server.cert}"
SSLCertificateKeyFile "{server.key}"
SSLCACertificateFile "{ca}"
<Location /private>
  SSLVerifyClient require
  SSLVerifyDepth 3
</Location>
"""

pytestmark = pytest.mark.skipif(
    not (APACHE and (MODULES / "mod_ssl.so").exists()), reason="Apache is not installed: apt-get install apache2-bin"
)


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def apache(
    request: pytest.FixtureRequest, tmp_path: Path, server_identity: Identity, authority: Authority
) -> Iterator[str]:
    """Start Apache; its URL."""
    pages = Path(tempfile.mkdtemp())  # not in tmp_path, which only its owner can read
    pages.chmod(0o755)
    for page in ("private", "open"):
        (pages / page).write_text("ok")
    with held_port() as holder:
        port = holder.getsockname()[1]
    values = {"folder": tmp_path, "pages": pages, "modules": MODULES, "server": server_identity, "ca": authority.cert}
    (tmp_path / "conf").write_text(CONFIGURATION.format(version=request.param, port=port, **values))
    process = subprocess.Popen(
        [APACHE, "-D", "FOREGROUND", "-f", str(tmp_path / "conf")], stderr=subprocess.PIPE, text=True
    )
    begun, said = threading.Event(), []

    def listen() -> None:
        for line in process.stderr or ():
            said.append(line)
            if "resuming normal operations" in line:
                begun.set()

    threading.Thread(target=listen, daemon=True).start()
    assert begun.wait(PATIENCE), said
    yield f"https://127.0.0.1:{port}"
    process.terminate()
    process.wait(PATIENCE)
    shutil.rmtree(pages)


@pytest.mark.parametrize("page", ["open", "private"])
def test_apache_gets_our_certificate_for_the_path_that_wants_it(
    apache: str, authority: Authority, client_identity: Identity, page: str
) -> None:
    endpoint = an_endpoint(
        url=f"{apache}/{page}",
        timeout=PATIENCE,
        ca_bundle=authority.cert,
        client_cert=client_identity.cert,
        client_key=client_identity.key,
    )
    sender = Sender(endpoint)
    replies = [sender.send(Request(endpoint.url, {"Content-Type": "application/json"}, b"{}")) for _ in range(2)]
    sender.close()
    assert [(reply.status, reply.detail, reply.body) for reply in replies] == [(200, "", b"ok")] * 2


def test_apache_refuses_a_client_without_a_certificate_at_that_path(apache: str, authority: Authority) -> None:
    endpoint = an_endpoint(url=f"{apache}/private", timeout=PATIENCE, ca_bundle=authority.cert)
    sender = Sender(endpoint)
    reply = sender.send(Request(endpoint.url, {"Content-Type": "application/json"}, b"{}"))
    sender.close()
    assert reply.status == 403 or reply.failure
