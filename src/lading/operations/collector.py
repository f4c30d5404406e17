"""The housekeeping process's side of the lines to the workers: figures of all of them, summed.

Nothing is asked until somebody wants to know. What a worker had counted when it was last asked outlives it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import operator
import os
import platform
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from lading import __version__
from lading.operations import catalogue, introspection
from lading.operations.agent import Message, Respondent, encode, frame_length, own_kin
from lading.operations.catalogue import Series
from lading.operations.threads import in_daemon_thread

ANSWER_SECONDS = 1.0
"""A worker that has not answered by then hangs, or is stopped: its last known figures are used."""

REMEMBERED = 64
"""Processes that are gone and whose figures are kept apart, should only their line have broken."""

_HEAD_BYTES = 4


@dataclass(eq=False, slots=True)
class Worker:
    """A line to a process. `name` is its own for life; `figures` are those it handed over last.

    One that does not `serve` is asked like others, but is not counted as a worker.
    """

    name: str
    pid: int
    serves: bool
    writer: asyncio.StreamWriter
    figures: Series = field(default_factory=dict)
    waiting: dict[int, asyncio.Future[object]] = field(default_factory=dict)


class Collector:
    """`listening` is the `meeting_point`; `expected` is how many workers there are when none has died.

    Everything is to be called from the event loop that runs `serve`.
    """

    def __init__(self, listening: socket.socket, respondent: Respondent, expected: int) -> None:
        self._listening = listening
        self._respondent = respondent
        self._expected = expected
        self._workers: set[Worker] = set()
        self._gone: dict[str, Series] = {}
        self._forgotten: Series = {}
        self._met = 0
        self._cpu: dict[int, float] = {}
        self._numbers = itertools.count(1)
        self._healthy = True

    async def serve(self) -> None:
        """Until cancelled."""
        self._listening.setblocking(False)
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                line, _ = await loop.sock_accept(self._listening)
                group.create_task(self._meet(line))

    def tell(self, healthy: bool) -> None:
        """All workers, and those to come, are told at once."""
        self._healthy = healthy
        for worker in self._workers:
            worker.writer.write(encode({"healthy": healthy}))

    async def ask(self, question: Message, seconds: float = ANSWER_SECONDS) -> list[tuple[int, Any]]:
        """Of every process that answers in time, with their ids; this one among them."""
        own, answers = await self._ask_all(question, seconds)
        told = [(worker.pid, answer) for worker, answer in answers.items() if answer is not None]
        return sorted([(os.getpid(), own), *told], key=operator.itemgetter(0))

    async def _ask_all(self, question: Message, seconds: float) -> tuple[Any, dict[Worker, Any]]:
        workers = list(self._workers)
        asking = asyncio.gather(*[self._ask(worker, question, seconds) for worker in workers])
        own = await in_daemon_thread(functools.partial(self._respondent.answer, question))
        return own, dict(zip(workers, await asking, strict=True))

    async def series(self) -> Series:
        """The figures of all processes together, dead ones included."""
        own, answers = await self._ask_all({"ask": "figures"}, ANSWER_SECONDS)
        total = catalogue.from_wire(own)
        for worker, answer in answers.items():
            if answer is not None:
                worker.figures = catalogue.from_wire(answer)
        for worker in self._workers:
            catalogue.add(total, worker.figures)
        for figures in [self._forgotten, *self._gone.values()]:
            catalogue.add(total, figures)
        silent = sum(worker.serves and answer is None for worker, answer in answers.items())
        catalogue.add(total, self._of_workers(silent))
        catalogue.add(total, self._of_processes())
        for metric in catalogue.METRICS:
            for labels in metric.initial:
                total.setdefault((metric.name, labels), [0])
        return total

    def _of_workers(self, silent: int) -> Series:
        return {
            (catalogue.WORKERS.name, ()): [sum(worker.serves for worker in self._workers)],
            (catalogue.RESTARTS.name, ()): [max(0, self._met - self._expected)],
            (catalogue.SILENT.name, ()): [silent],
            (catalogue.INFO.name, (platform.python_version(), __version__)): [1],
        }

    def _of_processes(self) -> Series:
        found = introspection.processes(os.getppid())
        self._cpu |= {pid: usage.cpu for pid, usage in found.items()}
        return {
            (catalogue.CPU.name, ()): [round(sum(self._cpu.values()), 2)],
            (catalogue.RESIDENT.name, ()): [sum(usage.resident for usage in found.values())],
            (catalogue.VIRTUAL.name, ()): [sum(usage.virtual for usage in found.values())],
            (catalogue.OPEN_FDS.name, ()): [sum(usage.open_fds for usage in found.values())],
            (catalogue.MAX_FDS.name, ()): [max((usage.max_fds for usage in found.values()), default=0)],
            (catalogue.STARTED.name, ()): [min((usage.started for usage in found.values()), default=0)],
        }

    async def _ask(self, worker: Worker, question: Message, seconds: float) -> object | None:
        number = next(self._numbers)
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        worker.waiting[number] = answer
        try:
            worker.writer.write(encode({"id": number, **question}))
            async with asyncio.timeout(seconds):
                return await answer
        except (TimeoutError, OSError):
            return None
        finally:
            worker.waiting.pop(number, None)

    async def _meet(self, line: socket.socket) -> None:
        pid = own_kin(line)
        reader, writer = await asyncio.open_connection(sock=line)
        with contextlib.closing(writer):
            messages = _messages(reader)
            first: Message = await anext(messages, {})
            if pid is None or not isinstance(first.get("name"), str):
                return
            known = self._gone.pop(first["name"], None)
            worker = Worker(first["name"], pid, bool(first.get("serves", True)), writer, known or {})
            if known is None:
                self._met += worker.serves
            self._workers.add(worker)
            try:
                writer.write(encode({"healthy": self._healthy}))
                async for message in messages:
                    answer = worker.waiting.get(message.get("id", 0))
                    if answer is not None and not answer.done():
                        answer.set_result(message.get("answer"))
            finally:
                self._retire(worker)

    def _retire(self, worker: Worker) -> None:
        self._workers.discard(worker)
        self._gone[worker.name] = catalogue.lasting(worker.figures)
        if len(self._gone) > REMEMBERED:
            catalogue.add(self._forgotten, self._gone.pop(next(iter(self._gone))))
        for answer in worker.waiting.values():
            if not answer.done():
                answer.set_result(None)


async def _messages(reader: asyncio.StreamReader) -> AsyncIterator[Message]:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ValueError):
        while True:
            head = await reader.readexactly(_HEAD_BYTES)
            message = orjson.loads(await reader.readexactly(frame_length(head)))
            if isinstance(message, dict):
                yield message
