"""The port behind which events leave, whatever carries them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Answer:
    """To what was sent. `line` tells of it in a log, without secrets: a status, or why there was no answer."""

    line: str
    taken: bool = False
    answered: bool = True
    """False where nobody has said anything: the connection failed, or took too long."""
    refused: bool = False
    """The same events would not do better another time."""
    busy: bool = False
    """It is not the events that are at fault: the receiver, or what they are sent to, asks for time."""
    pause: float = 0.0
    """Seconds that it asks to be left alone."""


class Transport(Protocol):
    async def send(self, events: Sequence[bytes]) -> Answer:
        """Send events, in their order, as they are in the journal. Does not raise but when it is cancelled."""
        ...

    async def close(self) -> None: ...
