"""The page of all keys of the settings, as the table in `config/options.py` has them."""

from __future__ import annotations

from sfwebhooks.config.options import GENERAL_OPTIONS, OPEN_OPTIONS, Option, all_options
from tests.pages import MARK, cell, table

PAGE = """# Keys

{mark}

Every key in brief, with its default in parentheses. [Configuration](configuration.md) says where to set them and
explains them, and [webhooks.ini.example](../webhooks.ini.example) shows each one in use. A *secret* is never shown. A
value marked *elsewhere* may be written `env:NAME` or `file:PATH`. An *inherited* key may be set in `[webhooks]` for all
endpoints.

## In [webhooks]

{general}
## In the section of an endpoint

{endpoint}"""


def page() -> str:
    """Return the page."""
    endpoint = [*all_options().values(), *OPEN_OPTIONS.values()]
    general = table(
        "key | | meaning", [(_name(one), _value(one), cell(one.meaning)) for one in GENERAL_OPTIONS.values()]
    )
    rows = [(_name(one), "yes" if one.inherited else "", _value(one), cell(one.meaning)) for one in endpoint]
    lines = table("key | inherited | value | meaning", rows)
    return PAGE.format(mark=MARK, general="\n".join(general), endpoint="\n".join(lines)).rstrip() + "\n"


def _name(option: Option) -> str:
    return f"`{option.name}{'NAME' if option.name in OPEN_OPTIONS else ''}`"


def _value(option: Option) -> str:
    return "secret, elsewhere" if option.secret else "elsewhere" if option.sourced else ""
