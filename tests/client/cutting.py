"""A connection that breaks: what goes between a client and a registry is counted, and cut once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

PIECE = 64 * 1024


class Cutting:
    """`sent` and `received` are bytes of all connections, seen from the client.

    `cut_sent` and `cut_received` are how many of them pass before everything that is open ends.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self.host = ""
        self.sent = self.received = self.cuts = 0
        self.cut_sent: int | None = None
        self.cut_received: int | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.create_task(self._serve(reader, writer)))

    async def stop(self) -> None:
        for each in list(self._open):
            each.close()
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._target.rpartition(":")
        upstream, sending = await asyncio.open_connection(host, int(port))
        self._open |= {writer, sending}
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pump(reader, sending, "sent"), self._pump(upstream, writer, "received"))
        for each in (writer, sending):
            self._open.discard(each)
            each.close()
            with contextlib.suppress(OSError):
                await each.wait_closed()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(PIECE):
                limit = getattr(self, f"cut_{way}")
                if limit is not None and getattr(self, way) + len(piece) > limit:
                    piece = piece[: limit - getattr(self, way)]
                    setattr(self, f"cut_{way}", None)
                    setattr(self, way, getattr(self, way) + len(piece))
                    writer.write(piece)
                    await writer.drain()
                    self.cuts += 1
                    for each in list(self._open):
                        each.close()
                    return
                setattr(self, way, getattr(self, way) + len(piece))
                writer.write(piece)
                await writer.drain()
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()


@contextlib.asynccontextmanager
async def cutting(target: str) -> AsyncIterator[Cutting]:
    made = Cutting(target)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        await made.stop()
