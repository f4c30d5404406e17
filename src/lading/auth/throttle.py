"""Failed sign-ins slow down the next ones, by client address and by account."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lading.registry.access import ThrottledError

HALVING_SECONDS = 60.0
"""After so long a failure counts half."""

_MAX_KEYS = 8192


@dataclass(frozen=True, slots=True)
class Slope:
    """Failures up to `free` cost nothing; each further one doubles the wait, from 0.1 s to `longest` seconds."""

    free: float
    longest: float

    def delay(self, failures: float) -> float:
        if failures < self.free:
            return 0.0
        return min(0.1 * 2 ** (failures - self.free), self.longest)


CLIENT = Slope(free=5, longest=8.0)
ACCOUNT = Slope(free=10, longest=3.0)
"""Never refused, and never long: whoever knows a name could keep its owner out."""

MAX_WAITING = 8
"""Attempts of one client that may wait at a time; more are refused."""


class Failures:
    """Counts that fade. Bounded: the counts that were touched longest ago are forgotten."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def count(self, key: str) -> float:
        count, since = self._counts.get(key, (0.0, 0.0))
        return count * 0.5 ** ((self._clock() - since) / HALVING_SECONDS) if count else 0.0

    def add(self, key: str) -> None:
        self._counts[key] = self.count(key) + 1, self._clock()
        self._counts.move_to_end(key)
        if len(self._counts) > _MAX_KEYS:
            self._counts.popitem(last=False)


class Throttle:
    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clients = Failures(clock)
        self._accounts = Failures(clock)
        self._waiting: Counter[str] = Counter()
        self._sleep = sleep

    async def wait(self, client: str, user: str) -> None:
        """Before an attempt, whether or not there is such a user. Raises `ThrottledError`."""
        client = _network(client)
        slow = CLIENT.delay(self._clients.count(client))
        delay = max(slow, ACCOUNT.delay(self._accounts.count(_account(user))))
        if not delay:
            return
        if slow and self._waiting[client] >= MAX_WAITING:
            raise ThrottledError(math.ceil(slow), "too many failed attempts from this address", user)
        self._waiting[client] += 1
        try:
            await self._sleep(delay)
        finally:
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client]

    def failed(self, client: str, user: str) -> None:
        self._clients.add(_network(client))
        self._accounts.add(_account(user))


def _account(user: str) -> str:
    """Names are as long as whoever guesses likes, and are kept for a while."""
    if len(user) <= 64:
        return user
    return hashlib.sha256(user.encode("utf-8", "surrogateescape")).hexdigest()


def _network(client: str) -> str:
    """One host has all addresses of an IPv6 network of 64 bits."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False).network_address)
    return client
