"""Drawing chat messages: a message in a format's JSON comes in, HTML about as its client would show it goes out.

Everything in a message is text from outside: it is escaped, links lead only to http and https, and colours are checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape, unescape
from typing import Any, Callable

COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
LINK = re.compile(r"https?://", re.IGNORECASE)
#: Slack's links, and bold text
SLACK_MARKUP = re.compile(r"&lt;(https?://[^|&<>]*)\|([^<>]*?)&gt;|\*([^*\n]+)\*")
#: a backslash before a sign, bold text, and links of Markdown
MARKDOWN = re.compile(r"\\([!-/:-@\[-`{-~])|\[([^\]\n]*)\]\((https?://[^)\s]*)\)")
#: style of an Adaptive Card's container -> its colours
CONTAINERS = {"attention": "#f9d9d9", "warning": "#fdf3d1", "accent": "#dbe9fa", "good": "#dff3e3", "emphasis": "#eee"}
TAGS = {"bold": "b", "italic": "i", "code": "code", "pre": "pre"}
PAGE = """<!doctype html>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 46rem; padding: 0 1rem; color: #1d1c1d }}
h1 {{ font-size: 1.2rem }} h2 {{ font-size: .85rem; font-weight: 600; color: #616061; margin: 2rem 0 .4rem }}
.message {{ border-left: 4px solid var(--bar, #ddd); padding: .2rem .9rem; overflow-wrap: anywhere }}
.message > * {{ margin: .35rem 0 }} .headline {{ font-weight: 700; font-size: 1.05rem }}
.fields {{ display: grid; grid-template-columns: 1fr 1fr; gap: .35rem 1rem }} .wide {{ grid-column: 1 / -1 }}
.text {{ white-space: pre-wrap }} .small {{ color: #616061; font-size: .8rem; white-space: pre-wrap }}
.card {{ border: 1px solid #ddd; border-radius: 6px; padding: .2rem .9rem }}
.dark {{ background: #2b2d31; color: #dbdee1; border-radius: 4px }} .dark .small {{ color: #949ba4 }}
.dark a {{ color: #00a8fc }} .bubble {{ background: #e7f5dc; border-radius: 12px; padding: .6rem .9rem }}
pre, code {{ font: .85em ui-monospace, monospace; background: rgba(128, 128, 128, .15); border-radius: 3px }}
pre {{ padding: .4rem; white-space: pre-wrap; margin: .2rem 0 }} code {{ padding: .1em .25em }}
</style>
<h1>{title}</h1>
"""

Json = Mapping[str, Any]


def page(title: str, drawn: Iterable[tuple[str, str]]) -> str:
    """Return a page.

    Args:
        title: plain text.
        drawn: a caption in plain text, and a message from `draw`.
    """
    return PAGE.format(title=escape(title)) + "\n".join(f"<h2>{escape(over)}</h2>\n{html}" for over, html in drawn)


def draw(format_name: str, body: str) -> str:
    """Return a message of a format as HTML: as indented JSON, or as it is, where there is no drawing for the format."""
    try:
        message = json.loads(body)
    except ValueError:
        return f"<pre>{escape(body)}</pre>"
    drawing = DRAWINGS.get(format_name)
    return drawing(message) if drawing else f"<pre>{escape(json.dumps(message, indent=2, ensure_ascii=False))}</pre>"


def _div(kind: str, html: str, style: str = "") -> str:
    return f'<div class="{kind}"{f" style={chr(34)}{style}{chr(34)}" if style else ""}>{html}</div>' if html else ""


def _bar(colour: object) -> str:
    """Return the style of the bar left of a message."""
    return f"--bar: {colour}" if isinstance(colour, str) and COLOUR.fullmatch(colour) else ""


def _link(address: str, html: str) -> str:
    """Return a link to an address that is HTML already."""
    return f'<a href="{address}" rel="noreferrer">{html}</a>' if LINK.match(address) else html


# --- Slack


def _slack(message: Json) -> str:
    attachments = message.get("attachments", [])
    parts = [*_slack_blocks(message.get("blocks", []))]
    parts += [part for one in attachments for part in _slack_blocks(one.get("blocks", []))]
    return _div("message", "".join(parts), _bar(attachments[0].get("color")) if attachments else "")


def _slack_blocks(blocks: Sequence[Json]) -> Iterable[str]:
    for block in blocks:
        if block["type"] == "header":
            yield _div("headline", _slack_text(block["text"]))
        elif "fields" in block:
            texts = [_slack_text(field) for field in block["fields"]]
            cells = [_div("text", f"{label}<br>{value}") for label, value in zip(texts[::2], texts[1::2])]
            yield _div("fields", "".join(cells))
        elif "elements" in block:
            yield _div("small", "  ".join(map(_slack_text, block["elements"])))
        else:
            yield _div("text", _slack_text(block["text"]))


def _slack_text(text: Json) -> str:
    if text["type"] == "plain_text":
        return escape(text["text"])
    # its three characters are escaped already
    words = str(text["text"]).replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return SLACK_MARKUP.sub(lambda found: f"<b>{found[3]}</b>" if found[3] else _link(found[1], found[2]), words)


# --- Discord, Mattermost: Markdown


def _discord(message: Json) -> str:
    (embed,) = message["embeds"]
    fields = [(one["name"], one["value"], one.get("inline")) for one in embed.get("fields", [])]
    texts = (embed.get("title", ""), embed.get("description", ""), fields, embed.get("footer", {}).get("text", ""))
    return _div("message dark", _markdown_card(*texts), _bar(f"#{embed.get('color', 0):06x}"))


def _mattermost(message: Json) -> str:
    (one,) = message["attachments"]
    fields = [(field["title"], field["value"], field.get("short")) for field in one.get("fields", [])]
    fields = [(unescape(name), unescape(value), short) for name, value, short in fields]
    texts = (unescape(one.get("title", "")), unescape(one.get("text", "")), fields, unescape(one.get("footer", "")))
    return _div("message", _markdown_card(*texts), _bar(one.get("color")))


def _markdown_card(title: str, text: str, fields: Sequence[tuple[str, str, object]], footer: str) -> str:
    cells = [
        _div("text" if short else "text wide", f"<b>{_markdown(name)}</b><br>{_markdown(value)}")
        for name, value, short in fields
    ]
    parts = (_div("headline", _markdown(title)), _div("text", _markdown(text)), _div("fields", "".join(cells)))
    return "".join((*parts, _div("small", _markdown(footer))))


def _markdown(text: str) -> str:
    """Return Markdown as HTML, as far as our formats write it: escaped signs and links."""
    parts, last = [], 0
    for found in MARKDOWN.finditer(text):
        parts.append(escape(text[last : found.start()]))
        parts.append(escape(found[1]) if found[1] else _link(escape(found[3]), escape(found[2])))
        last = found.end()
    return "".join((*parts, escape(text[last:])))


# --- Teams: an Adaptive Card


def _teams(message: Json) -> str:
    card = message["attachments"][0]["content"]
    links = [_link(escape(one["url"]), escape(one["title"])) for one in card.get("actions", [])]
    return _div("card", "".join(map(_card_item, card["body"])) + "".join(_div("text", link) for link in links))


def _card_item(item: Json) -> str:
    if item["type"] == "Container":
        colour = CONTAINERS.get(item.get("style", ""), "#fff")
        return _div("text", "".join(map(_card_item, item["items"])), f"background: {colour}; padding: .1rem .5rem")
    return _div("text", "".join(map(_card_run, item["inlines"])))


def _card_run(run: Json) -> str:
    words = escape(run["text"])
    words = f"<b>{words}</b>" if run.get("weight") == "Bolder" else words
    return f'<span class="small">{words}</span>' if run.get("isSubtle") else words


# --- Telegram: places in the text


def _telegram(message: Json) -> str:
    units = str(message["text"]).encode("utf-16-le", "surrogatepass")
    parts, last = [], 0
    for entity in message.get("entities", []):
        begin, end = 2 * entity["offset"], 2 * (entity["offset"] + entity["length"])
        words = escape(_of_units(units[begin:end]))
        tag = TAGS.get(entity["type"])
        shown = f"<{tag}>{words}</{tag}>" if tag else _link(escape(entity.get("url", "")), words)
        parts += [escape(_of_units(units[last:begin])), shown]
        last = end
    return _div("bubble text", "".join((*parts, escape(_of_units(units[last:])))))


def _of_units(units: bytes) -> str:
    return units.decode("utf-16-le", "replace")


#: format -> how its messages are drawn
DRAWINGS: dict[str, Callable[[Json], str]] = {
    "slack": _slack,
    "discord": _discord,
    "mattermost": _mattermost,
    "teams": _teams,
    "telegram": _telegram,
}
