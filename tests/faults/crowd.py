"""Many slow and idle clients at once, in a process of their own, and one fast client that is measured.

    python -m tests.faults.crowd HOST IDLE READERS WRITERS TARGET    until standard input is closed

Says `ready` when all of them are connected and the slow ones have been served some bytes, and at the end how many
of each were left.
"""

from __future__ import annotations

import asyncio
import resource
import sys

READ_BYTES = 512
WRITTEN_BYTES = 512
TURN_SECONDS = 0.2
WRITTEN_LENGTH = 1 << 30


def allow_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Crowd:
    def __init__(self, host: str, target: str) -> None:
        self.host = host
        self.target = target
        self.left = {"idle": 0, "readers": 0, "writers": 0}
        self._gate = asyncio.Semaphore(100)
        """Not more than so many connect at the same moment."""

    async def run(self, counts: dict[str, int]) -> None:
        ready = [asyncio.Event() for _ in range(sum(counts.values()))]
        events = iter(ready)
        roles = {"idle": self._idle, "readers": self._read, "writers": self._write}
        tasks = [
            asyncio.create_task(self._live(kind, roles[kind], next(events)))
            for kind, count in counts.items()
            for _ in range(count)
        ]
        await asyncio.gather(*(event.wait() for event in ready))
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for kind, count in self.left.items():
            print(kind, count, flush=True)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _live(self, kind, role, ready) -> None:  # type: ignore[no-untyped-def]
        address, _, port = self.host.rpartition(":")
        async with self._gate:
            reader, writer = await asyncio.open_connection(address, int(port), limit=1024)
            self.left[kind] += 1
        try:
            await role(reader, writer, ready)
        finally:
            self.left[kind] -= 1
            ready.set()
            writer.transport.abort()

    async def _ask(self, reader, writer, method: str, target: str, more: str = "") -> bytes:  # type: ignore[no-untyped-def]
        writer.write(f"{method} {target} HTTP/1.1\r\nHost: {self.host}\r\n{more}\r\n".encode())
        head: bytes = await reader.readuntil(b"\r\n\r\n")
        return head

    async def _idle(self, reader, writer, ready) -> None:  # type: ignore[no-untyped-def]
        await self._ask(reader, writer, "HEAD", "/v2/")
        ready.set()
        await reader.read(1)

    async def _read(self, reader, writer, ready) -> None:  # type: ignore[no-untyped-def]
        await self._ask(reader, writer, "GET", self.target)
        while await reader.read(READ_BYTES):
            ready.set()
            await asyncio.sleep(TURN_SECONDS)

    async def _write(self, reader, writer, ready) -> None:  # type: ignore[no-untyped-def]
        head = await self._ask(reader, writer, "POST", "/v2/slow/app/blobs/uploads/", "Content-Length: 0\r\n")
        location = next(line[10:] for line in head.decode().splitlines() if line.lower().startswith("location:"))
        path = "/" + location.split("/", 3)[3]
        length = f"Content-Length: {WRITTEN_LENGTH}\r\n"
        writer.write(f"PATCH {path} HTTP/1.1\r\nHost: {self.host}\r\n{length}\r\n".encode())
        while not reader.at_eof():
            writer.write(bytes(WRITTEN_BYTES))
            await writer.drain()
            ready.set()
            await asyncio.sleep(TURN_SECONDS)


if __name__ == "__main__":
    allow_descriptors()
    where, idle, readers, writers, blob = sys.argv[1:]
    asyncio.run(Crowd(where, blob).run({"idle": int(idle), "readers": int(readers), "writers": int(writers)}))
