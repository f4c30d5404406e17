"""Events from the journal to an endpoint: one after the other, again and again until it takes them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import random
import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp
from yarl import URL

from lading.notify import envelope
from lading.notify.envelope import Document
from lading.notify.journal import Entry, Journal

log = logging.getLogger(__name__)

POLL_SECONDS = 0.05
BATCH = 100
"""Events that may be delivered once more after a crash."""

FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 60.0

SIGNATURE = "X-Lading-Signature"

_BLAMES_THE_EVENT = frozenset({400, 413, 414, 415, 422})
"""Answers after which the same event would not do better."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`timeout` and `backoff` are in seconds; `ignored` are media types, `deaf` actions that are not sent."""

    name: str
    url: str
    headers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    timeout: float = 1.0
    threshold: int = 10
    backoff: float = 1.0
    ignored: frozenset[str] = frozenset()
    deaf: frozenset[str] = frozenset()
    secret: str = ""
    cloudevents: bool = False

    def wants(self, media_type: str, action: str) -> bool:
        return media_type not in self.ignored and action not in self.deaf

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row: longer each time, `backoff` from `threshold` on."""
        over = failures - self.threshold
        if over < 0:
            longest = min(self.backoff, FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 32))
        else:
            longest = max(self.backoff, min(self.backoff * 2.0 ** min(over, 32), LONGEST_PAUSE_SECONDS))
        return longest * random.uniform(0.5, 1.0) if over != 0 else self.backoff  # noqa: S311  no secret


class Count(Protocol):
    def happened(self, kind: str, endpoint: str) -> None:
        """`kind` is Events, Successes, Failures or Errors."""
        ...

    def answered(self, code: str, endpoint: str) -> None:
        """`code` is a status line without the protocol."""
        ...

    def pending(self, number: int, endpoint: str) -> None: ...


class Delivery:
    """To one endpoint. It alone uses the journal it is given."""

    def __init__(self, journal: Journal, endpoint: Endpoint, count: Count, agent: str) -> None:
        self._journal = journal
        self._endpoint = endpoint
        self._count = count
        self._thread = ThreadPoolExecutor(1, "delivery")
        self._url = URL(endpoint.url)
        kind = envelope.CLOUDEVENTS_MEDIA_TYPE if endpoint.cloudevents else envelope.MEDIA_TYPE
        given = [(name, value) for name, values in endpoint.headers.items() for value in values]
        self._headers = [("User-Agent", agent), ("Content-Type", kind), *given]

    async def run(self) -> None:
        """Until cancelled."""
        timeout = aiohttp.ClientTimeout(total=self._endpoint.timeout)
        loop = asyncio.get_running_loop()
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(timeout=timeout, trust_env=True, cookie_jar=jar) as session:
            while True:
                try:
                    if not await self._round(session, loop):
                        await asyncio.sleep(POLL_SECONDS)
                except sqlite3.Error as error:
                    log.error("cannot use the journal of notifications: %s", error)
                    await asyncio.sleep(self._endpoint.backoff)

    async def _round(self, session: aiohttp.ClientSession, loop: asyncio.AbstractEventLoop) -> bool:
        """False where nothing waits."""
        name = self._endpoint.name
        entries = await loop.run_in_executor(self._thread, self._next)
        had = 0
        try:
            for entry in entries:
                event = entry.event
                if self._endpoint.wants(event["target"]["mediaType"], event["action"]):
                    self._count.happened("Events", name)
                    reason = await self._deliver(session, event)
                    if reason:
                        log.warning("event %s is parked: endpoint %s answers %s", event["id"], name, reason)
                        await loop.run_in_executor(self._thread, self._journal.park, name, reason, event)
                had = entry.seq
        finally:
            if had:
                # The thread finishes what it has begun, even if this task is cancelled now.
                done = loop.run_in_executor(self._thread, self._journal.advance, name, had)
                await asyncio.shield(done)
        return bool(entries)

    def _next(self) -> list[Entry]:
        name = self._endpoint.name
        cursor = self._journal.cursor(name)
        self._count.pending(self._journal.newest() - cursor, name)
        return self._journal.after(name, cursor, BATCH)

    async def _deliver(self, session: aiohttp.ClientSession, event: Document) -> str:
        """Until the endpoint has taken it: empty; or why it never will."""
        endpoint, failures, refusals = self._endpoint, 0, 0
        body = envelope.cloudevent(event) if endpoint.cloudevents else envelope.envelope(event)
        while True:
            status, line = await self._post(session, body)
            if 200 <= status < 400:
                if failures >= endpoint.threshold:
                    log.info("endpoint %s takes events again", endpoint.name)
                return ""
            failures += 1
            refusals = refusals + 1 if status in _BLAMES_THE_EVENT else 0
            if refusals >= endpoint.threshold:
                return line
            if failures == endpoint.threshold:
                log.warning("endpoint %s does not take events: %s", endpoint.name, line)
            await asyncio.sleep(endpoint.pause(failures))

    async def _post(self, session: aiohttp.ClientSession, body: bytes) -> tuple[int, str]:
        """The status and its line, or 0 and the kind of the error: its text may show secrets of the URL."""
        endpoint = self._endpoint
        headers = self._headers
        if endpoint.secret:
            mark = hmac.new(endpoint.secret.encode(), body, hashlib.sha256).hexdigest()
            headers = [*headers, (SIGNATURE, f"sha256={mark}")]
        try:
            async with session.post(self._url, data=body, headers=headers) as answer:
                line = f"{answer.status} {answer.reason or ''}".rstrip()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self._count.happened("Errors", endpoint.name)
            return 0, type(error).__name__
        self._count.answered(line, endpoint.name)
        self._count.happened("Successes" if 200 <= answer.status < 400 else "Failures", endpoint.name)
        return answer.status, line
