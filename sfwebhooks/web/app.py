"""The application: a site comes in; its routes, behind the guard, go out as an ASGI application."""

from __future__ import annotations

import json
import re
from functools import lru_cache

from fastapi import FastAPI, Response
from starlette.types import ASGIApp

from sfwebhooks.web.api import dead_letters, deliveries, events, reasons, scans, session, statistics, stream, webhooks
from sfwebhooks.web.guard import Guard
from sfwebhooks.web.page_files import add_page
from sfwebhooks.web.problems import COMMON, ProblemBody, WrongValue, add_handlers, problems
from sfwebhooks.web.site import Site

DOCUMENT = "/v1/openapi.json"
ABOUT = (
    "Register webhooks, see what was delivered, and send it again. Times are RFC 3339 in UTC; lists are"
    ' `{"items": [...], "next": ...}`, and `next` is the `cursor` of the next request.'
)
#: before the name of a model in the document, and the end of its name in the code
REFERENCE, BODY = "#/components/schemas/", "Body"
#: the resources
ROUTERS = (
    session.router,
    deliveries.router,
    dead_letters.router,
    scans.router,
    events.router,
    reasons.router,
    statistics.router,
    stream.router,
    webhooks.router,
)


def create_app(site: Site) -> FastAPI:
    """Return the application without the guard."""
    app = FastAPI(
        title="sfwebhooks",
        version="1",
        description=ABOUT,
        openapi_url=None,  # and so none of its pages, which would load scripts of another host
        redirect_slashes=False,
        responses=problems(*COMMON),
    )
    app.state.site = site
    add_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    add_page(app)

    @app.get(DOCUMENT, include_in_schema=False)
    def show_document() -> Response:
        return Response(_document(app), media_type="application/json")

    return app


@lru_cache(maxsize=1)
def _document(app: FastAPI) -> bytes:
    """Return the document of the API; making it takes longer than any answer.

    Its models have plain names: Delivery is DeliveryBody in the code, where another class is called Delivery.
    """
    found = app.openapi()
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    for model in (WrongValue, ProblemBody):
        schemas[model.__name__] = model.model_json_schema(ref_template=f"{REFERENCE}{{model}}")
        schemas[model.__name__].pop("$defs", None)
    for name, schema in schemas.items():
        schema["title"] = name.removesuffix(BODY)
    found["components"]["schemas"] = {schema["title"]: schema for schema in schemas.values()}
    for operation in (one for methods in found["paths"].values() for one in methods.values()):
        for content in (one for reply in operation["responses"].values() for one in reply.get("content", {}).values()):
            content.get("schema", {}).pop("title", None)  # made of the operation's name
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    return re.sub(rf'("{REFERENCE}\w+){BODY}"', r'\1"', text).encode()


def guarded(site: Site) -> ASGIApp:
    """Return the application behind the guard."""
    return Guard(create_app(site), site)
