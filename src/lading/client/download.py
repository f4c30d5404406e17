"""A blob on its way: continued where it broke off, checked at its end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self

import aiohttp

from lading.client.errors import ClientError, InvalidAnswerError, UnreachableError
from lading.client.transport import describe
from lading.oci.digest import Digest
from lading.oci.hashing import Hasher

PROGRESS_BYTES = 256 * 1024
"""Who has sent as much since the last failure may fail as often as at the beginning."""

_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")

Open = Callable[[int], Awaitable[aiohttp.ClientResponse]]
"""The answer that begins at an offset, or earlier. Raises `ClientError`."""


Progress = Callable[[int, int], None]
"""Hears, as a blob moves, how many bytes are there and how many there will be. The first number may fall."""


class Download:
    """An iterator of the blob's bytes from `offset` on; `size` is that of the whole.

    It ends only when all of them came; whoever has read from 0 with a `digest` has what it says. Raises
    `ClientError`.
    """

    def __init__(
        self,
        host: str,
        answer: aiohttp.ClientResponse,
        offset: int,
        attempts: int,
        reopen: Open,
        progress: Progress | None = None,
    ) -> None:
        """Raises `InvalidAnswerError`."""
        self._host = host
        self._answer = answer
        self._attempts = attempts
        self._reopen = reopen
        self._progress = progress
        self._hasher: Hasher | None = None
        self._digest: Digest | None = None
        self.offset = offset
        start, self.size = _extent(host, answer)
        self._skip = self._skipped(start)

    def verify(self, digest: Digest) -> None:
        """Compare the digest at the end; only for a download from 0."""
        self._digest, self._hasher = digest, Hasher(digest.algorithm)

    @property
    def content_type(self) -> str:
        return self._answer.headers.get("Content-Type", "")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """What was not read is not waited for."""
        self._answer.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        failures = progress = 0
        while self.offset < self.size:
            try:
                piece = await self._answer.content.readany()
                if not piece:
                    raise UnreachableError(
                        f"{self._host}: the blob broke off at {self.offset} of {self.size} bytes"
                    )
            except (aiohttp.ClientError, TimeoutError, OSError, UnreachableError) as error:
                failures = 1 if progress >= PROGRESS_BYTES else failures + 1
                progress = 0
                if failures >= self._attempts:
                    raise UnreachableError(f"{self._host}: the blob broke off: {describe(error)}") from error
                await self._resume(failures)
                continue
            if self._skip:
                piece, self._skip = piece[self._skip :], max(0, self._skip - len(piece))
            if len(piece) > self.size - self.offset:
                raise InvalidAnswerError(f"{self._host}: sends more than the {self.size} bytes of the blob")
            if piece:
                progress += len(piece)
                self.offset += len(piece)
                if self._hasher is not None:
                    self._hasher.update(piece)
                if self._progress is not None:
                    self._progress(self.offset, self.size)
                yield piece
        self._answer.release()
        if self._hasher is not None and self._hasher.digest() != self._digest:
            raise InvalidAnswerError(f"{self._host}: the blob's content does not match its digest {self._digest}")

    async def _resume(self, failures: int) -> None:
        self._answer.close()
        await asyncio.sleep(0.2 * 2 ** (failures - 1))
        try:
            self._answer = await self._reopen(self.offset)
        except UnreachableError:
            return  # counts as the next failure, because the old answer is closed
        start, size = _extent(self._host, self._answer)
        if size != self.size:
            raise InvalidAnswerError(f"{self._host}: the blob had {self.size} bytes, and now has {size}")
        self._skip = self._skipped(start)

    def _skipped(self, start: int) -> int:
        if not 0 <= start <= self.offset <= self.size:
            raise InvalidAnswerError(f"{self._host}: sends other bytes of the blob than were asked for")
        return self.offset - start


def _extent(host: str, answer: aiohttp.ClientResponse) -> tuple[int, int]:
    """Where the answer starts within the blob, and the size of the blob."""
    if answer.status == 206:
        found = _RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
        if found is not None and found[3] != "*":
            return int(found[1]), int(found[3])
        error: ClientError = InvalidAnswerError(f"{host}: a part of a blob without a Content-Range")
    else:
        if answer.content_length is not None:
            return 0, answer.content_length
        error = InvalidAnswerError(f"{host}: a blob without a Content-Length")
    answer.close()
    raise error
