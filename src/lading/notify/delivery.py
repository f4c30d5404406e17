"""Events from the journal to an endpoint: in their order, again and again until it takes them."""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

from lading.notify.journal import Entry, Interest, Journal
from lading.notify.transport import Answer, Transport

log = logging.getLogger(__name__)

T = TypeVar("T")

POLL_SECONDS = 0.05
LOOK_SECONDS = 5.0
"""Between looks at what waits while an endpoint does not take its events."""

COUNT_SECONDS = 60.0
"""Between counts of all that waits, after some of it was given up."""

READ_AHEAD = 200
GROUP_BYTES = 1024 * 1024
"""What has more is not sent with others."""

UNMARKED_EVENTS = 100
UNMARKED_SECONDS = 0.1
"""Events that may be delivered once more after a crash: so many, or those of so long."""

FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 60.0
LONGEST_ASKED_SECONDS = 3600.0
"""An endpoint that asks to be left alone is left alone no longer."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Times are in seconds."""

    interest: Interest
    threshold: int = 10
    backoff: float = 1.0
    together: int = 1
    """Events that are sent at once, if so many wait."""
    linger: float = 0.0
    """How long the first of them waits for others."""
    attempts: int = 0
    """After so many failures in a row of an endpoint that answers, events are parked; 0 is never."""

    @property
    def name(self) -> str:
        return self.interest.name

    def pause(self, failures: int) -> float:
        """How long to wait after so many failures in a row: longer each time, `backoff` from `threshold` on."""
        over = failures - self.threshold
        if over < 0:
            longest = min(self.backoff, FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 32))
        else:
            longest = max(self.backoff, min(self.backoff * 2.0 ** min(over, 32), LONGEST_PAUSE_SECONDS))
        return longest * random.uniform(0.5, 1.0) if over != 0 else self.backoff  # noqa: S311  no secret


class Count(Protocol):
    def happened(self, kind: str, endpoint: str, events: int) -> None:
        """`kind` is Events, Successes, Failures or Errors."""
        ...

    def answered(self, code: str, endpoint: str, events: int) -> None:
        """`code` is a status."""
        ...

    def waiting(self, pending: int, parked: int, endpoint: str) -> None: ...


