"""Which peers are believed when they say on whose behalf they ask."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

UNIX = "unix"
"""Stands for every peer on a unix socket."""

_CLAIMS = (b"forwarded", b"x-real-ip")
_FOR = re.compile(rb'(?:\A|[;,])\s*for=(?:"((?:[^"\\]|\\.)*)"|([^;,\s"]*))', re.IGNORECASE)

Headers = list[tuple[bytes, bytes]]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(slots=True)
class Proxies:
    """Networks whose peers are proxies, and whether those on a unix socket are."""

    networks: tuple[Network, ...]
    unix: bool
    _known: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def named(cls, names: list[str]) -> Proxies:
        """From addresses, networks in CIDR notation and `unix`. Raises `ValueError`."""
        networks = tuple(ipaddress.ip_network(name) for name in names if name != UNIX)
        return cls(networks, UNIX in names)

    def judge(self, client: tuple[str, int] | None, headers: Headers) -> tuple[tuple[str, int] | None, Headers]:
        """The client that asks, and the headers without the claims of a peer that is not believed."""
        if not (self.unix if client is None else self._trusts(client[0])):
            return client, [header for header in headers if not _claims(header[0])]
        # Each proxy adds its peer at the end: the last one that is no proxy of ours is who came to us.
        for text in reversed(_chain(headers)):
            address = _parse(text)
            if address is None:
                break
            client = (str(address), 0)
            if not self._trusts(client[0]):
                break
        return client, headers

    def _trusts(self, peer: str) -> bool:
        known = self._known.get(peer)
        if known is None:
            address = _parse(peer)
            known = address is not None and any(address in network for network in self.networks)
            if len(self._known) < 1024:
                self._known[peer] = known
        return known


def _claims(name: bytes) -> bool:
    return name in _CLAIMS or name.startswith(b"x-forwarded-")


def _chain(headers: Headers) -> list[str]:
    values: dict[bytes, list[bytes]] = {b"forwarded": [], b"x-forwarded-for": [], b"x-real-ip": []}
    for name, value in headers:
        if name in values:
            values[name].append(value)
    if values[b"forwarded"]:
        found = _FOR.findall(b",".join(values[b"forwarded"]))
        return [(quoted or token).decode("latin-1") for quoted, token in found]
    if values[b"x-forwarded-for"]:
        return b",".join(values[b"x-forwarded-for"]).decode("latin-1").split(",")
    return [value.decode("latin-1") for value in values[b"x-real-ip"][-1:]]


def _parse(text: str) -> Address | None:
    """An address as proxies write it: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
