"""The addresses of a cloud, from the list it publishes, and looked up by halving."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import ipaddress
import json
import logging
import time
import urllib.request
from collections.abc import Collection, Iterable
from typing import Any

log = logging.getLogger(__name__)

MOST_BYTES = 32 * 1024 * 1024
TIMEOUT_SECONDS = 10.0
RETRY_SECONDS = 60.0
PATIENCE_SECONDS = 3.0
"""How long the first client waits for the list."""


class Ranges:
    """Networks of both kinds."""

    def __init__(self, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> None:
        self._spans: dict[int, tuple[list[int], list[int]]] = {}
        found = list(networks)
        for version in (4, 6):
            merged: Any = ipaddress.collapse_addresses(net for net in found if net.version == version)
            starts, ends = [], []
            for network in sorted(merged):
                starts.append(int(network.network_address))
                ends.append(int(network.broadcast_address))
            self._spans[version] = starts, ends

    def __contains__(self, text: str) -> bool:
        """Whether it is an address in one of the networks; what is no address is in none."""
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        starts, ends = self._spans[address.version]
        at = bisect.bisect_right(starts, int(address)) - 1
        return at >= 0 and int(address) <= ends[at]


def parse(document: bytes, regions: Collection[str] | None) -> Ranges:
    """From Amazon's `ip-ranges.json`; of these regions, in lower case, alone if given. Raises `ValueError`."""
    listed = json.loads(document)
    if not isinstance(listed, dict):
        raise ValueError("is no list of address ranges")
    networks = []
    for kind, key in (("prefixes", "ip_prefix"), ("ipv6_prefixes", "ipv6_prefix")):
        for entry in listed.get(kind) or []:
            if regions is not None and str(entry.get("region", "")).lower() not in regions:
                continue
            try:
                networks.append(ipaddress.ip_network(str(entry.get(key)), strict=False))
            except ValueError:
                log.error("unparseable address range in the list of AWS: %r", entry.get(key))
    return Ranges(networks)


class PublishedRanges:
    """The list at `url`, fetched when it is first asked for and again every `interval` seconds, in the background.

    While it has not been fetched, nobody is in it; a fetch that fails leaves it as it was.
    """

    def __init__(self, url: str, regions: Collection[str] | None, interval: float) -> None:
        self._url = url
        self._regions = regions
        self._interval = interval
        self._current: Ranges | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._due = 0.0

    async def contain(self, address: str) -> bool:
        if time.monotonic() >= self._due and (self._fetching is None or self._fetching.done()):
            self._due = time.monotonic() + self._interval
            self._fetching = asyncio.create_task(self._fetch())
            if self._current is None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(self._fetching), PATIENCE_SECONDS)
        current = self._current  # replaced as a whole: whoever has taken one up goes on with it
        return current is not None and address in current

    async def _fetch(self) -> None:
        try:
            self._current = await asyncio.to_thread(self._fetched)
        except (OSError, ValueError, AttributeError, TypeError) as error:
            self._due = time.monotonic() + min(self._interval, RETRY_SECONDS)
            log.warning("failed to update AWS IP: %s", error)

    def _fetched(self) -> Ranges:
        with urllib.request.urlopen(self._url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310  checked at the start
            document = answer.read(MOST_BYTES + 1)
        if len(document) > MOST_BYTES:
            raise ValueError(f"the list is longer than {MOST_BYTES} bytes")
        return parse(document, self._regions)
