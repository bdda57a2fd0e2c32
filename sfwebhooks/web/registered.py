"""Registered webhooks: the text of a settings file comes in; each endpoint's settings, as the API shows them, go out.

No secret is shown: a secret value is ***, of a URL there is scheme, host and port. A tag says whether the settings of
an endpoint are still those that somebody saw.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from sfwebhooks.config.draft import Draft, Entry
from sfwebhooks.config.editing import as_read, draft_of
from sfwebhooks.config.endpoint import NAME
from sfwebhooks.config.lists import words
from sfwebhooks.config.options import option_for
from sfwebhooks.config.settings import Settings, load_text
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import NotEditableError
from sfwebhooks.own_secrets import MASK, shown
from sfwebhooks.text_file import decoded_text, settled

#: field of a webhook -> key of the settings; all other keys are in its `settings`
OWN_FIELDS = {
    "url": "url",
    "events": "events",
    "secret": "secret",
    "description": "description",
    "active": "enabled",
    "format": "format",
}
#: of the tags: they reveal nothing about secrets, and differ after a restart
_TAG_KEY = secrets.token_bytes(32)


class Registered:
    """The endpoints in the text of a settings file.

    Args:
        path: of the file.
        text: with its line ends.
    """

    def __init__(self, path: Path, text: str) -> None:
        self.settings: Settings = load_text(path, as_read(text))
        self._draft = Draft(str(path), path.parent)
        with suppress(NotEditableError):  # it is a mistake of the settings as well
            self._draft = draft_of(text, path)

    @classmethod
    def at(cls, path: Path) -> Registered:
        """Read a file.

        Raises:
            NotEditableError: it cannot be read.
        """
        try:
            return cls(path, decoded_text(settled(path)))
        except OSError as error:
            raise NotEditableError(f"{path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise NotEditableError(f"{path} cannot be read: {error}") from error

    @cached_property
    def names(self) -> list[str]:
        """The names of the endpoints; one that cannot be a name is a mistake, and so is a stray key's."""
        used = self.settings.unused | self._known.keys()
        return [name for name in self._draft.endpoints if NAME.fullmatch(name) and name in used]

    @cached_property
    def _known(self) -> Mapping[str, Endpoint]:
        return {endpoint.name: endpoint for endpoint in self.settings.known}

    @property
    def taken(self) -> Collection[str]:
        """All names that an endpoint has."""
        return self._draft.endpoints.keys()

    @property
    def inherited(self) -> Mapping[str, Entry]:
        """The keys of [webhooks] itself."""
        return self._draft.general

    def entries(self, name: str) -> Mapping[str, Entry]:
        """Return an endpoint's own keys."""
        return self._draft.endpoints.get(name, {})

    def endpoint(self, name: str) -> Endpoint | None:
        """Return an endpoint, unless a mistake makes its events unknown."""
        return self._known.get(name)

    def tag(self, name: str) -> str:
        """Return the ETag of an endpoint's own settings (RFC 9110 section 8.8.3)."""
        texts = sorted((key, entry.text) for key, entry in self.entries(name).items())
        digest = hmac.new(_TAG_KEY, repr(texts).encode("utf-8", "backslashreplace"), hashlib.sha256)
        return f'"{digest.hexdigest()[:32]}"'

    def fields(self, name: str) -> dict[str, Any]:
        """Return what is shown of an endpoint, without its live state."""
        entries, made = self.entries(name), self.endpoint(name)
        others = {key: entry for key, entry in entries.items() if key not in OWN_FIELDS.values()}
        return {
            "id": name,
            "url": self.shown_url(name),
            "events": list(made.events) if made else [*words(self._text(name, "events"))],
            "description": made.description if made else self._text(name, "description"),
            "active": made.enabled if made else True,
            "format": made.format if made else self._text(name, "format"),
            "secret_set": bool(made.secrets) if made else "secret" in entries,
            "settings": {_shown_key(entry, key): self._shown_value(name, key) for key, entry in others.items()},
            "mistake": self.mistake(name),
        }

    def mistake(self, name: str) -> str | None:
        """Return the mistake in an endpoint's settings, because of which it is sent nothing."""
        made = self.endpoint(name)
        if made:
            return made.mistake or None
        section = f"webhooks.{name}"
        own = (str(one) for one in self.settings.mistakes if one.section == section or one.key.startswith(f"{name}."))
        return next(own, "its settings have a mistake: sfwebhooks check")

    def shown_url(self, name: str) -> str:
        """Return an endpoint's URL without what may be a secret."""
        made = self.endpoint(name)
        if made is None or not made.url.reveal():
            return MASK if "url" in self.entries(name) else ""
        is_whole = made.url.reveal().rstrip("/") == made.place
        return made.place if is_whole else f"{made.place}/{MASK}"

    def _text(self, name: str, key: str) -> str:
        """Return a value that is not a secret, of an endpoint with a mistake."""
        entry = self.entries(name).get(key)
        return shown(entry.text) if entry else ""

    def _shown_value(self, name: str, key: str) -> str:
        option, text = option_for(key), self.entries(name)[key].text
        if option is None or option.secret:
            return MASK
        return text if self.mistake(name) is None else shown(text)


def _shown_key(entry: Entry, key: str) -> str:
    """Return a key, or its beginning if it may be a secret."""
    return key if entry.shown_key == entry.key else entry.shown_key
