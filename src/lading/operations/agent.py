"""A worker's side of the line to the housekeeping process: it answers what is asked, and hears of the health.

The line is a thread of its own, which sleeps until it is asked: it costs requests nothing, and it answers while
the event loop is stuck. Frames are a length of four bytes, and JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import orjson

from lading.operations import catalogue, introspection
from lading.operations.figures import Figures

RETRY_SECONDS = 1.0
"""Between attempts to reach a housekeeping process that is not there."""

MAX_FRAME_BYTES = 64 * 1024 * 1024

_LENGTH = struct.Struct("!I")
_CREDENTIALS = struct.Struct("3i")

Message = dict[str, Any]
Tell = Callable[[bool], None]


def meeting_point() -> socket.socket:
    """A socket, listening under a name that the kernel chose, which nobody can see in the file system."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind("")
    listening.listen(128)
    return listening


def own_kin(connection: socket.socket) -> int | None:
    """The peer's process id, or None if it belongs to another user: who may not ask, and is not believed."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(packed)
    return pid if uid == os.geteuid() else None


def encode(message: Message) -> bytes:
    data = orjson.dumps(message, option=orjson.OPT_NON_STR_KEYS)
    return _LENGTH.pack(len(data)) + data


def frame_length(head: bytes) -> int:
    """Raises `ValueError` for what is too long to be meant."""
    length: int = _LENGTH.unpack(head)[0]
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {length} bytes")
    return length


class Respondent:
    """Answers for one process. `figures` None: it does not count."""

    def __init__(self, figures: Figures | None, loop: asyncio.AbstractEventLoop | None) -> None:
        self._figures = figures
        self._loop = loop
        self._profiling = threading.Lock()

    def answer(self, question: Message) -> object:
        """May take as many seconds as a profile is asked for."""
        match question["ask"]:
            case "figures":
                return [] if self._figures is None else catalogue.to_wire(self._figures.series())
            case "stacks":
                return introspection.stacks(self._loop)
            case "memory":
                return introspection.memory()
            case "profile":
                return self._profile(float(question["seconds"]))
        return None

    def _profile(self, seconds: float) -> dict[str, int]:
        if not self._profiling.acquire(blocking=False):
            return {}  # another one runs
        try:
            return introspection.profile(seconds)
        finally:
            self._profiling.release()


class Agent:
    """`address` is that of the `meeting_point`; `tell` hears whether the registry is healthy: a worker's does."""

    def __init__(self, address: bytes, respondent: Respondent, tell: Tell | None) -> None:
        self._name = secrets.token_hex(8)
        self._address = address
        self._respondent = respondent
        self._tell = tell
        self._sending = threading.Lock()

    def start(self) -> None:
        threading.Thread(target=self._run, name="agent", daemon=True).start()

    def _run(self) -> None:
        while True:
            with (
                contextlib.suppress(OSError, EOFError, ValueError),
                socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line,
            ):
                line.connect(self._address)
                if own_kin(line) is not None:
                    line.sendall(encode({"name": self._name, "serves": self._tell is not None}))
                    self._serve(line)
            time.sleep(RETRY_SECONDS)

    def _serve(self, line: socket.socket) -> None:
        while True:
            message: Message = orjson.loads(_receive(line, frame_length(_receive(line, _LENGTH.size))))
            if "healthy" in message:
                if self._tell is not None:
                    self._tell(bool(message["healthy"]))
            elif message["ask"] == "profile":
                threading.Thread(target=self._reply, args=(line, message), name="profile", daemon=True).start()
            else:
                self._reply(line, message)

    def _reply(self, line: socket.socket, message: Message) -> None:
        frame = encode({"id": message["id"], "answer": self._respondent.answer(message)})
        with self._sending, contextlib.suppress(OSError):
            line.sendall(frame)


def _receive(line: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        data = line.recv(size - len(received))
        if not data:
            raise EOFError
        received += data
    return bytes(received)
