"""Health checks: what the registry depends on, asked now and then, once for all processes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from typing import IO

from lading.oci.urls import shown, split_login
from lading.operations.threads import in_daemon_thread
from lading.registry.ports import PathNotFoundError, Storage, StorageError

log = logging.getLogger(__name__)

PROBE_SECONDS = 60.0
"""What a probe without a timeout may take: one that never ends would leave the check as it was for ever."""


class UnhealthyError(Exception):
    """The probe found something wrong; the text says what."""


@dataclass(frozen=True, slots=True)
class Check:
    """`probe` raises `UnhealthyError`. It is called every `interval` seconds.

    With a `threshold` of n, n failures in a row count as one; with 0 or less each does.
    """

    name: str
    probe: Callable[[], Awaitable[None]]
    interval: float
    threshold: int = 0
    timeout: float = 0.0


class Checks:
    """`tell` hears when the first check begins to fail, and when the last one does no more."""

    def __init__(self, checks: Sequence[Check], tell: Callable[[bool], None]) -> None:
        self._checks = checks
        self._tell = tell
        self._failures = dict.fromkeys((check.name for check in checks), 0)
        self._complaints = dict.fromkeys(self._failures, "")

    def state(self) -> Mapping[str, str]:
        """What each check complains of; "" is healthy, as every check is before its first probe."""
        return self._complaints

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for check in self._checks:
                group.create_task(self._watch(check))

    async def _watch(self, check: Check) -> None:
        while True:
            await asyncio.sleep(check.interval)
            self.note(check, await _outcome(check))

    def note(self, check: Check, complaint: str) -> None:
        """The outcome of one probe."""
        failures = self._failures[check.name] = self._failures[check.name] + 1 if complaint else 0
        if complaint and failures < check.threshold:
            return
        before, well = self._complaints[check.name], not any(self._complaints.values())
        self._complaints[check.name] = complaint
        if complaint and not before:
            log.error("health check %s fails: %s", check.name, complaint)
        elif before and not complaint:
            log.info("health check %s passes again", check.name)
        if well == any(self._complaints.values()):
            self._tell(not well)


async def _outcome(check: Check) -> str:
    try:
        async with asyncio.timeout(check.timeout or PROBE_SECONDS):
            await check.probe()
    except UnhealthyError as error:
        return str(error)
    except TimeoutError:
        return f"{check.name}: no answer within {check.timeout or PROBE_SECONDS:g}s"
    return ""


def storage_probe(storage: Storage) -> Callable[[], Awaitable[None]]:
    async def probe() -> None:
        try:
            root = await storage.stat("/")
        except PathNotFoundError:
            return  # empty, and answering
        except StorageError as error:
            raise UnhealthyError(str(error)) from error
        if not root.is_directory:
            raise UnhealthyError(f"{storage.name}: the root is not a directory")

    return probe


def file_probe(path: str) -> Callable[[], Awaitable[None]]:
    """Fails while the file exists."""

    async def probe() -> None:
        try:
            os.stat(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise UnhealthyError(f'error checking for file: "{path}": {error.strerror}') from error
        raise UnhealthyError("file exists")

    return probe


def tcp_probe(address: str, host: str, port: int) -> Callable[[], Awaitable[None]]:
    """Fails when nothing listens there. `address` is what it is called."""

    async def probe() -> None:
        try:
            _, writer = await asyncio.open_connection(host or "localhost", port)
        except OSError as error:
            raise UnhealthyError(f"{address}: connection failed: {error.strerror or error}") from error
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    return probe


class _KeepMethod(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        redirected = super().redirect_request(req, fp, code, msg, headers, newurl)
        if redirected is not None:
            redirected.method = req.get_method()
        return redirected


def http_probe(
    uri: str, headers: Mapping[str, Sequence[str]], status: int, timeout: float
) -> Callable[[], Awaitable[None]]:
    """Fails unless a HEAD of `uri`, an HTTP URL, is answered with `status` after redirects."""
    opener = urllib.request.build_opener(_KeepMethod())
    name, (bare, login) = shown(uri), split_login(uri)
    request = urllib.request.Request(bare, method="HEAD")  # noqa: S310  the configuration allows no other scheme
    if login:
        request.add_unredirected_header("Authorization", login)
    for field, values in headers.items():
        request.add_header(field, ", ".join(values))

    def ask() -> int:
        try:
            with opener.open(request, timeout=timeout or PROBE_SECONDS) as answer:
                found: int = answer.status
                return found
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code

    async def probe() -> None:
        try:
            found = await in_daemon_thread(ask)
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise UnhealthyError(f"{name}: error while checking: {reason}") from error
        if found != status:
            raise UnhealthyError(f"{name}: downstream service returned unexpected status: {found}")

    return probe
