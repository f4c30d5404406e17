"""Coroutines that run where they are called as far as they get without waiting: a task for each costs more than
most of them do."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine, Generator
from typing import Any

Started = Coroutine[Any, Any, None]


class Stepper:
    """Keeps a task ready, which is the current one while a coroutine runs, and takes it over if it has to wait.

    So the coroutine cannot tell: `asyncio.timeout`, cancelling and context variables are as in a task of its own.
    """

    def __init__(self) -> None:
        self._ready: _Ready | None = None

    def run(self, coroutine: Started) -> asyncio.Task[None] | None:
        """The task in which the coroutine goes on, or None if it has ended. Raises what the coroutine raises.

        Called from within a task it makes another, as it does where none is ready.
        """
        context = contextvars.copy_context()
        ready = self._ready
        if ready is None or ready.future.done() or ready.task.done():
            loop = asyncio.get_running_loop()
            self._ready = _Ready(loop)
            return loop.create_task(coroutine, context=context)
        if not ready.waits or asyncio.current_task(ready.loop) is not None:
            return ready.loop.create_task(coroutine, context=context)
        asyncio.tasks._enter_task(ready.loop, ready.task)
        try:
            awaited = context.run(coroutine.send, None)
        except StopIteration:
            return None
        finally:
            asyncio.tasks._leave_task(ready.loop, ready.task)
        self._ready = None
        ready.take(_Rest(coroutine, awaited, context))
        return ready.task


class _Ready:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.future: asyncio.Future[None] = loop.create_future()
        self.waits = False
        self.task = loop.create_task(self._run())
        self._rest: _Rest | None = None

    def take(self, rest: _Rest) -> None:
        self._rest = rest
        if not self.future.done():  # as it is where the coroutine has cancelled its own task
            self.future.set_result(None)

    async def _run(self) -> None:
        self.waits = True
        try:
            await self.future
        except asyncio.CancelledError as error:
            if self._rest is None:
                raise
            self._rest.error = error
        if self._rest is not None:
            await self._rest


class _Rest:
    """A coroutine that has been started, and now waits for `awaited`, to be awaited in its turn."""

    def __init__(self, started: Started, awaited: Any, context: contextvars.Context) -> None:
        self.error: BaseException | None = None
        """To be thrown into it before it goes on."""
        self._started = started
        self._awaited = awaited
        self._context = context

    def __await__(self) -> Generator[Any, Any, None]:
        awaited, error, result = self._awaited, self.error, None
        started, run = self._started, self._context.run
        try:
            while True:
                if error is None:
                    try:
                        result = yield awaited
                    except BaseException as raised:  # noqa: BLE001  whatever it is, it is for the coroutine
                        error = raised
                if error is None:
                    awaited = run(started.send, result)
                else:
                    thrown, error = error, None
                    awaited = run(started.throw, thrown)
        except StopIteration:
            return
