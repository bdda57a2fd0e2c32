"""A DataFile: a file of the operator, read when it is first needed, and again after it has changed."""

from __future__ import annotations

import gzip
import json
import logging
import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any, Callable, Generic, Protocol, TypeVar, Union

from sfwebhooks.enrichment.cves import DATE
from sfwebhooks.files import content
from sfwebhooks.text_file import FileState, state_of

log = logging.getLogger("spiderfoot.webhooks")
#: seconds between two looks whether a file has changed
LOOK_SECONDS = 60.0
#: days after which its data are called old
OLD_DAYS = 30
#: most bytes of JSON, which takes many times its size in memory
JSON_MAX = 8 * 1_048_576
GZIP = b"\x1f\x8b"
#: the logger to use, or one that knows the scan
Logger = Union[logging.Logger, "logging.LoggerAdapter[logging.Logger]"]


class Dataset(Protocol):
    """The content of a file."""

    @property
    def count(self) -> int:
        """The number of CVEs."""

    @property
    def date(self) -> str:
        """The day of the data, such as 2026-11-28; empty if it is not known."""

    @property
    def doubt(self) -> str:
        """What is wrong with parts of the file, which are skipped; empty: nothing."""


Data = TypeVar("Data", bound=Dataset)


class UnusableDataError(Exception):
    """A file cannot be used. The text says why, and what is expected."""


@dataclass(frozen=True)
class Kind(Generic[Data]):
    """What is known of a kind of file."""

    #: the key of the settings that names the file
    key: str
    #: reads its content; a ValueError says what is wrong
    parse: Callable[[bytes], Data]
    #: most bytes, also once decompressed
    most: int
    #: the consequence if it cannot be used
    without: str


class DataFile(Generic[Data]):
    """A file that the operator provides. Several threads may use it at once.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, kind: Kind[Data], path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.key = kind.key
        self.path = path
        #: where trouble is logged
        self.log: Logger = log
        self._kind = kind
        self._clock = clock
        #: held while the file is looked at and read
        self._lock = threading.Lock()
        self._data: Data | None = None
        #: state of the file when it was last read; None: never, or it is to be read again
        self._state: FileState | None = None
        self._looked_at = float("-inf")
        self._trouble = ""

    def data(self) -> Data | None:
        """Return the content, or None if it never could be read; trouble is logged once. Never raises."""
        with self._lock:
            now = self._clock()
            if now - self._looked_at >= LOOK_SECONDS:
                self._looked_at, state = now, state_of(self.path)
                if state != self._state:
                    self._state = state
                    self._read_again()
            return self._data

    def read(self) -> Data:
        """Read the file now.

        Raises:
            UnusableDataError: it cannot be used.
        """
        try:
            return self._kind.parse(_plain(content(self.path, self._kind.most), self._kind.most))
        except OSError as error:
            raise UnusableDataError(error.strerror or str(error)) from error
        except MemoryError as error:
            raise UnusableDataError("there is not enough memory to read it") from error
        except ValueError as error:
            raise UnusableDataError(str(error)) from error
        except Exception as error:  # would cost the finding, or the report of the scan's end, for what is in a file
            raise UnusableDataError(f"it cannot be read: {type(error).__name__}: {error}") from error

    def warnings(self, data: Data, now: float) -> list[str]:
        """Return what is doubtful about the content that was read, each as a whole sentence.

        Args:
            now: epoch seconds.
        """
        found = [data.doubt] if data.doubt else []
        if data.date and (date.fromtimestamp(now) - date.fromisoformat(data.date)).days > OLD_DAYS:
            found.append(f"its data are of {data.date}, more than {OLD_DAYS} days old: download it again")
        return [f"{self.key} {self.path}: {words}" for words in found]

    def _read_again(self) -> None:
        try:
            self._data = self.read()
        except UnusableDataError as error:
            if not isinstance(error.__cause__, ValueError):  # it may be readable later without a change of the file
                self._state = None
            former = "the data read before are still used" if self._data else self._kind.without
            self._report(f"{self.key} {self.path}: {error}; {former}")
            return
        if self._trouble:
            self.log.info("webhooks: %s %s can be used again", self.key, self.path)
        self._trouble = ""
        for warning in self.warnings(self._data, time.time()):
            self.log.warning("webhooks: %s", warning)

    def _report(self, trouble: str) -> None:
        self.log.log(logging.DEBUG if trouble == self._trouble else logging.WARNING, "webhooks: %s", trouble)
        self._trouble = trouble


def json_object(data: bytes, expected: str) -> Mapping[str, Any]:
    """Read a JSON object whose numbers stay texts.

    Args:
        expected: which file it should be.

    Raises:
        ValueError: it is not one.
    """
    if len(data) > JSON_MAX:
        raise ValueError(f"it has more than the accepted {JSON_MAX:,} bytes of JSON; expected {expected}")
    try:
        # an integer of a million digits would take minutes to read
        found = json.loads(data.decode("utf-8-sig"), parse_int=str, parse_float=str, parse_constant=str)
    except RecursionError as error:
        raise ValueError(f"its JSON is nested too deeply; expected {expected}") from error
    except ValueError as error:
        raise ValueError(f"it is not JSON that can be read ({error}); expected {expected}") from error
    if not isinstance(found, dict):
        raise ValueError(f"its JSON is not an object; expected {expected}")
    return found


def is_json(data: bytes) -> bool:
    """Return whether a file seems to be JSON."""
    return data.removeprefix(b"\xef\xbb\xbf")[:100].lstrip()[:1] in (b"{", b"[")


def is_day(text: object) -> bool:
    """Return whether a value is a day such as 2026-11-28."""
    if not isinstance(text, str) or not DATE.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _plain(data: bytes, most: int) -> bytes:
    """Return the content of a file that may be compressed with gzip.

    Raises:
        ValueError: it is too long once decompressed, or damaged.
    """
    if not data.startswith(GZIP):
        return data
    try:
        with gzip.GzipFile(fileobj=BytesIO(data)) as file:  # bgzip and pigz write several parts
            whole = file.read(most + 1)
    except EOFError as error:
        raise ValueError("it ends in the middle of its gzip data: download it again") from error
    except (OSError, zlib.error) as error:
        raise ValueError(f"its gzip data are damaged ({error}): download it again") from error
    if len(whole) > most:
        raise ValueError(f"it has more than the accepted {most:,} bytes once decompressed")
    return whole
