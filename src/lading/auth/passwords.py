"""Passwords against bcrypt hashes: off the event loop, once for the same password, and as long for nobody's.

What is remembered of a success is an HMAC under a key of this process, over the user, the password and the stored
hash: worthless outside of it, and void as soon as the hash changes.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import bcrypt

from lading.auth.throttle import Throttle
from lading.registry.access import ThrottledError

REMEMBER_SECONDS = 300.0
MAX_REMEMBERED = 4096
MAX_CHECKS = 64
"""Checks under way or waiting for a thread; with more, attempts are refused."""

_SIGNIFICANT = 72
"""bcrypt looks at so many bytes of a password, and the library refuses more."""


class Passwords:
    def __init__(self, throttle: Throttle, clock: Callable[[], float] = time.monotonic) -> None:
        self._throttle = throttle
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, float] = OrderedDict()
        self._checks: dict[bytes, asyncio.Future[bool]] = {}
        self._threads = ThreadPoolExecutor(max(1, (os.cpu_count() or 2) // 2), "password")

    async def check(self, user: str, password: str, stored: str | None, client: str, cost: int = 10) -> bool:
        """Whether `password` is the one of `stored`, a `$2b$` hash.

        None stands for a user there is not: the answer takes as long as for one whose hash has `cost`.
        Raises `ThrottledError`.
        """
        secret = password.encode("utf-8", "surrogateescape")
        reference = b"$2b$%02d$" % cost + b"." * 53 if stored is None else stored.encode("ascii")
        mark = self._mark(user, secret, reference)
        if stored is not None and self._remembers(mark):
            return True
        await self._throttle.wait(client, user)
        matches = await self._compare(mark, secret, reference, user)
        if stored is not None and matches:
            self._remember(mark)
            return True
        self._throttle.failed(client, user)
        return False

    def _mark(self, user: str, secret: bytes, reference: bytes) -> bytes:
        name = user.encode("utf-8", "surrogateescape")
        text = b"%d:%s%d:%s%s" % (len(name), name, len(secret), secret, reference)
        return hmac.digest(self._key, text, hashlib.sha256)

    def _remembers(self, mark: bytes) -> bool:
        until = self._remembered.get(mark)
        if until is None:
            return False
        if until > self._clock():
            return True
        del self._remembered[mark]
        return False

    def _remember(self, mark: bytes) -> None:
        self._remembered[mark] = self._clock() + REMEMBER_SECONDS
        self._remembered.move_to_end(mark)
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)

    async def _compare(self, mark: bytes, secret: bytes, reference: bytes, user: str) -> bool:
        """Clients open several connections at once: the same password is computed for all of them together."""
        check = self._checks.get(mark)
        if check is None:
            if len(self._checks) >= MAX_CHECKS:
                raise ThrottledError(1, "too many sign-ins at a time", user)
            loop = asyncio.get_running_loop()
            check = loop.run_in_executor(self._threads, bcrypt.checkpw, secret[:_SIGNIFICANT], reference)
            self._checks[mark] = check
            check.add_done_callback(lambda _: self._checks.pop(mark, None))
        return await asyncio.shield(check)
