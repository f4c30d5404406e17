"""Where the user name and password for a registry come from."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass, field
from typing import Protocol

log = logging.getLogger(__name__)

HELPER_SECONDS = 30.0
"""A credential helper that takes longer is given up."""

IDENTITY_TOKEN = "<token>"  # noqa: S105  the name that stands for one, in Docker's protocol of helpers

_NOBODY = b"credentials not found"
"""What a helper says of a host that it has nothing for."""


@dataclass(frozen=True, slots=True)
class Login:
    """With the user `<token>` the password is a refresh token, as Docker's credential helpers have it.

    A `registry_token` is what the registry itself is shown, if it asks for a token: no token server is asked.
    """

    username: str
    password: str = field(repr=False)
    registry_token: str = field(default="", repr=False)


class Credentials(Protocol):
    async def login(self, host: str, repository: str = "") -> Login | None:
        """For a host (with its port, if it has one) that asks; None for nobody in particular.

        `repository` is the one that is asked for, "" for none.
        """
        ...


@dataclass(frozen=True, slots=True)
class StaticCredentials:
    """The same for every host that is trusted with them."""

    username: str
    password: str = field(repr=False)

    async def login(self, host: str, repository: str = "") -> Login | None:  # noqa: ARG002
        return Login(self.username, self.password) if self.username or self.password else None


@dataclass(slots=True)
class HelperCredentials:
    """A Docker credential helper: `<command> get`, the host on its standard input, JSON on its output.

    `lifetime` is in seconds: None asks once and for all, 0 every time.
    """

    command: str
    lifetime: float | None = None
    _known: dict[str, tuple[float, Login]] = field(default_factory=dict)

    async def login(self, host: str, repository: str = "") -> Login | None:  # noqa: ARG002
        known = self._known.get(host)
        if known is not None and (self.lifetime is None or time.monotonic() - known[0] < self.lifetime):
            return known[1]
        try:
            async with asyncio.timeout(HELPER_SECONDS):
                found = await self._run(host)
        except (OSError, ValueError, KeyError, TypeError, TimeoutError) as error:
            # What the helper printed may be a secret.
            reason = error if isinstance(error, OSError) else type(error).__name__
            log.error("failed to run command: %s: %s", self.command, reason)
            return None
        if found is not None:
            self._known[host] = (time.monotonic(), found)
        return found

    async def _run(self, host: str) -> Login | None:
        process = await asyncio.create_subprocess_exec(
            self.command, "get", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        try:
            said, _ = await process.communicate(host.encode())
        except BaseException:
            process.kill()
            raise
        if process.returncode and _NOBODY in said:
            return None
        if process.returncode:
            raise ChildProcessError(f"exit status {process.returncode}")
        answer = json.loads(said)
        return Login(str(answer["Username"]), str(answer["Secret"]))
