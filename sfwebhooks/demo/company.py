"""The pages of the fictional company Acme Widgets Ltd: a host and a path come in, a `Page` or nothing goes out.

Each page contains something for one of the scanner's own modules to find. Names, addresses and numbers are invented
or reserved for examples: `.test` and `example` names, telephone numbers set aside for drama, the card and bank account
numbers of documentation, the empty Bitcoin address.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

from sfwebhooks.demo import documents
from sfwebhooks.demo.page import NOT_FOUND, Page, html, links, text

DOMAIN = "acme.test"

#: the people whose addresses are on the site
STAFF = ("wendell.ashcombe", "priya.raghunathan", "tomasz.wisniewski", "ingrid.halvorsen", "oluwaseun.adeyemi")

#: how the web servers identify themselves, with some headers of no standard
_NGINX = (("Server", "nginx/1.18.0 (Ubuntu)"), ("X-Acme-Node", "web-03.berlin"), ("X-Frame-Options", "SAMEORIGIN"))
_APACHE = (
    ("Server", "Apache/2.4.29 (Ubuntu)"),
    ("X-Powered-By", "PHP/7.2.24"),
    ("Set-Cookie", "PHPSESSID=6f1a2b; path=/"),
    # A server that echoes the request: this is where the scanner's cookie module looks for cookies.
    ("Cookie", "cart=41; track=acme-77"),
)
_WEBRICK = (("Server", "WEBrick/1.4.2 (Ruby/2.5.1)"), ("X-Runtime", "0.018312"), ("X-Debug-Token", "e81f3c"))
_IIS = (("Server", "Microsoft-IIS/6.0"), ("X-AspNet-Version", "2.0.50727"), ("X-Powered-By", "ASP.NET"))
_GATE = (("Server", "nginx/1.18.0 (Ubuntu)"), ("WWW-Authenticate", 'Basic realm="Acme intranet"'))

_STYLE = '<link rel="stylesheet" href="/wp-content/themes/acme/style.css">\n'
_SCRIPTS = (
    '<script src="https://cdn.example.net/jquery-3.1.0.min.js"></script>\n'
    '<script src="https://ads.example.net/banner/show.js"></script>\n'
    '<script src="/js/app.js"></script>\n'
    '<meta name="generator" content="WordPress 4.7.1">\n'
)
_ANALYTICS = "<script>ga('create', 'UA-7654321-1'); gtm('GTM-ACME42'); ads('pub-9876543210987654');</script>\n"
_FOOTER = "<p>Acme Widgets Ltd, Press: wendell.ashcombe@acme.test, info@acme.test, +44 20 7946 0018</p>"

_SCRIPT = text("// jquery plugin, (c) Acme Widgets Ltd\nvar api = 'http://dev.acme.test/api/v1';\n", "text/javascript")
_BINARY = "application/octet-stream"


def _staff() -> str:
    """Return the list of people with their addresses."""
    names = ((name, name.replace(".", " ").title()) for name in STAFF)
    return "".join(f"<p>{shown}, <a href='mailto:{name}@acme.test'>{name}@acme.test</a></p>\n" for name, shown in names)


def _telephones() -> str:
    """Return many British numbers, an Australian and two American ones: the German bank account is an outlier."""
    british = "".join(f"<li>+44 20 7946 {number:04}</li>\n" for number in range(18, 30))
    return f"<ul>{british}<li>+61 491 570 156</li>\n<li>+1 202-555-0143</li>\n<li>+1 415-555-0132</li></ul>"


def _reset_link() -> str:
    """Return a link whose token is an address, a name and a hash in base64."""
    secret = f"reset for ops.mailbox@acme.test by Priya Raghunathan {_hash('anvil')}"
    # padded so that the text ends in "==": the scanner recognises base64 by its padding
    return "/account/reset?token=" + base64.b64encode(secret.ljust(-(-len(secret) // 3) * 3 + 1).encode()).decode()


def _dump() -> str:
    """Return a forgotten database dump with password hashes."""
    rows = (f"({number}, '{who}@acme.test', '{_hash(who)}')" for number, who in enumerate(STAFF))
    return "INSERT INTO users (id, mail, password_md5) VALUES\n" + ",\n".join(rows) + ";\n"


def _hash(text: str) -> str:
    """Return the unsalted hash that a careless company would store."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