class Delivery:
    """To one endpoint. It alone uses the journal and the transport it is given, and closes them."""

    def __init__(self, journal: Journal, endpoint: Endpoint, transport: Transport, count: Count) -> None:
        self._journal = journal
        self._endpoint = endpoint
        self._transport = transport
        self._count = count
        self._thread = ThreadPoolExecutor(1, "delivery")
        self._ahead: deque[Entry] = deque()
        self._ahead_bytes = 0
        self._read = self._had = self._marked = 0
        """Events up to there are read, had by the endpoint, and known to be had by the journal."""
        self._seen = self._pending = 0
        """Events up to there are counted, and so many of them wait."""
        self._marked_at = self._looked_at = self._counted_at = -COUNT_SECONDS

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                try:
                    await self._deliver_all()
                except sqlite3.Error as error:
                    log.error("cannot use the journal of notifications: %s", error)
                    await asyncio.sleep(self._endpoint.backoff)
        finally:
            await asyncio.shield(asyncio.ensure_future(self._close()))

    async def _close(self) -> None:
        await self._transport.close()
        try:
            await self._mark()
            await self._in_thread(self._journal.close)
        except sqlite3.Error as error:
            log.error("cannot use the journal of notifications: %s", error)
        self._thread.shutdown()

    async def _deliver_all(self) -> None:
        start = await self._in_thread(lambda: self._journal.cursor(self._endpoint.name))
        # What was had before an error of the journal need not be sent again.
        self._had = self._read = max(start, self._had)
        self._ahead.clear()
        self._ahead_bytes = 0
        await self._look()
        while True:
            group = await self._next()
            await self._deliver(group)

    async def _next(self) -> list[Entry]:
        """What is to be sent at once. Waits for it."""
        loop, together, linger = asyncio.get_running_loop(), self._endpoint.together, self._endpoint.linger
        until = 0.0
        while True:
            if len(self._ahead) < together and self._ahead_bytes < GROUP_BYTES:
                await self._fetch()
            if self._ahead:
                until = until or loop.time() + linger
                left = until - loop.time()
                if left <= 0 or len(self._ahead) >= together or self._ahead_bytes >= GROUP_BYTES:
                    return self._group()
            else:
                left = POLL_SECONDS
            await self._mark_in_time()
            await asyncio.sleep(min(left, POLL_SECONDS))

    def _group(self) -> list[Entry]:
        group: list[Entry] = []
        size = 0
        while self._ahead and len(group) < self._endpoint.together and size < GROUP_BYTES:
            group.append(self._ahead.popleft())
            size += len(group[-1].body)
        self._ahead_bytes -= size
        return group

    async def _fetch(self) -> None:
        interest, seq, limit = self._endpoint.interest, self._read, max(READ_AHEAD, self._endpoint.together)
        # Mostly there is nothing, and to see that costs less than the way to the thread and back.
        # The newest first: what comes between the two is read next time.
        newest = self._journal.newest()
        if newest > seq:
            entries = await self._in_thread(lambda: self._journal.after(interest, seq, limit))
            self._ahead += entries
            self._ahead_bytes += sum(len(entry.body) for entry in entries)
            self._read = entries[-1].seq if entries else newest
        if not self._ahead:
            self._had = self._read
        if self._read > self._seen or asyncio.get_running_loop().time() - self._looked_at >= LOOK_SECONDS:
            await self._look()

    async def _deliver(self, group: list[Entry]) -> None:
        """Until the endpoint has taken them, or they are parked."""
        endpoint, failures, blamed = self._endpoint, 0, 0
        while True:
            answer = await self._transport.send([entry.body for entry in group])
            self._tally(answer, len(group))
            if answer.taken:
                if failures >= endpoint.threshold:
                    log.info("endpoint %s takes events again", endpoint.name)
                self._pending -= len(group)
                self._had = group[-1].seq
                await self._mark_in_time()
                return
            failures += 1
            blames = answer.refused or (answer.answered and not answer.busy and endpoint.attempts > 0)
            blamed = blamed + 1 if blames else 0
            if answer.refused and len(group) > 1:
                break
            if blamed >= (endpoint.attempts or endpoint.threshold):
                break
            if failures == endpoint.threshold:
                log.warning("endpoint %s does not take events: %s", endpoint.name, answer.line)
            await self._wait(max(endpoint.pause(failures), min(answer.pause, LONGEST_ASKED_SECONDS)))
        if len(group) > 1:
            # One of them may be the reason. The halves tell which.
            middle = len(group) // 2
            await self._deliver(group[:middle])
            await self._deliver(group[middle:])
        else:
            await self._park(group[0], answer.line)

    async def _park(self, entry: Entry, reason: str) -> None:
        name = self._endpoint.name
        log.warning("an event is parked: endpoint %s answers %s", name, reason)
        given_up = await self._in_thread(lambda: self._journal.park(name, reason, entry))
        if given_up:
            log.error("%d parked events are given up: there are too many", given_up)
        self._had = self._marked = entry.seq
        self._pending -= 1
        await self._look()

    async def _wait(self, seconds: float) -> None:
        await self._mark()
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := until - loop.time()) > 0:
            await asyncio.sleep(min(left, LOOK_SECONDS))
            if left >= LOOK_SECONDS:
                await self._look()

    def _tally(self, answer: Answer, events: int) -> None:
        name = self._endpoint.name
        if answer.answered:
            self._count.answered(answer.line, name, events)
            self._count.happened("Successes" if answer.taken else "Failures", name, events)
        else:
            self._count.happened("Errors", name, events)

    async def _mark_in_time(self) -> None:
        """A crash must not repeat much; but to mark each event costs more than to send it."""
        now = asyncio.get_running_loop().time()
        if now - self._marked_at >= UNMARKED_SECONDS or self._had - self._marked >= UNMARKED_EVENTS:
            await self._mark()

    async def _mark(self) -> None:
        self._marked_at = asyncio.get_running_loop().time()
        if self._had > self._marked:
            name, had = self._endpoint.name, self._had
            await self._in_thread(lambda: self._journal.advance(name, had))
            self._marked = had

    async def _look(self) -> None:
        """See how much waits, and tell."""
        name, interest, had = self._endpoint.name, self._endpoint.interest, self._had
        seen = max(self._seen, had)
        now = self._looked_at = asyncio.get_running_loop().time()
        may_count = now - self._counted_at >= COUNT_SECONDS

        def look() -> tuple[int, int, int | None, int]:
            newest = self._journal.newest()
            more = self._journal.count(interest, seen, newest)
            # If somebody else has moved the cursor, events were given up.
            lost = may_count and self._journal.cursor(name) > had
            whole = self._journal.count(interest, had, newest) if lost else None
            return newest, more, whole, self._journal.count_parked(name)

        self._seen, more, whole, parked = await self._in_thread(look)
        self._pending += more
        if whole is not None:
            self._pending, self._counted_at = whole, now
        if more:
            self._count.happened("Events", name, more)
        self._count.waiting(max(self._pending, 0), parked, name)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        # The thread finishes what it has begun, even if this task is cancelled.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))
