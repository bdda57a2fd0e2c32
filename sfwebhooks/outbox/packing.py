"""The form in which a finding's data is stored: its JSON comes in, the same in half as many bytes goes out, and back.

Findings are nearly all of a large outbox, and most of their JSON is the same keys and words each time: these are in a
dictionary that the stored bytes refer to (RFC 1950 section 2.2, RFC 1951). All else is stored as JSON, and so are the
first findings of a file: they take little space, and packing takes time while a scan waits.
"""

from __future__ import annotations

import zlib

#: what findings have in common, the most frequent last; a change makes the stored bytes unreadable
DICTIONARY = (
    b"AFFILIATE_INTERNET_NAMECO_HOSTED_SITEDOMAIN_NAMEEMAILADDRIP_ADDRESSMALICIOUS_NETBLOCK_PHYSICAL_RAW_DATA_TCP_PORT_"
    b'OPENSSL_CERTIFICATE_TARGET_WEB_CONTENTURL_FORMWEBSERVER_httpHeadershttps://www..com/http://","data_source":"",'
    b'"recovered":true,"special":"malware_detected"}],"special":"vulnerability_found"}"low","critical","high","medium",'
    b'{"scan_id":"","target":"","target_type":"INTERNET_NAME","event_type":"VULNERABILITY_CVE_","description":"",'
    b'"severity":"info","data":"","module":"sfp_","confidence":100,"visibility":100,"risk":0,"hash":"","generated":"202'
    b'000Z","sources":[{"event_type":"LINKED_URL_INTERNAL","data":"","module":"sfp_","hash":""},'
    b'{"event_type":"ROOT","data":"","module":"","hash":"ROOT"}]}'
)
#: events in a file from which on findings are packed; with fewer it is small
PACKED_FROM = 50_000
#: most characters that are stored in fewer bytes: larger data has few of these words, and the scan would wait for it
PACKED_MAX = 2000
#: of the window, which has room for the dictionary and the data; negative: without a header
WINDOW_BITS = -12
MEMORY_LEVEL = 5


def packed(text: str) -> str | bytes:
    """Return the stored form of a finding's data."""
    if len(text) > PACKED_MAX:
        return text
    deflate = zlib.compressobj(1, zlib.DEFLATED, WINDOW_BITS, MEMORY_LEVEL, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    return deflate.compress(text.encode()) + deflate.flush()


def unpacked(stored: object) -> str:
    """Return the JSON of an event's data from its stored form; from garbage an empty text, which is not JSON."""
    if isinstance(stored, str):
        return stored
    inflate = zlib.decompressobj(WINDOW_BITS, DICTIONARY)
    try:
        return inflate.decompress(stored, 4 * PACKED_MAX).decode() if isinstance(stored, bytes) else ""
    except (zlib.error, ValueError):
        return ""
