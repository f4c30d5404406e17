"""What a command has to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Said:
    """A JSON value and lines of text that say the same; or bytes that are printed as they are."""

    document: Any
    lines: Sequence[str]
    raw: bytes | None = None