_MAIN = {
    "/": html(
        "Acme Widgets Ltd",
        "<h1>Acme Widgets Ltd</h1>\n<!-- TODO remove the test account tester/anvil123 before launch -->\n"
        + links("/about", "/contact", "/login.php", "/products", "/downloads", "/support", "/donate", "/archive/")
        + links("http://shop.acme.test/", "http://dev.acme.test/", "http://intranet.acme.test/")
        + links("http://legacy.acme.test/default.aspx", "/js/app.js", "/wp-content/themes/acme/style.css")
        + _FOOTER,
        head=_STYLE + _SCRIPTS + _ANALYTICS,
    ),
    "/about": html(
        "About us",
        "<h2>People</h2>\n"
        + _staff()
        + "<p>Globex Corporation</p><p>Initech LLC</p><p>Umbrella Logistics GmbH</p>\n"
        + links("https://twitter.com/acmewidgets", "https://www.linkedin.com/company/acmewidgets")
        + links("https://github.com/acmewidgets/anvil", "https://www.instagram.com/acmewidgets")
        + links("https://www.facebook.com/acmewidgets", "http://partner.example.org/acme")
        + _FOOTER,
    ),
    "/archive/": html("Archive", links() + _FOOTER),
    "/contact": html(
        "Contact",
        "<form method='POST' action='/contact/send'><input name='mail'><input type='file' name='cv'></form>\n"
        "<p>sales@acme.test, support@acme.test, agent@globex.example</p>" + _telephones() + _FOOTER,
    ),
    "/contact/send": html("Thank you", "<p>We will write.</p>"),
    "/login.php": html(
        "Sign in",
        "<form method='POST' action='/login.php'><input name='user'><input type='password' name='pw'></form>"
        + links(_reset_link(), "/admin/index.php")
        + _FOOTER,
        head=_SCRIPTS,
    ),
    "/account/reset": html("New password", "<form method='POST'><input type='password' name='pw'></form>"),
    "/admin/index.php": html("Administration", "<h1>Forbidden</h1>", status=403),
    "/products": html(
        "Products",
        links("/products/anvil", "/products/rocket-skates", "/products/search.php?q=anvil", "/products/old.asp")
        + links("/ads/banner.html", "/status")
        + _FOOTER,
        head=_STYLE,
    ),
    "/products/anvil": html("Anvil", "<h1>Anvil</h1><p>By Tomasz Wisniewski. Falls well.</p>" + _FOOTER),
    "/products/rocket-skates": html("Rocket skates", "<h1>Rocket skates</h1><p>Recalled.</p>" + _FOOTER),
    # Every error is a 500; two of them are deeper than all other pages, one of these behind a redirect: the rule
    # `http_errors` requires each status at least twice, and sees one page for each distance from the first page.
    "/products/search.php": html(
        "Error",
        "Warning: mysql_query(): You have an error in your SQL syntax near 'anvil''\nPHP Warning: include_path='.'\n"
        "ORA-01756: quoted string not properly terminated\n#0 /srv/www/lib/Db.php(117): Db->query()"
        + links("/products/trace.php"),
        status=500,
    ),
    "/products/trace.php": html("Trace", "#1 /srv/www/lib/Search.php(9): Search->run()", status=500),
    "/products/old.asp": replace(html("Moved", ""), status=302, headers=(("Location", "/products/all.asp"),)),
    "/products/all.asp": html(
        "Error", "Microsoft [ODBC SQL Server Driver] Incorrect syntax" + links("/products/detail.asp"), status=500
    ),
    "/products/detail.asp": html("Error", "Microsoft VBScript runtime error '800a000d'", status=500),
    "/status": html("Status", "<h1>Internal Server Error</h1>", status=500),
    "/ads/banner.html": html("Banner", "<p>Buy anvils</p>"),
    "/donate": html(
        "Donate",
        "<p>Bitcoin: 1111111111111111111114oLvT2</p><p>Ether: 0x000000000000000000000000000000000000dEaD</p>"
        "<p>IBAN <b>GB33BUKB20201555555555</b> or <b>DE89370400440532013000</b></p>" + _FOOTER,
    ),
    "/downloads": html(
        "Downloads",
        links("/files/strategy.docx", "/files/report.pdf", "/files/factory.jpg", "/files/designs.zip")
        + links("/files/prices.xlsx", "/files/checksums.txt", "/backup/users.sql"),
    ),
    "/support": html(
        "Support",
        "<pre>-----BEGIN PGP PUBLIC KEY BLOCK-----\n(kept on the key server)\n-----END PGP PUBLIC KEY BLOCK-----</pre>"
        + links("/support/legacy.html")
        + _staff()
        + _FOOTER,
    ),
    "/support/legacy.html": html(
        "Old manual", "<applet code='Anvil.class'></applet><embed src='/media/intro.swf' width=400>", head=_SCRIPTS
    ),
    "/js/app.js": _SCRIPT,
    "/wp-content/themes/acme/style.css": text("body { color: #222 }\n", "text/css"),
    "/files/strategy.docx": Page(documents.docx("Ingrid Halvorsen", "draft for board.secretary@acme.test"), _BINARY),
    "/files/report.pdf": Page(documents.pdf("Oluwaseun Adeyemi", "LibreOffice 5.1"), _BINARY),
    "/files/factory.jpg": Page(documents.jpeg("Priya Raghunathan", "Photoshop 7.0"), "image/jpeg"),
    "/files/designs.zip": Page(documents.archive(anvil__txt="heavy"), _BINARY),
    "/files/prices.xlsx": Page(documents.archive(prices__csv="anvil;12"), _BINARY),
    "/files/checksums.txt": text(f"{hashlib.sha256(b'designs').hexdigest()}  designs.zip\n"),
    "/backup/users.sql": text(_dump()),
    "/login.php.bak": text("<?php $db = mysql_connect('db', 'root', 'anvil123'); ?>"),
    "/products.tar.gz": Page(b"\x1f\x8b", _BINARY),
    "/backup/old": text("2019"),
}

