"""A host that vanishes in the middle of a write, with all that it has sent and none of what it would have sent next."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

import pytest

from sfwebhooks.errors import OutboxBusyError
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn
from tests.builders import an_endpoint
from tests.conftest import put
from tests.crash.fleet import Fleet
from tests.machines import demand_machines
from tests.postgres import demand
from tests.threads import until

ONE_STORE = "it is about servers"

#: seconds after which others write again
SECONDS_MAX = 45.0


@pytest.mark.slow
def test_it_holds_up_others_for_seconds_although_the_server_waits_for_more_of_its_statements(tmp_path: Path) -> None:
    demand()
    demand_machines()
    with Fleet(tmp_path, {}) as fleet:
        node = fleet.add("host-1")
        with (
            node.machine.inside(),
            closing(Outbox(Dsn(fleet.dsn, node.folder))) as outbox,
            outbox.database.reading() as session,
        ):
            pg = session.connection.pgconn  # type: ignore[attr-defined]
            pg.enter_pipeline_mode()
            for statement in (b"BEGIN", b"LOCK TABLE delivery", b"SELECT pg_sleep(1)"):
                pg.send_query_params(statement, [])
            pg.send_flush_request()
            pg.flush()
            until(lambda: fleet.rows("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))
            node.cut()  # nobody acknowledges the answer; and between statements the server has no limit

            def accepts() -> bool:
                with suppress(OutboxBusyError):
                    put(fleet.outbox, an_endpoint())
                    return True
                return False

            assert not accepts()
            until(accepts, SECONDS_MAX)
