"""The rest of the fictional web, as far as it knows the company: a host, a path and a query come in, a `Page` goes out.

Some stock modules query services over plain http, so the proxy can imitate them: a malware list, a disclosure
list, an address search, a leak search with its paste site, a darknet search engine. Others read lists from the
scanner's cache, or from an address in their options. All content is invented and concerns only the company.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable

from sfwebhooks.demo.company import DOMAIN, STAFF
from sfwebhooks.demo.page import JSON, NOT_FOUND, Page, html, links, text

_TORCH = "torchdeedp3i2jigzjdmfpn5ttjhthh5wbmda2rr3jvqjg5p77c54dqd.onion"
_MARKET = "anvilmarketanvilmarketanvilmarketanvilmarketanvilmarketan.onion"
_PASTE = "http://paste.test/raw/7f3a"

#: module option -> value: services that a stock module lets its user choose
OPTIONS = {
    "sfp_customfeed:url": "http://lists.test/feed.txt",
    "sfp_adblock:blocklist": "http://lists.test/adblock.txt",
    "sfp_pgp:keyserver_search1": "http://keys.test/search?search=",
    "sfp_pgp:keyserver_fetch1": "http://keys.test/get?search=",
    "sfp_trashpanda:api_key_username": "demo",
    "sfp_trashpanda:api_key_password": "demo",
}

#: name in the scanner's cache -> content: lists that stock modules would fetch over https
CACHED = {
    "openphish": f"http://{DOMAIN}/login.php\nhttp://www.{DOMAIN}/login.php\n",
    "sfzoneh": f"<item><title><![CDATA[http://www.{DOMAIN}/ hacked by nobody {DOMAIN}]]></title>\n"
    "<link><![CDATA[http://zone.test/mirror/1]]></link></item>",
    "sfaccountsv2": json.dumps(
        {
            "sites": [
                {
                    "name": "Anvil Forum",
                    "uri_check": "http://forum.test/user/{account}",
                    "e_code": 200,
                    "e_string": "member since",
                    "m_string": "no such member",
                    "m_code": 404,
                    "cat": "social",
                }
            ]
        }
    ),
}

_KEY = base64.encodebytes(hashlib.sha512(b"a key of nobody").digest() * 6).decode()


def answer_from_outside(host: str, path: str, query: dict[str, str]) -> Page | None:
    """Return the page of a service outside the company, or nothing if there is no such host.

    Args:
        host: lower case, without port.
        path: without query.
        query: first value of each query parameter.
    """
    serve = _HOSTS.get(host)
    return serve(path, query) if serve else None


def _malware(path: str, query: dict[str, str]) -> Page:
    return text(f"http://{DOMAIN}/wp-content/dropper.exe\nhttp://www.{DOMAIN}/wp-content/dropper.exe\n")


def _disclosures(path: str, query: dict[str, str]) -> Page:
    title = f"Stored XSS in the guest book of {query.get('q', '')}"
    return html("Disclosed", f'<a class="title" href="http://reports.test/4711" id="1" title="{title}">{title}</a>')


def _addresses(path: str, query: dict[str, str]) -> Page:
    return html("Addresses", f"<p>{STAFF[0]}@{DOMAIN}</p><p>billing@{DOMAIN}</p>")


def _leaks(path: str, query: dict[str, str]) -> Page:
    """Answer a leak search: two passwords for the domain, one for one person, none for anyone else."""
    found = {
        DOMAIN: ("svc.backup", "tomasz.wisniewski"),
        f"www.{DOMAIN}": ("svc.backup",),
        f"{STAFF[1]}@{DOMAIN}": (STAFF[1],),
    }
    rows = [
        {"email": f"{who}@{DOMAIN}", "password": f"{who.split('.')[0]}-Anvil2019", "paste": _PASTE}
        for who in found.get(query.get("v", ""), ())
    ]
    return text(json.dumps(rows), JSON)


def _paste(path: str, query: dict[str, str]) -> Page:
    digest = hashlib.md5(b"Anvil2019", usedforsecurity=False).hexdigest()
    return text(
        f"dump of http://www.{DOMAIN} / {DOMAIN} / shop\n"
        f"svc.backup@{DOMAIN} : {digest}\n{STAFF[1]}@{DOMAIN} : {digest}\n"
        "card: 4111 1111 1111 1111 exp 01/30\ncard: 5555 5555 5555 4444 exp 02/30\niban: NL91ABNA0417164300\n"
    )


def _darknet_search(path: str, query: dict[str, str]) -> Page:
    if path == "/":
        return html("TORCH", "<form action='/search'><input name='query'></form>")
    known = query.get("query") == DOMAIN and "page" not in query
    return html("TORCH", f'<h5><a href="http://{_MARKET}/offer/1" target="_blank">Offer</a></h5>' if known else "")


def _market(path: str, query: dict[str, str]) -> Page:
    return html("Offer 1", f"<p>{'fresh goods, ' * 12}</p><p>customers of {DOMAIN} , sample: 378282246310005 ;</p>")


def _lists(path: str, query: dict[str, str]) -> Page:
    if path == "/feed.txt":
        return text(f"{DOMAIN}\nwww.{DOMAIN}\n")
    return text("[Adblock Plus 2.0]\n||ads.example.net^\n/ads/banner.\n")


def _keys(path: str, query: dict[str, str]) -> Page:
    wanted = query.get("search", "")
    if path == "/search":
        return html("Keys", f"<p>uid {STAFF[3]}@{DOMAIN}</p><p>uid security@{DOMAIN}</p>")
    block = f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{_KEY}-----END PGP PUBLIC KEY BLOCK-----\n"
    return html("Key", f"<pre>{block}</pre>") if wanted.startswith(STAFF[3]) else NOT_FOUND


def _forum(path: str, query: dict[str, str]) -> Page:
    name = path.rsplit("/", 1)[-1]
    known = name in (*STAFF, "acmewidgets")
    return html("Anvil Forum", f"<p>{name}, member since 2011</p>") if known else html("", "no such member", status=404)


def _partner(path: str, query: dict[str, str]) -> Page:
    return html("Partner", "<p>We sell anvils</p>" + links(f"http://www.{DOMAIN}/"))


_HOSTS: dict[str, Callable[[str, dict[str, str]], Page]] = {
    "vxvault.net": _malware,
    "h1.nobbd.de": _disclosures,
    "www.skymem.info": _addresses,
    "api.got-hacked.wtf": _leaks,
    "paste.test": _paste,
    _TORCH: _darknet_search,
    _MARKET: _market,
    "lists.test": _lists,
    "keys.test": _keys,
    "forum.test": _forum,
    "partner.example.org": _partner,
}
