"""A page as the fictional domain serves it: text or bytes come in, a `Page` with its headers goes out."""

from __future__ import annotations

from dataclasses import dataclass, replace

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


@dataclass(frozen=True)
class Page:
    """One answer of the fictional web."""

    #: the body as sent
    body: bytes
    #: value of the Content-Type header
    kind: str = HTML
    #: HTTP status code
    status: int = 200
    #: further response headers, in the order in which they are sent
    headers: tuple[tuple[str, str], ...] = ()

    def under(self, headers: tuple[tuple[str, str], ...]) -> Page:
        """Return the page with the headers of its host put before its own."""
        return replace(self, headers=headers + self.headers)


NOT_FOUND = Page(b"<html><title>Not found</title><h1>Not found</h1></html>", status=404)


def text(body: str, kind: str = TEXT, status: int = 200) -> Page:
    """Return a page of plain text, or of another text kind."""
    return Page(body.encode(), kind, status)


def html(title: str, body: str, *, head: str = "", status: int = 200) -> Page:
    """Return an HTML document with the given title, body and further head elements."""
    document = f"<!DOCTYPE html>\n<html><head><title>{title}</title>\n{head}</head>\n<body>\n{body}\n</body></html>\n"
    return Page(document.encode(), HTML, status)


def links(*paths: str) -> str:
    """Return an HTML list of links to the given paths or addresses."""
    return "<ul>" + "".join(f'<li><a href="{path}">{path}</a></li>\n' for path in paths) + "</ul>"
