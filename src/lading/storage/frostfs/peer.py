"""One node: its channel, which names its services go by, the sessions it keeps, how it is doing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import NamedTuple, TypeVar

import grpc
import grpc.aio

from lading.registry.ports import StorageError, UnavailableError
from lading.storage.frostfs.encoding import EncodingError, Message, Nested, encode
from lading.storage.frostfs.messages import (
    DRIVER,
    TOKEN_EXPIRED,
    TOKEN_NOT_FOUND,
    Author,
    StatusError,
    identifier,
    lifetime_token,
    meta,
)
from lading.storage.frostfs.signing import SignatureError, check_answer

T = TypeVar("T")

PREFIXES = ("neo.fs.v2.", "frost.fs.")
"""What the names of services begin with; newer nodes of FrostFS know the second."""

STALL_SECONDS = 30.0
"""How long the next piece of an object may take, at least."""

SLOWEST = 256 * 1024
"""Bytes a second an upload must reach."""

DELETE = 5
"""The verb of a session."""

_OPTIONS = [
    ("grpc.max_receive_message_length", 16 * 1024**2),
    ("grpc.keepalive_timeout_ms", 5000),
    # So much of a stream is on its way: left to itself it grows, and a worker's memory with it.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 1024**2),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
]


class Address(NamedTuple):
    """`target` is a host with a port. Of those with the lowest priority a peer is chosen by its weight."""

    target: str
    tls: bool
    weight: float = 1.0
    priority: int = 0


class UnreachableError(UnavailableError):
    """A node cannot be spoken to."""

    def __init__(self, target: str, detail: str) -> None:
        super().__init__(DRIVER, f"{target}: {detail}")
        self.detail = detail


class Peer:
    """Calls raise `StatusError`, `UnreachableError`; bodies are given and returned without their envelope."""

    def __init__(self, address: Address, author: Author, request_timeout: float) -> None:
        self.address = address
        self.healthy = False
        self.failures = 0
        self.epoch = 0
        self._author = author
        self._timeout = request_timeout
        self._meta = meta()
        self._prefix = ""
        self._channel: grpc.aio.Channel | None = None
        self._token: tuple[int, Nested] | None = None
        self._granting = asyncio.Lock()

    async def connect(self, seconds: float) -> Message:
        """Say what the node is called, once it answers: its `NetworkInfo`."""
        try:
            await asyncio.wait_for(self._opened().channel_ready(), seconds)
        except TimeoutError:
            raise UnreachableError(self.address.target, "no connection") from None
        return await self._introduce()

    async def _introduce(self) -> Message:
        """Find out what its services are called, which is asked once."""
        for prefix in (self._prefix,) if self._prefix else PREFIXES:
            try:
                network = self._body(
                    await self._ask(f"/{prefix}netmap.NetmapService/NetworkInfo", b"", self._meta)
                )
            except UnreachableError as error:
                cause = error.__cause__
                if (
                    not isinstance(cause, grpc.aio.AioRpcError)
                    or cause.code() is not grpc.StatusCode.UNIMPLEMENTED
                ):
                    raise
            else:
                self._prefix = prefix
                return network
        raise UnreachableError(self.address.target, "is no node of FrostFS")

    async def is_well(self) -> None:
        """Raises where the node does not answer."""
        await self.connect(self._timeout)

    async def _called(self, method: str) -> str:
        """What the node calls it. It may not have been there before."""
        if not self._prefix:
            await self._introduce()
        return f"/{self._prefix}{method}"

    async def call(self, method: str, body: bytes, token: Nested | None = None) -> Message:
        header = self._meta if token is None else meta(token)
        return self._body(await self._ask(await self._called(method), body, header))

    async def _ask(self, path: str, body: bytes, header: Nested) -> bytes:
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._opened().unary_unary(path)
        with _Faults(self):
            return await ask(self._author.key.request(body, header), timeout=self._timeout)

    async def stream(self, method: str, body: bytes) -> AsyncGenerator[Message]:
        """The bodies of all answers. To be closed where it is not read to its end."""
        path = await self._called(method)
        ask: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self._opened().unary_stream(path)
        answers = ask(self._author.key.request(body, self._meta))
        try:
            while True:
                with _Faults(self):
                    raw = await asyncio.wait_for(answers.read(), max(self._timeout, STALL_SECONDS))
                if not isinstance(raw, bytes):  # the end
                    return
                yield self._body(raw)
        finally:
            answers.cancel()

    async def put(self, init: Nested, chunks: Callable[[], AsyncIterator[bytes]], size: int) -> Message:
        """What `chunks` raises as `StorageError` is passed on."""
        broken: list[StorageError] = []

        async def requests() -> AsyncIterator[bytes]:
            yield self._author.key.request(encode((1, init)), self._meta)
            try:
                async for chunk in chunks():
                    yield self._author.key.request(encode((2, chunk)), self._meta)
            except StorageError as error:
                broken.append(error)
                raise

        path = await self._called("object.ObjectService/Put")
        ask: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = self._opened().stream_unary(path)
        try:
            with _Faults(self):
                raw = await ask(requests(), timeout=max(self._timeout, STALL_SECONDS) + size / SLOWEST)
        except asyncio.CancelledError:
            # So gRPC ends a call for which there are no more requests to be had.
            if broken:
                raise broken[0] from None
            raise
        return self._body(raw)

    async def in_session(self, epochs: int, ask: Callable[[Nested], Awaitable[T]]) -> T:
        """Call `ask` with a token to delete. Where the node has forgotten the session, it is made anew once."""
        token = await self._session(epochs)
        try:
            return await ask(token)
        except StatusError as error:
            if error.code not in (TOKEN_NOT_FOUND, TOKEN_EXPIRED):
                raise
        if self._token is not None and self._token[1] is token:
            self._token = None
        return await ask(await self._session(epochs))

    async def _session(self, epochs: int) -> Nested:
        async with self._granting:
            if self._token is None or self._token[0] <= self.epoch:
                expires = self.epoch + epochs
                owner = self._author.owner
                made = await self.call(
                    "session.SessionService/Create", encode((1, identifier(owner)), (2, expires))
                )
                token = lifetime_token(self._author.key, owner, made, self._author.container, expires, DELETE)
                self._token = expires, token
            return self._token[1]

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    def lose(self) -> None:
        """Not to be asked again before it is well; what it knew in memory may be gone."""
        self.healthy = False
        self.failures = 0
        self._token = None

    def _opened(self) -> grpc.aio.Channel:
        if self._channel is None:
            self._channel = (
                grpc.aio.secure_channel(self.address.target, grpc.ssl_channel_credentials(), options=_OPTIONS)
                if self.address.tls
                else grpc.aio.insecure_channel(self.address.target, options=_OPTIONS)
            )
        return self._channel

    def _body(self, raw: bytes) -> Message:
        try:
            answer = Message(raw)
            check_answer(answer)
            header = answer.message(2)
            self.epoch = max(self.epoch, header.number(2))
            while header.has(5):  # what the node that did the work says, not those that passed it on
                header = header.message(5)
            status = header.message(6)
            if status.number(1):
                raise StatusError(status.number(1), status.text(2))
            return answer.message(1)
        except (EncodingError, SignatureError) as error:
            raise UnreachableError(self.address.target, str(error)) from error


class _Faults:
    """Faults of the transport become `UnreachableError`."""

    def __init__(self, peer: Peer) -> None:
        self._target = peer.address.target

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, grpc.aio.AioRpcError):
            detail = f"{error.code().name.lower().replace('_', ' ')}: {error.details()}"
            raise UnreachableError(self._target, detail) from error
        if isinstance(error, TimeoutError):
            raise UnreachableError(self._target, "no answer in time") from error
