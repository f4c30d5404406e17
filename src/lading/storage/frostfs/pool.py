"""The nodes together: who is asked, who is asked next if that fails, and who is well."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from lading.registry.ports import StorageError, UnavailableError
from lading.storage.frostfs import nns
from lading.storage.frostfs.encoding import Message, Nested, encode
from lading.storage.frostfs.identifiers import container_id, owner_id
from lading.storage.frostfs.messages import (
    DRIVER,
    INTERNAL,
    MAINTENANCE,
    Author,
    StatusError,
    identifier,
)
from lading.storage.frostfs.peer import Address, Peer, UnreachableError
from lading.storage.frostfs.signing import Key

T = TypeVar("T")

FAILURES = 100
"""So many failed requests, and a peer counts as ill until it is found well."""

ROUNDS = 4
"""How often all peers are tried, with a pause between: a node that restarts is not gone."""
PAUSE_SECONDS = 0.3


class Timing(NamedTuple):
    """All in seconds, but for `session`: epochs."""

    connection: float = 4.0
    request: float = 4.0
    rebalance: float = 20.0
    session: int = 100


@dataclass(frozen=True, slots=True)
class Target:
    """The container by its id, or by a name that the chain behind `rpc_endpoint` resolves."""

    container: str
    rpc_endpoint: str = ""


class Pool:
    """Belongs to the event loop of its first call. Raises `StorageError` only."""

    def __init__(self, key: Key, addresses: Sequence[Address], target: Target, timing: Timing) -> None:
        self.author = Author(key, owner_id(key.public), b"")
        self.limit = 0
        """The largest object a node accepts, in bytes."""
        self._addresses = addresses
        self._target = target
        self._timing = timing
        self._peers: list[Peer] = []
        self._opening: asyncio.Task[None] | None = None
        self._checked = 0.0
        self._checking: asyncio.Task[None] | None = None

    @property
    def epoch(self) -> int:
        return max(peer.epoch for peer in self._peers)

    async def open(self) -> None:
        """Connect, once; at least one peer has to answer. Who comes meanwhile waits for the same outcome."""
        if self._peers:
            return
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(_outcome)
        await asyncio.shield(self._opening)

    async def _open(self) -> None:
        container = container_id(self._target.container)
        if container is None:
            ask = (self._target.rpc_endpoint, self._target.container, self._timing.connection)
            container = await asyncio.to_thread(nns.resolve, *ask)
        self.author = Author(self.author.key, self.author.owner, container)
        peers = [Peer(address, self.author, self._timing.request) for address in self._addresses]
        try:
            found = await asyncio.gather(*map(self._greet, peers))
            networks = [each for each in found if isinstance(each, Message)]
            if not networks:
                raise _unreachable([each for each in found if isinstance(each, StorageError)])
            self.limit = _largest_object(networks[0])
        except BaseException:
            await asyncio.gather(*(peer.close() for peer in peers))
            raise
        self._peers = peers
        self._checked = time.monotonic()

    async def check(self) -> None:
        """Raises where the container is not there, or a session is not granted."""
        body = encode((1, identifier(self.author.container)))
        await self.call("container.ContainerService/Get", body)
        await self.run(lambda peer: peer.in_session(self._timing.session, _nothing))

    async def close(self) -> None:
        peers, self._peers = self._peers, []
        tasks = [task for task in (self._opening, self._checking) if task is not None and not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *(peer.close() for peer in peers), return_exceptions=True)

    async def call(self, method: str, body: bytes) -> Message:
        return await self.run(lambda peer: peer.call(method, body))

    async def call_in_session(self, method: str, body: bytes) -> Message:
        """With a token that allows to delete in the container."""
        return await self.run(
            lambda peer: peer.in_session(self._timing.session, lambda token: peer.call(method, body, token))
        )

    async def put(self, init: Nested, chunks: Callable[[], AsyncIterator[bytes]], size: int) -> Message:
        return await self.run(lambda peer: peer.put(init, chunks, size))

    async def run(self, ask: Callable[[Peer], Awaitable[T]]) -> T:
        """Ask one peer, and those after it where that cannot help. What is asked must bear repetition."""
        await self.open()
        self._rebalance()
        for attempt in itertools.count(1):
            faults: list[StorageError] = []
            for peer in self._candidates():
                try:
                    return await ask(peer)
                except StorageError as error:
                    self.blame(peer, error)
                    faults.append(error)
            refusals = [fault for fault in faults if isinstance(fault, StatusError)]
            if refusals and all(refusal.code == MAINTENANCE for refusal in refusals):
                raise UnavailableError(DRIVER, refusals[0].detail)
            if refusals:
                raise refusals[0]
            if attempt == ROUNDS:
                raise _unreachable(faults)
            await asyncio.sleep(PAUSE_SECONDS * attempt)
        raise AssertionError("unreachable")

    async def peer(self) -> Peer:
        """The one to ask now. Whoever does tells `blame` of failures."""
        await self.open()
        self._rebalance()
        return self._candidates()[0]

    async def recover(self, failures: int) -> None:
        """Wait a little, the longer the more failures there were in a row, where no peer is well."""
        if not any(peer.healthy for peer in self._peers):
            await asyncio.sleep(PAUSE_SECONDS * failures)

    def blame(self, peer: Peer, error: StorageError) -> None:
        """Count a failure of the peer. Raises `error` if another peer would answer the same."""
        if isinstance(error, UnreachableError):
            peer.lose()
            return
        if not isinstance(error, StatusError) or not INTERNAL <= error.code <= MAINTENANCE:
            raise error
        peer.failures += 1
        if error.code == MAINTENANCE or peer.failures >= FAILURES:
            peer.lose()

    def _candidates(self) -> list[Peer]:
        """Those that are well by priority, in an order drawn by weight; then, for want of better, the others."""

        def rank(peer: Peer) -> tuple[bool, int, float]:
            return not peer.healthy, peer.address.priority, -(random.random() ** (1 / peer.address.weight))  # noqa: S311

        return sorted(self._peers, key=rank)

    def _rebalance(self) -> None:
        if time.monotonic() - self._checked < self._timing.rebalance:
            return
        if self._checking is None or self._checking.done():
            self._checked = time.monotonic()
            self._checking = asyncio.create_task(self._check_all())

    async def _check_all(self) -> None:
        await asyncio.gather(*(self._check(peer) for peer in self._peers))

    async def _check(self, peer: Peer) -> None:
        try:
            await peer.is_well()
        except (UnreachableError, StatusError):
            peer.lose()
        else:
            peer.healthy = True

    async def _greet(self, peer: Peer) -> Message | StorageError:
        try:
            network = await peer.connect(self._timing.connection)
        except StorageError as error:
            return error
        peer.healthy = True
        peer.epoch = max(peer.epoch, network.message(1).number(1))
        return network


async def _nothing(_: Nested) -> None:
    """A session is asked for only to see that it is granted."""


def _outcome(opening: asyncio.Task[None]) -> None:
    """It failed, and those who waited for it may all have gone: that is no news."""
    if not opening.cancelled():
        opening.exception()


def _unreachable(faults: list[StorageError]) -> UnavailableError:
    names = "; ".join(str(fault).removeprefix(f"{DRIVER}: ") for fault in faults)
    return UnavailableError(DRIVER, f"no peer can be reached: {names}")


def _largest_object(network: Message) -> int:
    for raw in network.message(1, 4).all(1):
        parameter = Message(raw)
        if parameter.data(1) == b"MaxObjectSize":
            size = int.from_bytes(parameter.data(2), "little")
            if size:
                return size
    raise StorageError(DRIVER, "max object size must not be zero")
