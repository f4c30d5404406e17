"""A bar on a terminal: how much of all blobs has moved."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from lading.client.copying import Step

WIDTH = 30
EVERY_SECONDS = 0.1


class Bar:
    """Draws on standard error if that is a terminal, and leaves nothing behind."""

    def __init__(self, stream: TextIO | None = None, *, hidden: bool = False) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._shown = not hidden and self._stream.isatty()
        self._steps: dict[str, Step] = {}
        self._drawn = 0.0

    def report(self, step: Step) -> None:
        """See `lading.client.copying.Report`."""
        self._steps[step.digest] = step
        if self._shown and (step.outcome is not None or time.monotonic() - self._drawn >= EVERY_SECONDS):
            self._drawn = time.monotonic()
            print(f"\r{self._line()}\x1b[K", end="", file=self._stream, flush=True)

    def bytes(self, done: int, size: int) -> None:
        """For one blob after the other: see `lading.client.download.Progress`."""
        self.report(Step("", size, done))

    def close(self) -> None:
        if self._shown and self._steps:
            print("\r\x1b[K", end="", file=self._stream, flush=True)

    def _line(self) -> str:
        steps = self._steps.values()
        done, size = sum(step.done for step in steps), sum(step.size for step in steps)
        filled = WIDTH * done // size if size else WIDTH
        finished = sum(step.outcome is not None for step in steps)
        bar = "#" * filled + "." * (WIDTH - filled)
        return f"[{bar}] {mebibytes(done)} of {mebibytes(size)}, {finished} of {len(steps)} blobs"


def mebibytes(size: int) -> str:
    return f"{size / 1024 / 1024:.1f} MiB"
