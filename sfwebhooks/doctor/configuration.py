"""Checks of the settings: where they are, whether they are used, and the files that they name."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from sfwebhooks.config.location import disabled, missing, off
from sfwebhooks.config.settings import Settings
from sfwebhooks.doctor.installation import Installation, Level, Report
from sfwebhooks.enrichment.data_file import UnusableDataError
from sfwebhooks.enrichment.enrichment import Enrichment
from sfwebhooks.files import is_deleted
from sfwebhooks.network.tls import expiries, tls_problem
from sfwebhooks.reasons import Failure
from sfwebhooks.scan.host_database import MODULE, READ_SECONDS
from sfwebhooks.scan.own_host import saved_options
from sfwebhooks.text import amount


def configuration(found: Installation) -> Iterator[Report]:
    """Report where the settings are, and their mistakes."""
    if found.settings is None:
        is_missing = found.problem == str(missing(found.folder))
        cure = "sfwebhooks init, then sfwebhooks create" if is_missing else ""
        yield Report("configuration", found.problem, Level.ERROR, cure)
        return
    settings, usable = found.settings, [one for one in found.settings.endpoints if not one.mistake]
    words = [str(settings.file), amount(len(settings.endpoints) + len(settings.off), "endpoint")]
    words += [amount(len(settings.warnings), "warning")] if settings.warnings else []
    ignored = [str(path) for path in _places(found.folder) if path != settings.file and not is_deleted(path)]
    words += [f"{path} is not used" for path in ignored]
    if settings.mistakes:
        first = str(settings.mistakes[0]).removeprefix(f"{settings.file}: ")
        words.append(f"{amount(len(settings.mistakes), 'mistake')}, such as: {first}")
    elif not usable:
        words.append("none of them can be used")
    level = Level.OK if usable and not settings.mistakes else Level.WARNING if usable else Level.ERROR
    helps = "sfwebhooks check shows all of them" if settings.mistakes or settings.warnings else ""
    yield Report("configuration", ", ".join(words), level, helps)


def _places(folder: Path) -> list[Path]:
    """Return files that people may take for the settings: spiderfoot.conf is one only with a section of ours."""
    named = os.environ.get("SFWEBHOOKS_CONFIG")
    return [*([Path(named).absolute()] if named else []), (folder / "webhooks.ini").absolute()]


def switch(found: Installation) -> Iterator[Report]:
    """Report which scans send webhooks."""
    if found.settings:
        words, cure = switch_words(found.settings, saved_options(found.folder, READ_SECONDS))
        yield Report("enabled", words, Level.ERROR if cure else Level.OK, cure)


def switch_words(settings: Settings, saved: Mapping[str, str]) -> tuple[str, str]:
    """Return which scans send webhooks, and what enables them, if nothing is sent.

    Args:
        saved: the module's options on the host's settings page.
    """
    why = off(saved)
    if why:
        cure = "unset SFWEBHOOKS_DISABLED" if disabled() else "select the option of the module Webhooks there"
        return f"webhooks are off ({why})", cure
    if settings.enabled is None:
        return f"webhooks are on in scans that use the module {MODULE}", ""
    if settings.enabled:
        return "webhooks are on in every scan", ""
    return "webhooks are off (enabled = false)", f"remove that line from {settings.file}"


def certificates(found: Installation) -> Iterator[Report]:
    """Report certificate files that cannot be used, and when each of the others expires."""
    seen, now = set(), time.time()
    for endpoint in found.settings.endpoints if found.settings else ():
        problem = "" if endpoint.mistake else tls_problem(endpoint)
        if problem:
            yield Report("certificate", f"{endpoint.name}: {problem}", Level.WARNING, Failure.CERTIFICATE.cure)
        for expiry in expiries(endpoint, now):
            if expiry not in seen and not (problem and expiry.seconds_left < 0):
                seen.add(expiry)
                level, cure = (Level.WARNING, "renew it") if expiry.is_soon else (Level.OK, "")
                yield Report("certificate", expiry.words, level, cure)


def cve_lists(found: Installation) -> Iterator[Report]:
    """Report what kev_file and epss_file have."""
    if found.settings:
        yield from data_files(found.settings.enrichment)


def data_files(enrichment: Enrichment) -> Iterator[Report]:
    """Report what kev_file and epss_file have; each report has the key as its name."""
    for file in enrichment.files:
        try:
            data = file.read()
        except UnusableDataError as error:
            yield Report(file.key, f"{file.path}: {error}", Level.WARNING, f"correct {file.key}, or the file")
            continue
        dated = f", data of {data.date}" if data.date else ""
        doubts = "; ".join(file.warnings(data, time.time()))
        yield Report(file.key, f"{file.path}: {amount(data.count, 'CVE')}{dated}", cure=doubts)
