"""What has happened in a registry, for those who want to hear of it; and the port it is told to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Action = Literal["push", "pull", "mount", "delete"]


@dataclass(frozen=True, slots=True)
class Event:
    """`size` is in bytes, `source` the repository of a mount. What does not apply is empty."""

    action: Action
    repository: str
    digest: str = ""
    media_type: str = ""
    size: int = 0
    url: str = ""
    tag: str = ""
    source: str = ""
    content: bytes = b""
    """What was pushed or pulled, if it is a manifest and somebody wants to know its references."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """The request that an event is the outcome of; `address` is that of the client."""

    id: str
    address: str
    host: str
    method: str
    agent: str
    user: str


class Events(Protocol):
    references: bool
    """Events of manifests are to have their `content`."""

    def wants(self, media_type: str, action: Action) -> bool:
        """Somebody listens: others need not be told."""
        ...

    async def happened(self, events: Sequence[Event], occasion: Occasion) -> None:
        """To be called once the work is done, and before the client is told so.

        On return what has changed is known to the events as durably as to the storage; of pulls some may be lost.
        Raises `UnavailableError` where that cannot be promised.
        """
        ...
