"""A secret's own file: a path and a secret come in, a new file that only its owner can read goes out."""

from __future__ import annotations

import os
from pathlib import Path

from sfwebhooks.errors import ConfigError
from sfwebhooks.outbox.permissions import make


def write_secret(path: Path, secret: str) -> None:
    """Write a secret to a new file that only its owner can read.

    Raises:
        ConfigError: the file exists or cannot be written.
    """
    try:
        number = make(path)
    except FileExistsError as error:
        raise ConfigError(f"{path} already exists; it was not changed") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(number, "w", encoding="ascii") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(file.fileno())  # the settings that name it survive a power failure
    except OSError as error:
        path.unlink()  # it is ours, and incomplete
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
