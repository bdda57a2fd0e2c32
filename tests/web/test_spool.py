"""The spool in the API and on the page."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

from sfwebhooks.outbox.file import SPOOL_FILE
from sfwebhooks.outbox.spool import TO_FORWARD, Spool
from tests.builders import an_event
from tests.web.serving import served


def test_the_status_has_the_spool(folder: Path) -> None:
    now = time.time()
    with served(folder, "--no-deliver") as web:
        assert web.client.get("/v1/status").json()["spool"] is None
        with closing(Spool(folder / SPOOL_FILE)) as spool:
            spool.outbox.accept([(an_event(number), TO_FORWARD) for number in (1, 2, 3)], now)
            spool.set_aside(an_event(2), "KeyError: 'new'", now)
            spool.note("outbox db/hooks: Connection refused", "db/hooks", now)
        found = web.viewer.get("/v1/status").json()
        assert found["needs_attention"] is True
        spool_now = found["spool"]
        assert (spool_now["waiting"], spool_now["set_aside"], spool_now["needs_attention"]) == (2, 1, True)
        assert spool_now["trouble"] == spool_now["last_error"] == "outbox db/hooks: Connection refused"
        assert (spool_now["forwarded"], spool_now["last_forwarded_at"]) == (0, None)
