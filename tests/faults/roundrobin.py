"""A plain proxy before several HTTP servers: each connection goes to the next one that can be reached."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Iterator, Sequence


class RoundRobin:
    """Each connection is one request of `tests.servers.client.Client`. `turns` counts them for each server."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self.host = ""
        self.turns = dict.fromkeys(hosts, 0)
        self._order = itertools.cycle(hosts)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for _ in self.turns:
                host = next(self._order)
                name, port = host.split(":")
                with contextlib.suppress(ConnectionRefusedError):
                    upstream, sending = await asyncio.open_connection(name, int(port))
                    self.turns[host] += 1
                    await asyncio.gather(_pass_on(reader, sending), _pass_on(upstream, writer))
                    return
        finally:
            writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until either side is gone, which the other side is then told."""
    try:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()


@contextlib.contextmanager
def round_robin(hosts: Sequence[str]) -> Iterator[RoundRobin]:
    """In a thread of its own."""
    proxy, loop, listening = RoundRobin(hosts), asyncio.new_event_loop(), threading.Event()
    stop = asyncio.Event()

    async def run() -> None:
        server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        proxy.host = f"{address[0]}:{address[1]}"
        listening.set()
        await stop.wait()
        server.close()
        serving = asyncio.all_tasks() - {asyncio.current_task()}
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        assert listening.wait(10)
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
