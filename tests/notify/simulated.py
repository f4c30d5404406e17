"""Hours in seconds: an event loop whose clock jumps to what is due next, and a receiver with a bad day."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from lading.notify.transport import Answer

T = TypeVar("T")

REAL_SECONDS = 30.0
"""The longest that a thread may take, in true seconds."""


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Time stands still while anything runs, threads included, and jumps when all sleep."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.threads = 0
        self.inner = selectors.DefaultSelector()
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.now

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        self.threads += 1
        running: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        running.add_done_callback(self._ended)
        return running

    def _ended(self, _: object) -> None:
        self.threads -= 1


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self._loop.threads:
            ready = super().select(REAL_SECONDS)
            assert ready, "a thread hangs"
            return ready
        assert timeout is not None, "everybody waits for somebody else"
        self._loop.now += max(timeout, 1e-6)
        return []


def simulate(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(main)


@dataclass(frozen=True)
class Phase:
    """For `seconds`, what is sent meets `mood`: up, down, slow, drops, or a status."""

    mood: str
    seconds: float


@dataclass
class Receiver:
    """A `Transport` to nobody. After the last of its phases it is up for ever."""

    phases: Sequence[Phase]
    poison: Callable[[dict[str, Any]], bool] = lambda _: False
    got: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[float] = field(default_factory=list)
    """When."""
    forbidden: float = 0.0
    """Until then it has asked to be left alone."""

    def mood(self, now: float) -> str:
        at = 1000.0
        for phase in self.phases:
            at += phase.seconds
            if now < at:
                return phase.mood
        return "up"

    @property
    def ends(self) -> float:
        return 1000.0 + sum(phase.seconds for phase in self.phases)

    async def send(self, events: Sequence[bytes]) -> Answer:
        now = asyncio.get_running_loop().time()
        assert now >= self.forbidden, f"asked to be left alone for {self.forbidden - now} s more"
        self.attempts.append(now)
        documents = [orjson.loads(event) for event in events]
        await asyncio.sleep(0.001)
        match self.mood(now):
            case "up":
                if any(map(self.poison, documents)):
                    return Answer("422 Unprocessable Entity", refused=True)
                self.got += documents
                return Answer("200 OK", taken=True)
            case "slow":  # it takes them, but nobody waits to hear it
                await asyncio.sleep(1)
                self.got += documents
                return Answer("no answer in time", answered=False)
            case "drops":
                self.got += documents
                return Answer("RemoteDisconnected", answered=False)
            case "429":
                self.forbidden = now + 90
                return Answer("429 Too Many Requests", busy=True, pause=90)
            case "down":
                return Answer("Connection refused", answered=False)
            case status:
                return Answer(status)

    async def close(self) -> None:
        """Nothing is open."""