_SHOP = {
    "/": html("Acme shop", links("/cart.php", "/pay.php", "http://acme.test/") + _FOOTER, head=_SCRIPTS),
    "/cart.php": html("Cart", "<form method='POST' action='/pay.php'><input name='n'></form>" + _FOOTER),
    "/js/app.js": _SCRIPT,
    "/pay.php": html("Pay", "<p>PHP Error: unexpected T_VARIABLE in pay.php on line 42</p>", status=500),
}
_DEV = {
    "/": html("Development", "<h1>Acme API, do not publish</h1>" + links("/api/v1", "/build/log.txt")),
    "/api/v1": text('{"version": "1.4.0-rc2", "owner": "tomasz.wisniewski@acme.test"}', "application/json"),
    "/build/log.txt": text("Internal Server Error: TNS:no listener\n  at app/models/anvil.rb:17\n"),
}
_LEGACY = {
    "/default.aspx": html("Acme 2004", "<p>ASP.NET_SessionId lost</p>" + links("/guestbook.asp")),
    "/guestbook.asp": html("Guest book", "<form method='GET'><input name='text'></form>"),
}
_INTRANET = {"/": html("401", "<h1>Authorization required</h1>", status=401)}

#: host -> its headers and its pages by path
HOSTS: dict[str, tuple[tuple[tuple[str, str], ...], dict[str, Page]]] = {
    DOMAIN: (_NGINX, _MAIN),
    f"www.{DOMAIN}": (_NGINX, _MAIN),
    f"shop.{DOMAIN}": (_APACHE, _SHOP),
    f"dev.{DOMAIN}": (_WEBRICK, _DEV),
    f"legacy.{DOMAIN}": (_IIS, _LEGACY),
    f"intranet.{DOMAIN}": (_GATE, _INTRANET),
}


def answer_from_company(host: str, path: str) -> Page | None:
    """Return the page at this path of this host, or nothing if the company has no such host.

    Args:
        host: lower case, without port.
        path: without query.
    """
    if host not in HOSTS:
        return None
    headers, found = HOSTS[host]
    return found.get(path or "/", NOT_FOUND).under(headers)
