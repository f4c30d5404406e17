"""What a process reads again on SIGHUP."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable

log = logging.getLogger(__name__)


class Reload:
    """Made before the processes are; what is registered later counts for the process it is registered in."""

    def __init__(self) -> None:
        self._hooks: dict[str, Callable[[], None]] = {}

    def register(self, what: str, hook: Callable[[], None]) -> None:
        """`hook` is called in the event loop's thread, and may raise: the others are called all the same."""
        self._hooks[what] = hook

    def run(self) -> None:
        for what, hook in list(self._hooks.items()):
            try:
                hook()
            except Exception:
                log.exception("%s could not be read again", what)

    def on_hangup(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run on every SIGHUP from now on."""
        loop.add_signal_handler(signal.SIGHUP, self.run)
