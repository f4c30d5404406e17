"""A blob on its way to a registry: in chunks, and after a break from where the registry says that it is."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from urllib.parse import quote

import aiohttp
from yarl import URL

from lading.client.download import PROGRESS_BYTES, Progress
from lading.client.errors import AnswerError, ClientError, InvalidAnswerError, NotFoundError, UnreachableError
from lading.client.transport import Transport
from lading.oci.digest import Digest

CHUNK_BYTES = 64 * 1024 * 1024
"""Of one PATCH. A registry that forgets a request that breaks off loses no more than this."""

SINGLE_BYTES = 1024 * 1024
"""A blob of so many bytes goes with the request that ends its upload."""

_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,19})")
_OCTETS = {"Content-Type": "application/octet-stream"}

Source = Callable[[int], AsyncGenerator[bytes, None]]
"""The bytes from an offset on. It is called again wherever an upload has to go on."""


class Outcome(enum.StrEnum):
    """How a blob came to be in a repository."""

    PRESENT = "present"
    MOUNTED = "mounted"
    UPLOADED = "uploaded"


@dataclass(frozen=True, slots=True)
class Blob:
    """What is to be uploaded. `size` is in bytes."""

    digest: Digest
    size: int
    source: Source


class _LostError(Exception):
    """The registry has forgotten the session, or has got to where nothing was sent."""


class Upload:
    """One upload session (distribution specification, end-4a to end-6). Methods raise `ClientError`."""

    def __init__(self, transport: Transport, scope: str, answer: aiohttp.ClientResponse) -> None:
        """Raises `InvalidAnswerError` if the answer names no session."""
        self._transport = transport
        self._scope = scope
        minimum = answer.headers.get("OCI-Chunk-Min-Length", "")
        self.minimum = int(minimum) if re.fullmatch(r"[0-9]{1,19}", minimum) else 0
        """Bytes that a chunk other than the last must have."""
        self._location = URL()
        self._follow(answer)

    async def status(self) -> int:
        """How many bytes the registry has."""
        answer = await self._request("GET", {}, (204, 200))
        return self._received(answer, 0)

    async def send(self, start: int, size: int, body: Callable[[], AsyncIterator[bytes]] | bytes) -> int:
        """A chunk of `size` bytes from `start` on; how many bytes the registry has then. It is not tried again."""
        headers = {
            **_OCTETS,
            "Content-Length": str(size),
            "Content-Range": f"{start}-{start + size - 1}",
        }
        answer = await self._request("PATCH", headers, (202, 201, 204), body=body)
        return self._received(answer, start + size)

    async def finish(self, digest: Digest, body: bytes = b"") -> None:
        """Everything is there, or comes with this request. It is not tried again."""
        headers = {**_OCTETS, "Content-Length": str(len(body))}
        url = self._location.extend_query({"digest": str(digest)})
        answer = await self._transport.request(
            "PUT", str(url), headers, scope=self._scope, accepted=(201, 204), body=body, repeat=False
        )
        answer.release()

    async def cancel(self) -> None:
        """Also where the registry has forgotten it."""
        try:
            answer = await self._request("DELETE", {}, (204, 202, 200))
        except NotFoundError:
            return
        answer.release()

    async def _request(
        self,
        method: str,
        headers: dict[str, str],
        accepted: tuple[int, ...],
        body: Callable[[], AsyncIterator[bytes]] | bytes | None = None,
    ) -> aiohttp.ClientResponse:
        answer = await self._transport.request(
            method,
            str(self._location),
            headers,
            scope=self._scope,
            accepted=accepted,
            body=body,
            repeat=method != "PATCH",
        )
        if method != "DELETE":
            self._follow(answer)
        return answer

    def _follow(self, answer: aiohttp.ClientResponse) -> None:
        """Each answer may say where the next request goes; the first one must."""
        location = answer.headers.get("Location", "")
        if location:
            try:
                self._location = answer.url.join(URL(location, encoded=True))
            except ValueError:
                location = ""
        if not location and not self._location.host:
            answer.close()
            raise InvalidAnswerError(f"{self._transport.host}: begins an upload, and does not say where")

    def _received(self, answer: aiohttp.ClientResponse, otherwise: int) -> int:
        answer.release()
        found = _RANGE.fullmatch(answer.headers.get("Range", "").strip())
        return otherwise if found is None else int(found[1]) + 1


class Uploader:
    """Brings blobs into one repository."""

    def __init__(self, transport: Transport, name: str, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._transport = transport
        self._path = f"/v2/{quote(name)}/blobs/"
        self._name = name
        self._scope = f"repository:{name}:pull,push"
        self._chunk_bytes = chunk_bytes

    async def begin(self) -> Upload:
        """A new session. Raises `ClientError`."""
        answer = await self._transport.request(
            "POST",
            f"{self._path}uploads/",
            {"Content-Length": "0"},
            scope=self._scope,
            accepted=(202,),
        )
        answer.release()
        return Upload(self._transport, self._scope, answer)

    async def mount(self, digest: Digest, origin: str) -> Upload | None:
        """None if the blob is now there; else a session, as the registry would not. Raises `ClientError`.

        `origin` is a repository of the same registry; with "" the registry is to find one by itself.
        """
        asked = f"mount={quote(digest, safe=':')}" + (f"&from={quote(origin, safe='/')}" if origin else "")
        scope = f"repository:{origin}:pull {self._scope}" if origin else self._scope
        answer = await self._transport.request(
            "POST",
            f"{self._path}uploads/?{asked}",
            {"Content-Length": "0"},
            scope=scope,
            accepted=(201, 202),
        )
        answer.release()
        return None if answer.status == 201 else Upload(self._transport, self._scope, answer)

    async def put(self, blob: Blob, upload: Upload | None = None, progress: Progress | None = None) -> None:
        """By a session that was begun, or a new one. Raises `ClientError`, and what the source raises."""
        attempts = self._transport.timing.attempts
        for attempt in range(1, attempts + 1):
            try:
                upload = upload or await self.begin()
                if blob.size <= SINGLE_BYTES:
                    await self._whole(upload, blob)
                else:
                    await self._chunks(upload, blob, progress)
                if progress is not None:
                    progress(blob.size, blob.size)
                return
            except _LostError as lost:
                if await self._has(blob):
                    return  # the answer to the last request was lost, not the request
                if attempt == attempts:
                    raise lost.__cause__ or UnreachableError(f"{self._transport.host}: lost the upload") from None
                upload = None
                await asyncio.sleep(self._transport.timing.pause * 2 ** (attempt - 1))
        raise AssertionError("unreachable")

    async def _whole(self, upload: Upload, blob: Blob) -> None:
        data = bytearray()
        async with contextlib.aclosing(blob.source(0)) as pieces:
            async for piece in pieces:
                data += piece
                if len(data) > blob.size:
                    break  # however much its source has: it is held in memory
        if len(data) != blob.size:
            more = "more" if len(data) > blob.size else str(len(data))
            raise InvalidAnswerError(f"{blob.digest}: has {more} bytes, and should have {blob.size}")
        try:
            await upload.finish(blob.digest, bytes(data))
        except ClientError as error:
            _lost(error)

    async def _chunks(self, upload: Upload, blob: Blob, progress: Progress | None) -> None:
        offset = failures = since = 0
        length = max(self._chunk_bytes, upload.minimum)
        while True:
            try:
                while offset < blob.size:
                    received = await self._chunk(upload, blob, offset, length, progress)
                    since += received - offset
                    offset = received
                await upload.finish(blob.digest)
                return
            except NotFoundError as error:
                raise _LostError from error
            except ClientError as error:
                failures = 1 if since >= PROGRESS_BYTES else failures + 1
                since = 0
                pause = self._pause(error, failures)
                if pause is None:
                    raise
                failure = error
            await asyncio.sleep(pause)
            offset = await self._resumed(upload, blob, failure)

    async def _chunk(self, upload: Upload, blob: Blob, offset: int, length: int, progress: Progress | None) -> int:
        size = min(length, blob.size - offset)
        try:
            async with asyncio.timeout(None) as limit:
                body = _Chunk(blob, offset, size, progress, _Patience(limit, self._transport.timing.idle))
                try:
                    received = await upload.send(offset, size, body)
                except ClientError:
                    body.check()
                    raise
        except TimeoutError:
            raise UnreachableError(f"{self._transport.host}: takes no more bytes of the upload") from None
        if not offset < received <= offset + size:
            raise InvalidAnswerError(f"{self._transport.host}: has other bytes of the upload than were sent")
        return received

    async def _resumed(self, upload: Upload, blob: Blob, error: ClientError) -> int:
        """Where to go on after an error. Raises `_LostError`."""
        try:
            offset = await upload.status()
        except NotFoundError as lost:
            raise _LostError from lost
        if offset > blob.size:
            raise _LostError
        if offset == 1 and not _misplaced(error):
            return 0  # "0-0" is said of no byte and of one: who is refused from 0 on has sent one
        return offset

    def _pause(self, error: ClientError, failures: int) -> float | None:
        """As for other requests; None for what is not to be tried again."""
        if _misplaced(error):
            error = UnreachableError(str(error))  # the registry has got to elsewhere, which its status says
        return self._transport.pause(error, failures) if _passes(error) else None

    async def _has(self, blob: Blob) -> bool:
        try:
            answer = await self._transport.request(
                "HEAD", f"{self._path}{blob.digest}", {}, scope=self._scope, accepted=(200,)
            )
        except NotFoundError:
            return False
        answer.release()
        return True


class _Patience:
    """A registry may be slow, but must take something within `seconds`; the source has limits of its own."""

    def __init__(self, limit: asyncio.Timeout, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds

    def begin(self) -> None:
        if not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + self._seconds)

    def end(self) -> None:
        if not self._limit.expired():
            self._limit.reschedule(None)


class _Chunk:
    """A part of a source as a request's body; what the source raises is kept, as HTTP would hide it."""

    def __init__(self, blob: Blob, start: int, size: int, progress: Progress | None, patience: _Patience) -> None:
        self._blob = blob
        self._start = start
        self._size = size
        self._progress = progress
        self._patience = patience
        self._error: Exception | None = None

    async def __call__(self) -> AsyncIterator[bytes]:
        done = self._start
        try:
            async with contextlib.aclosing(self._parts()) as parts:
                async for part in parts:
                    self._patience.begin()
                    yield part
                    self._patience.end()
                    done += len(part)
                    if self._progress is not None:
                        self._progress(done, self._blob.size)
            self._patience.begin()
        except (ClientError, OSError) as error:
            self._error = error
            raise

    async def _parts(self) -> AsyncGenerator[bytes, None]:
        """The last part of a blob is held back until its source has ended: only then is all of it verified."""
        held, left = b"", self._size
        ends = self._start + self._size == self._blob.size
        async with contextlib.aclosing(self._blob.source(self._start)) as pieces:
            async for piece in pieces:
                if held:
                    yield held
                if ends and len(piece) > left:
                    raise InvalidAnswerError(
                        f"{self._blob.digest}: its source has more than {self._blob.size} bytes"
                    )
                held = piece[:left]
                left -= len(held)
                if not left and not ends:
                    break
        if left:
            raise InvalidAnswerError(f"{self._blob.digest}: its source ends {left} bytes too early")
        yield held

    def check(self) -> None:
        """Raises what the source has raised."""
        if self._error is not None:
            raise self._error


def _misplaced(error: ClientError) -> bool:
    """Whether a chunk does not begin where the registry has got to."""
    return isinstance(error, AnswerError) and error.status == 416


def _passes(error: ClientError) -> bool:
    """Whether to ask for the status and to go on may do better."""
    if isinstance(error, AnswerError):
        return error.status in {408, 416, 429} or error.status >= 500
    return isinstance(error, UnreachableError)


def _lost(error: ClientError) -> None:
    if _passes(error) or isinstance(error, NotFoundError):
        raise _LostError from error
    raise error
