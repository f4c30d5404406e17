"""What a case is given: a storage that is empty, and must be empty again after it."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from lading.registry.ports import PathNotFoundError, Storage, StorageError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much the large cases move, in bytes."""

    stream: int
    """One object that is streamed in and out."""
    shared: int
    """One object that is read by ten at once."""
    files: int
    """The number of objects that are written and read at once, and the bytes of each."""
    file: int
    append: int
    """Each of three pieces that are appended in turn."""


SMALL = Sizes(stream=10 * MIB, shared=10 * MIB, files=8, file=8 * MIB, append=10 * MIB)
FULL = Sizes(stream=5 * GIB, shared=128 * MIB, files=32, file=32 * MIB, append=10 * MIB)


class Trial:
    """One run of one case."""

    ROOT = "contract"

    def __init__(self, storage: Storage, peer: Storage, sizes: Sizes) -> None:
        self.storage = storage
        self.peer = peer
        """The same content as another process sees it; `storage` itself if its content is not shared."""
        self.sizes = sizes

    def key(self, *names: str) -> str:
        """A key below the only directory that a case may leave behind."""
        return "/".join(("", self.ROOT, *names))

    async def write(self, key: str, *chunks: bytes, append: bool = False) -> int:
        """The object's size after these chunks were written in one call and committed."""
        writer = await self.storage.writer(key, append=append)
        try:
            await writer.write(chunks)
            await writer.commit()
            return writer.size
        finally:
            await writer.close()

    async def read(self, key: str, offset: int = 0, limit: int = MIB) -> bytes:
        """What a reader that starts at `offset` gets until its end, at most `limit` bytes at a time."""
        reader = await self.storage.open(key, offset)
        data = bytearray()
        try:
            while piece := await reader.read(limit):
                assert len(piece) <= limit, f"{len(piece)} bytes were read, not up to {limit}"
                data += piece
        finally:
            await reader.close()
        return bytes(data)

    async def list(
        self, key: str, *, after: str = "", limit: int | None = None, holding: str = ""
    ) -> Sequence[str]:
        return list(await self.storage.list(key, after=after, limit=limit, holding=holding))

    async def size_of_unfinished(self, key: str) -> int:
        """As an upload's state is asked for: the size an appending writer finds."""
        writer = await self.peer.writer(key, append=True)
        await writer.close()
        return writer.size

    async def assert_missing(self, key: str) -> None:
        for storage in (self.storage, self.peer):
            with self.refused(PathNotFoundError, key=key):
                await storage.stat(key)
            with self.refused(PathNotFoundError, key=key):
                await storage.get(key)

    @contextlib.contextmanager
    def refused(self, kind: type[StorageError] = StorageError, **attributes: object) -> Iterator[None]:
        """The block must raise `kind` with these attributes and with the driver's name before its text."""
        raised: StorageError | None = None
        try:
            yield
        except kind as error:
            raised = error
        assert raised is not None, f"{kind.__name__} was not raised"
        assert str(raised).startswith(f"{self.storage.name}: "), f"no driver's name before: {raised}"
        for name, value in {"driver": self.storage.name, **attributes}.items():
            equal(getattr(raised, name), value, f"the error's {name}")


class Case(Protocol):
    """A coroutine function that raises, an `AssertionError` or what the driver raised, if a promise is broken."""

    __name__: str

    def __call__(self, trial: Trial, /) -> Awaitable[None]: ...


async def run(case: Case, make: Callable[[], Storage], sizes: Sizes = SMALL) -> None:
    """Raises where the driver breaks its promise. The storage must be empty, and is empty afterwards."""
    storage = make()
    trial = Trial(storage, make() if storage.traits.shared else storage, sizes)
    equal(await trial.list("/"), [], "the storage before the case")
    try:
        await case(trial)
    except BaseException:
        with contextlib.suppress(StorageError):
            await storage.delete(trial.key())
        raise
    with contextlib.suppress(PathNotFoundError):
        await storage.delete(trial.key())
    equal(await trial.list("/"), [], "the storage after the case")


def equal(found: object, expected: object, what: str) -> None:
    assert found == expected, f"{what}: expected {_short(expected)}, found {_short(found)}"


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes without a pattern, the same in every run."""
    return random.Random(seed).randbytes(size)


def _short(value: object) -> str:
    text = repr(value)
    if len(text) <= 200:
        return text
    length = f" ({len(value)} in all)" if isinstance(value, bytes | list) else ""
    return f"{text[:200]}…{length}"
