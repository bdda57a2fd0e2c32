"""The page's files: a path comes in; a file of `page/`, or its ETag alone, goes out.

They are read once, at the start: no path of a request reaches the file system.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request, Response

from sfwebhooks.web.problems import Problem, answer

FOLDER = Path(__file__).parent / "page"
INDEX = "index.html"
READING = ["GET", "HEAD"]
#: addresses of the page, whose scripts show what each one is of
ADDRESSES = (
    "/",
    "/login",
    "/deliveries",
    "/deliveries/{rest:path}",
    "/dead",
    "/endpoints",
    "/endpoints/{rest:path}",
    "/scans",
    "/scans/{rest:path}",
)
#: ending of a file -> its type
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class PageFile:
    """A file of the page."""

    content: bytes
    #: the same for clients that accept gzip: a third of it
    packed: bytes
    media_type: str
    etag: str


def add_page(app: FastAPI, folder: Path = FOLDER) -> None:
    """Add the page to an application; it answers browsers that want a path which does not exist, too."""
    files = {path.name: _read(path) for path in sorted(folder.iterdir()) if path.suffix in TYPES}
    app.include_router(_router(files))

    @app.exception_handler(HTTPStatus.NOT_FOUND)
    async def missing(request: Request, _: Exception) -> Response:
        if request.method in READING and "text/html" in request.headers.get("Accept", ""):
            return Response(files[INDEX].content, HTTPStatus.NOT_FOUND, media_type=TYPES[".html"])
        return answer(Problem(HTTPStatus.NOT_FOUND, "there is no such path: GET /v1/openapi.json describes the API"))


def _router(files: Mapping[str, PageFile]) -> APIRouter:
    """Return the routes of the page."""
    router = APIRouter(include_in_schema=False)

    async def index(request: Request) -> Response:
        return _answered(files.get(INDEX), request)

    async def file(request: Request, name: str) -> Response:
        return _answered(files.get(name), request)

    for address in ADDRESSES:
        router.add_api_route(address, index, methods=READING)
    router.add_api_route("/page/{name:path}", file, methods=READING)
    return router


def _read(path: Path) -> PageFile:
    content = path.read_bytes()
    packed = gzip.compress(content, mtime=0)
    return PageFile(content, packed, TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def _answered(file: PageFile | None, request: Request) -> Response:
    """Return the answer to a request for a file, without content if the browser has it.

    Raises:
        Problem: there is no such file.
    """
    if file is None:
        raise Problem(HTTPStatus.NOT_FOUND, "the page has no such file")
    is_packed = accepts_gzip(request.headers.get("Accept-Encoding", ""))
    etag = f'{file.etag[:-1]}-gzip"' if is_packed else file.etag
    headers = {"ETag": etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if etag in request.headers.get("If-None-Match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if is_packed:
        return Response(file.packed, media_type=file.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(file.content, media_type=file.media_type, headers=headers)


def accepts_gzip(accepted: str) -> bool:
    """Return whether a header Accept-Encoding names gzip, and does not refuse it (RFC 9110, 12.5.3)."""
    for item in accepted.lower().split(","):
        name, _, weight = item.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "").rstrip("0.") != "q="
    return False
