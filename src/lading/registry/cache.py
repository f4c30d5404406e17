"""What this process remembers of content that never changes. Whether it still exists is for the storage to say."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")

ENTRY_BYTES = 512
"""What an entry takes beside its content, roughly: key, objects, its place in the table."""


class Cache(Generic[T]):
    """The entries used last, as many as fit into `limit` bytes; none that would take more than an eighth."""

    def __init__(self, limit: int) -> None:
        self.used = 0
        """In bytes, as estimated."""
        self.asked = 0
        self.hits = 0
        """How often something was asked for, and was there."""
        self._limit = limit
        self._entries: OrderedDict[str, tuple[T, int]] = OrderedDict()

    def get(self, key: str) -> T | None:
        self.asked += 1
        entry = self._entries.get(key)
        if entry is None:
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: str, value: T, size: int = 0) -> None:
        """`size` is that of the content, in bytes."""
        self.forget(key)
        size += ENTRY_BYTES
        if size > self._limit // 8:
            return
        self._entries[key] = value, size
        self.used += size
        while self.used > self._limit:
            _, (_, freed) = self._entries.popitem(last=False)
            self.used -= freed

    def forget(self, key: str) -> None:
        """Nothing happens where there is no such entry."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.used -= entry[1]
