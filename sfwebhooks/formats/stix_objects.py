"""Objects of STIX 2.1: values come in, objects with their ids go out.

The id of an observable is made from its value, as the specification says (section 2.9), so that each producer gives it
the same one. The other ids are made from the scan and what the object is about: the same message again has the same.
https://docs.oasis-open.org/cti/stix/v2.1/os/stix-v2.1-os.html
"""

from __future__ import annotations

import uuid
from typing import Any

from sfwebhooks.events import clean_text, id_of
from sfwebhooks.formats.observables import Observable
from sfwebhooks.jsontext import written

#: the namespace of the ids of observables (section 2.9)
NAMESPACE_OF_OBSERVABLES = uuid.UUID("00abedb4-aa42-466c-9c01-fed23315a9b7")
#: the marking definitions of TLP (section 7.2.1.4)
MARKINGS = {
    "clear": "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9",
    "green": "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da",
    "amber": "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82",
    "red": "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed",
}
#: kinds of observables with no more than a value -> their types
VALUED = {"ipv4": "ipv4-addr", "ipv6": "ipv6-addr", "host": "domain-name", "url": "url", "email": "email-addr"}
HASHES = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256"}

Json = dict[str, Any]


def stix_id(type: str, name: str) -> str:
    """Return the id of an object other than an observable."""
    return f"{type}--{id_of(clean_text(f'stix/{type}/{name}'))}"


def observable_objects(one: Observable) -> list[Json]:
    """Return the objects of an observable, its own last; none: STIX has no such observable."""
    if one.kind in VALUED:
        return [_observable(VALUED[one.kind], {"value": one.value})]
    if one.kind == "as":
        return [_observable("autonomous-system", {"number": int(one.value)})]
    if one.kind == "user":
        return [_observable("user-account", {"account_login": one.value})]
    if one.kind == "software":
        return [_observable("software", {"name": one.value})]
    if one.kind in HASHES:
        return [_observable("file", {"hashes": {HASHES[one.kind]: one.value}})]
    if one.kind in ("tcp", "udp"):
        version = "ipv6" if ":" in one.value else "ipv4"
        address = _observable(f"{version}-addr", {"value": one.value})
        traffic = {"dst_ref": address["id"], "dst_port": one.port, "protocols": [version, one.kind]}
        return [address, _observable("network-traffic", traffic)]
    return []


def _observable(type: str, properties: Json) -> Json:
    """Return an observable all of whose properties are part of its identity."""
    name = written({key: properties[key] for key in sorted(properties)})
    return {
        "type": type,
        "spec_version": "2.1",
        "id": f"{type}--{uuid.uuid5(NAMESPACE_OF_OBSERVABLES, name)}",
        **properties,
    }


def pattern_of(one: Observable) -> str:
    """Return the pattern that an observable matches; empty: STIX has no such observable."""
    value = one.value.replace("\\", "\\\\").replace("'", "\\'")
    if one.kind in VALUED:
        test = "ISSUBSET" if "/" in one.value and one.kind.startswith("ip") else "="
        return f"[{VALUED[one.kind]}:value {test} '{value}']"
    if one.kind == "as":
        return f"[autonomous-system:number = {int(one.value)}]"
    if one.kind in HASHES:
        return f"[file:hashes.'{HASHES[one.kind]}' = '{value}']"
    return ""
