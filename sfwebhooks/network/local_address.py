"""An Endpoint comes in; the address of this machine from which its receiver is reached goes out.

Receivers with a list of allowed addresses need it. It is the operating system's choice, or `source_address`.
"""

from __future__ import annotations

import socket
import time

from sfwebhooks.attempts import NoReplyError, Reply
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import AddressError
from sfwebhooks.network.budget import Budget
from sfwebhooks.network.route import CONNECT_SECONDS, Place, Route, bind, connect_error
from sfwebhooks.network.sender import failed
from sfwebhooks.reasons import Failure


def local_address(endpoint: Endpoint, seconds: float = CONNECT_SECONDS) -> str:
    """Return the address of this machine from which an endpoint without a mistake, or its proxy, is reached.

    Nothing is sent to it: connecting a UDP socket only makes the system choose a route. A name is looked up.

    Args:
        seconds: most time for looking up the name.

    Raises:
        NoReplyError: there is none; its `reply` has the Failure, and in `detail` the words for it.
    """
    route, budget = Route.to(endpoint), Budget(time.monotonic() + seconds)
    try:
        return _chosen(route.places(budget), route.source)
    except AddressError as error:
        raise NoReplyError(Reply(failure=Failure.ADDRESS, detail=str(error))) from error
    except OSError as error:
        raise NoReplyError(failed(error, budget.phase)) from error


def _chosen(places: list[Place], source: str) -> str:
    """Return the address of this machine that the system chooses for the first place to which there is a route."""
    problem: Exception = OSError("there is no address to connect to")
    for place in places:
        with socket.socket(place.family, socket.SOCK_DGRAM) as sock:
            if source:
                bind(sock, source)
            code = sock.connect_ex(place.address)
            if not code:
                return str(sock.getsockname()[0])
            problem = connect_error(code, place, source)
    raise problem
