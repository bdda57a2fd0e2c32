"""The configuration: a Draft of what was written comes in, Settings with their Mistakes go out.

Nothing raises for a wrong value: every mistake is collected with its place. An endpoint with a mistake accepts its
events and is held (`Endpoint.mistake`), and the others work. A mistake in [webhooks] holds the endpoints that would
inherit it: to send without an intended secret or client certificate is worse than to wait.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from sfwebhooks import system
from sfwebhooks.config.contradictions import AUTH_KEYS
from sfwebhooks.config.draft import Draft, Entry, Mistake
from sfwebhooks.config.endpoint import INHERITED, endpoint_of, take_strays, value
from sfwebhooks.config.file import read_mapping, read_settings, read_text
from sfwebhooks.config.filter_warnings import filter_warnings
from sfwebhooks.config.location import find_file, off
from sfwebhooks.config.options import GENERAL_OPTIONS, option_for
from sfwebhooks.config.sections import EXPECT, SECTION
from sfwebhooks.config.severities import severities_of
from sfwebhooks.config.values import alike, nearest
from sfwebhooks.config.warnings import endpoint_warnings, open_to_others
from sfwebhooks.endpoints import Endpoint, Secret, subscribed_name
from sfwebhooks.enrichment.enrichment import Enrichment
from sfwebhooks.errors import ConfigError
from sfwebhooks.events import printable
from sfwebhooks.files import is_deleted
from sfwebhooks.outbox.file import FILE, SPOOL_FILE, Storage
from sfwebhooks.outbox.postgres.dsn import Dsn, Place
from sfwebhooks.severity import DEFAULT_SEVERITIES, Severities, Severity
from sfwebhooks.text_file import FileState

if TYPE_CHECKING:
    from sfwebhooks.expectations import Expectation

#: file systems on which nothing outlives the container or the machine
VANISHING = ("overlay", "aufs", "fuse-overlayfs", "fuse.fuse-overlayfs", "tmpfs", "ramfs")


@dataclass(frozen=True)
class Settings:
    """The whole configuration, as far as it is valid."""

    endpoints: tuple[Endpoint, ...] = ()
    #: valid ones with enabled = false
    off: tuple[Endpoint, ...] = ()
    #: True: in every scan; False: in none; None: in scans that select the module
    enabled: bool | None = None
    #: seconds that a scan's process keeps sending after the scan
    drain_timeout: float = 10.0
    #: longest time in seconds that a delivery process goes on after the last scan; 0: a scan starts none
    detach_timeout: float = 900.0
    #: seconds between two scan_progress of a scan; 0: never
    progress_interval: float = 60.0
    #: address of the outbox on PostgreSQL; None: it is a file in the data folder
    outbox: Secret | None = None
    #: the mistake because of which its place is not known
    outbox_mistake: str = ""
    #: whether scans store their events in a local file, from which they are forwarded to the server
    has_spool: bool = False
    #: how the outbox is kept
    storage: Storage = field(default_factory=Storage)
    #: seconds that delivered messages are kept, and dead letters
    keep_delivered: float = 7 * 86400.0
    keep_dead: float = 90 * 86400.0
    #: seconds that a sighting is kept after the last scan with it
    sightings_keep: float = 400 * 86400.0
    #: where SpiderFoot's database is, if that is on a server, with its password
    host_database: Secret | None = None
    #: lists of CVEs that are known to be exploited, and of how likely CVEs are to be
    kev_file: Path | None = None
    epss_file: Path | None = None
    #: scans that are expected, of [webhooks-expect]
    expected: tuple[Expectation, ...] = ()
    #: of findings, with those of [webhooks-severity]
    severities: Severities = DEFAULT_SEVERITIES
    #: address of our own page in [webhooks]; empty: none is set there
    web_url: str = ""
    #: names of endpoints that are not used: they are off, or their events are not known
    unused: frozenset[str] = frozenset()
    file: Path | None = None
    #: states of its own file and those of values (file:PATH), from before they were read; also of missing ones
    files: Mapping[Path, FileState] = field(default_factory=dict)
    mistakes: tuple[Mistake, ...] = ()
    #: False: there may be an endpoint whose name or events are not known, and which accepts nothing
    is_complete: bool = True
    #: about valid settings that are worth a look
    warnings: tuple[str, ...] = ()

    @property
    def known(self) -> tuple[Endpoint, ...]:
        """The endpoints, also those that are off."""
        return (*self.endpoints, *self.off)

    @property
    def digest(self) -> str:
        """Hash over the settings of all endpoints, with their secrets: processes with equal ones send the same."""
        texts = [f"{endpoint.name} {endpoint.fingerprint}" for endpoint in self.endpoints]
        texts += [repr(self.severities.overrides)] if self.severities.overrides else []
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:32]

    @cached_property
    def enrichment(self) -> Enrichment:
        """The severities, and what these files say of CVEs; they are read when the first one comes."""
        return Enrichment(self.kev_file, self.epss_file, self.severities)

    def place(self, data_folder: Path) -> Place:
        """Return where the outbox is.

        Raises:
            ConfigError: a mistake makes that unknown.
        """
        if self.outbox_mistake:
            raise ConfigError(f"{self.file or 'settings'}: {self.outbox_mistake}")
        return Dsn(self.outbox.reveal(), data_folder.absolute()) if self.outbox else data_folder / FILE

    def spool_in(self, data_folder: Path) -> Path | None:
        """Return where the spool is; None: scans have none.

        Raises:
            ConfigError: it would not outlive the machine or its container.
        """
        if not self.has_spool:
            return None
        kind = system.file_system(data_folder.absolute())
        if kind in VANISHING:
            raise ConfigError(
                f"{self.file or 'settings'}: [webhooks] spool = sqlite: {data_folder} is on {kind} and is lost with its"
                " container or machine; mount a volume there, or set spool = none"
            )
        return data_folder.absolute() / SPOOL_FILE

    def spool_left_in(self, data_folder: Path) -> Path | None:
        """Return from where events are to be forwarded to the outbox, also if scans no longer store them there, and the
        outbox is a file now; None: there never was a spool."""
        path = data_folder.absolute() / SPOOL_FILE
        return path if self.has_spool or not is_deleted(path) else None

    def is_at(self, place: Place) -> bool:
        """Return whether the outbox is still where these settings, in another state, said that it is."""
        named = self.outbox.reveal() if self.outbox else None
        return not self.outbox_mistake and named == (place.text if isinstance(place, Dsn) else None)

    @property
    def held(self) -> dict[str, str]:
        """The endpoints that accept events but are held: name -> the mistake in its settings."""
        return {endpoint.name: endpoint.mistake for endpoint in self.endpoints if endpoint.mistake}

    def usable(self, name: str) -> Endpoint:
        """Return an endpoint that is sent to, or would be but for a mistake in its settings.

        Raises:
            ConfigError: there is none of that name, or it is off, or its events are not known.
        """
        endpoints = {endpoint.name: endpoint for endpoint in self.endpoints}
        if name in (endpoint.name for endpoint in self.off):
            raise ConfigError(f'endpoint "{name}" is off (enabled = false in its section); sfwebhooks enable {name}')
        if name in self.unused:
            raise ConfigError(f'endpoint "{name}" cannot be used because its settings have a mistake: sfwebhooks check')
        if name not in endpoints:
            there_are = f"there are: {', '.join(endpoints) or 'none'}"
            raise ConfigError(f'there is no endpoint "{name}"; {there_are}.{nearest(name, endpoints)}')
        return endpoints[name]


def load(path: Path | None) -> Settings:
    """Return the settings of a file; without one, settings without endpoints."""
    if path is None:
        return Settings()
    return _loaded(path.absolute(), read_settings)  # another process may have another folder


def active(
    options: Mapping[str, Any], data_folder: Path, read: Callable[[Path | None], Settings] = load
) -> Settings | None:
    """Return the settings to use, or None if webhooks are off: by the environment, the module's option, or the file.

    Args:
        options: the module's options `config` and `enabled`, among others.
        read: returns the settings of a file.
    """
    if off(options):
        return None
    settings = read(find_file(str(options.get("config") or ""), data_folder))
    return None if settings.enabled is False else settings


def load_text(path: Path, text: str) -> Settings:
    """Return the settings that a file would have with another text, whose lines end with newlines."""
    return _loaded(path.absolute(), partial(read_text, text))


def _loaded(path: Path, read: Callable[[Path, Draft], None]) -> Settings:
    shown = printable(str(path))
    draft = Draft(shown, path.parent)
    try:
        read(path, draft)
    except ConfigError as error:
        draft.mistakes.append(Mistake(shown, "", "", "", str(error)))
        draft.incomplete = True
    return _settle(draft, path)


def load_mapping(mapping: Mapping[str, Any], name: str = "settings", folder: Path | None = None) -> Settings:
    """Return the settings of a mapping: endpoint name -> its keys, and the keys of [webhooks]."""
    draft = Draft(name, folder or Path())
    read_mapping(mapping, draft)
    return _settle(draft, None)


def _settle(draft: Draft, file: Path | None) -> Settings:
    general, inherited = _general(draft)
    outbox, outbox_mistake = _outbox(general, draft)
    take_strays(draft)
    expected = _expected(draft)
    severities = severities_of(draft)
    made = [endpoint_of(name, keys, inherited, draft) for name, keys in draft.endpoints.items()]
    endpoints = tuple(endpoint for endpoint in made if endpoint and endpoint.enabled)
    own = ("enabled", "drain_timeout", "detach_timeout", "progress_interval", "keep_delivered", "keep_dead",
           "sightings_keep", "host_database", "kev_file", "epss_file")  # fmt: skip
    values = {key: general[key] for key in own if key in general}
    megabytes = general.get("outbox_max_mb")
    storage = Storage(megabytes * 1_000_000 if megabytes else Storage.max_bytes, general.get("durability", False))
    return Settings(
        endpoints=endpoints,
        off=tuple(endpoint for endpoint in made if endpoint and not endpoint.enabled),
        outbox=outbox,
        outbox_mistake=outbox_mistake,
        has_spool=bool(outbox) and general.get("spool") == "sqlite",
        storage=storage,
        expected=expected,
        severities=severities,
        web_url=inherited.get("web_url", ""),
        unused=frozenset(draft.endpoints) - {endpoint.name for endpoint in endpoints},
        file=file,
        files=draft.files,
        mistakes=tuple(draft.mistakes),
        is_complete=not draft.incomplete,
        warnings=tuple(
            dict.fromkeys([*_warnings(draft, file, endpoints, values, severities), *_unread(expected, endpoints)])
        ),
        **values,
    )


def _outbox(general: Mapping[str, Any], draft: Draft) -> tuple[Secret | None, str]:
    """Return the address of the outbox, or the mistake because of which its place is not known."""
    outbox: Secret | None = general.get("outbox")
    given = draft.general.get("outbox")
    if given and "spool" not in draft.general:
        draft.wrong(
            given,
            "requires spool = sqlite (a scan stores its events in a local file, from which they are forwarded: for a"
            " disk that is kept) or spool = none (on the server itself, and in memory while it is away)",
        )
    if not given and "spool" in general:
        draft.doubt(draft.general["spool"], "has no effect without outbox = postgresql://...")
    wrong = {**draft.doubtful, **draft.broken[""]}
    mistake = wrong.get("outbox", "") or (wrong.get("spool", "") if given else "")
    return (None, mistake) if mistake else (outbox, "")


def _expected(draft: Draft) -> tuple[Expectation, ...]:
    if not draft.expected:
        return ()
    from sfwebhooks.config.expected import expected_scans  # cron expressions, which a scan's process does not need

    return expected_scans(draft)


def _unread(expected: Collection[Expectation], endpoints: Iterable[Endpoint]) -> list[str]:
    """Return the warning that no endpoint wants to know of missed scans, if so."""
    wanted = any(subscribed_name(one.events, "scan_missed", Severity.INFO, None) for one in endpoints)
    return [f"[{EXPECT}] expects scans, but no endpoint subscribes to scan_missed"] if expected and not wanted else []


def _general(draft: Draft) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values of [webhooks] itself, and what endpoints inherit."""
    values: dict[str, Any] = {}
    inherited: dict[str, Any] = {}
    for key, entry in draft.general.items():
        option = GENERAL_OPTIONS.get(key) or option_for(key)
        if option and key in GENERAL_OPTIONS:
            values.update(value(option, key, entry, draft))
        elif option and option.inherited:
            inherited.update(value(option, key, entry, draft))
        else:
            _note_unknown(entry, key, draft)
    return values, inherited


