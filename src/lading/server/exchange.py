"""One request and its answer: the application's side of a connection, as ASGI has it."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from lading.server.listening import Server

log = logging.getLogger(__name__)

HIGH_WATER = 1024 * 1024
"""Body bytes that wait for the application before the client is held back."""

SMALL_BYTES = 4096
"""Pieces of a body below this size are joined: an object for each would weigh many times what it holds."""

READS = frozenset({"GET", "HEAD"})


WHOLE = "lading.response.whole"
"""An extension of ASGI: a message with all of `http.response.start`, Content-Length included, and in `body` all of
the body."""


class ClientGoneError(OSError):
    """The client has closed the connection: what is sent to it is lost."""


Peer = TypeVar("Peer", bound="Connection")


class Connection(Protocol):
    """The client's side of an exchange."""

    server: Server

    def adjust_reading(self) -> None:
        """So much waits for the application, or so little, that it matters."""

    def dropped(self, size: int) -> None:
        """Body bytes that came after the answer."""

    def finished(self, exchange: Any, /) -> None:
        """An exchange that had to wait is over."""

    def abort(self) -> None:
        """The answer cannot be finished, and the client must see that."""


class Exchange(ABC, Generic[Peer]):
    """`length` is what is known of the body's, 0 if nothing is."""

    __slots__ = (
        "_answered",
        "_arrived",
        "_buffered",
        "_chunks",
        "_connection",
        "_expects_continue",
        "_gone",
        "_scope",
        "_told_end",
        "complete",
        "expected_left",
        "started",
    )

    def __init__(self, connection: Peer, scope: dict[str, Any], length: int, *, expects: bool) -> None:
        self.complete = False
        """The body has arrived in full."""
        self.expected_left = length
        """Body bytes still to come, as far as the client has told."""
        self.started = False
        """Something of the answer has been written."""
        self._connection = connection
        self._scope = scope
        self._chunks: deque[bytes | bytearray] | None = None
        self._buffered = 0
        self._arrived: asyncio.Event | None = None
        self._gone = False
        self._told_end = False
        self._expects_continue = expects
        self._answered = False

    @property
    def full(self) -> bool:
        return self._buffered >= HIGH_WATER and not self._answered

    @property
    def answered(self) -> bool:
        """The answer is complete; nobody waits for the rest of the body."""
        return self._answered

    # -- called by the connection

    def run(self) -> bool:
        """Run the application. Whether the answer is complete; otherwise the connection is told when it is.

        What most reads need is at hand: such a request is answered here and now. It becomes a task when it has to
        wait, as all others are.
        """
        server = self._connection.server
        task: asyncio.Task[None] | None
        if self.complete and self._scope["method"] in READS:
            try:
                task = server.stepper.run(self._run())
            except asyncio.CancelledError:
                task = None
            if task is None:
                self._end()
                return True
        else:
            task = asyncio.get_running_loop().create_task(self._run())
        server.tasks.add(task)
        task.add_done_callback(self._done)
        return False

    def feed(self, data: bytes) -> None:
        if self.expected_left:
            self.expected_left -= len(data)
        if self._answered:
            self._connection.dropped(len(data))
            return
        if self._chunks is None:
            self._chunks = deque()
        if len(data) >= SMALL_BYTES:
            self._chunks.append(data)
        elif self._chunks and isinstance(self._chunks[-1], bytearray) and len(self._chunks[-1]) < HIGH_WATER:
            self._chunks[-1] += data
        else:
            self._chunks.append(bytearray(data))
        self._buffered += len(data)
        self._wake()
        if self._buffered >= HIGH_WATER:
            self._connection.adjust_reading()

    def feed_end(self) -> None:
        self.complete = True
        self._wake()

    def client_gone(self) -> None:
        self._gone = True
        self._wake()

    # -- called by the application

    async def receive(self) -> dict[str, Any]:
        if self._expects_continue and not self._chunks and not self.started:
            self._continue()
        self._expects_continue = False
        while True:
            if self._chunks:
                data = self._chunks.popleft()
                self._buffered -= len(data)
                if self._buffered < HIGH_WATER:
                    self._connection.adjust_reading()
                self._told_end = self.complete and not self._chunks
                return {"type": "http.request", "body": bytes(data), "more_body": not self._told_end}
            if self.complete and not self._told_end:
                self._told_end = True
                return {"type": "http.request", "body": b"", "more_body": False}
            if self._gone or self._answered:
                return {"type": "http.disconnect"}
            if self._arrived is None or self._arrived.is_set():
                self._arrived = asyncio.Event()
            await self._arrived.wait()

    @abstractmethod
    async def send(self, message: dict[str, Any]) -> None:
        """Raises `ClientGoneError`."""

    @abstractmethod
    def _continue(self) -> None:
        """Tell the client to send its body."""

    # -- within

    async def _run(self) -> None:
        try:
            await self._connection.server.application(self._scope, self.receive, self.send)
            if not self._answered and not self._gone:
                raise RuntimeError("the application did not finish its answer")
        except ClientGoneError:
            pass
        except Exception:
            log.exception("%s %s failed", self._scope["method"], self._scope["path"])
            # In mid-answer nothing can be said any more; the client sees it cut off.
            self._connection.abort()
        except asyncio.CancelledError:
            self._connection.abort()
            raise

    def _done(self, task: asyncio.Task[None]) -> None:
        self._connection.server.tasks.discard(task)
        if task.cancelled():
            return
        unread = self._buffered
        self._end()
        self._connection.finished(self)
        if unread and not self.complete:
            self._connection.dropped(unread)

    def _end(self) -> None:
        self._answered = True
        self._wake()
        self._buffered = 0
        self._chunks = None

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set()
