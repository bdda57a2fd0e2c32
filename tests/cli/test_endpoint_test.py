"""`sfwebhooks test` with a receiver that confirms a message later."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

from tests.conftest import Result
from tests.formats.conftest import Served, served  # noqa: F401  # a fixture
from tests.receivers.collectors import Splunk

CHANNEL = "0aeeac95-ac74-4aa9-b30d-6c4c0ac581ba"


def test_a_message_that_waits_for_its_acknowledgement_was_accepted(
    cli: Callable[..., Result],
    tmp_path: Path,
    served: Served,  # noqa: F811
) -> None:
    splunk = served(Splunk())
    splunk.acknowledges = True
    path = tmp_path / "webhooks.ini"
    path.touch(0o600)
    keys = {"url": splunk.url, "format": "splunk_hec", "api_key": splunk.token, "splunk_channel": CHANNEL}
    path.write_text("[webhooks.team]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()))
    shown = cli("test", "team")
    assert (shown.code, len(splunk.taken)) == (0, 1)
    assert "accepted, not confirmed yet, hec_pending" in shown.words