def _note_unknown(entry: Entry, key: str, draft: Draft) -> None:
    """Note an unknown key of [webhooks]; it holds the endpoints that would inherit the key that was meant.

    One that closely resembles no key may have been meant to protect any of them.
    """
    known = [*GENERAL_OPTIONS, *INHERITED]
    problem = f"there is no such key in [{SECTION}].{draft.nearest('default_url' if key == 'url' else key, known)}"
    if draft.is_full:
        draft.broken[""].setdefault("", problem)
        return
    draft.note(entry, problem)
    near = ["default_url"] if key == "url" else [key] if option_for(key) else alike(key, known)
    if key == "auth" or key in AUTH_KEYS:  # it stands in the wrong place, and was meant to protect all of them
        near = [""]
    words = printable(f"{entry.shown_key}: {problem}")
    for name in near or [""]:
        if name not in GENERAL_OPTIONS or name in ("enabled", "outbox"):
            draft.broken[""].setdefault(name, words)
    if nearest(key, ["events"]):
        draft.broken[""].setdefault("events", words)
    if "default_url" in near:
        draft.endpoints.setdefault("default", {})


def _warnings(
    draft: Draft, file: Path | None, endpoints: tuple[Endpoint, ...], values: Mapping[str, Any], severities: Severities
) -> Iterator[str]:
    """Yield the warnings about valid settings; `values` are those of [webhooks] itself."""
    yield from draft.doubts
    entries = [*draft.general.values(), *(entry for keys in draft.endpoints.values() for entry in keys.values())]
    if file and not (entries or draft.endpoints or draft.mistakes):
        yield f"{file} sets nothing: it has no [{SECTION}] section, or an empty one"
    for endpoint in endpoints:
        yield from () if endpoint.mistake else endpoint_warnings(endpoint)
        yield from () if endpoint.mistake else filter_warnings(endpoint, severities, draft.endpoints[endpoint.name])
    is_secret = {path: False for path in values.values() if isinstance(path, Path)}
    is_secret.update(dict.fromkeys((path for one in endpoints for path in one.files), False))
    is_secret.update(dict.fromkeys((key for one in endpoints if (key := one.client_key or one.client_cert)), True))
    is_secret.update({path: path not in draft.plain for path in draft.files})
    if file:
        is_secret[file] = any(map(_is_written_secret, entries))
    yield from filter(None, (open_to_others(path, secret) for path, secret in is_secret.items()))


def _is_written_secret(entry: Entry) -> bool:
    """Return whether an entry contains a secret itself rather than a reference to it."""
    key = entry.place[1]
    option = GENERAL_OPTIONS.get(key) or option_for(key)
    return bool(option and option.secret) and not entry.text.startswith(("env:", "file:"))
