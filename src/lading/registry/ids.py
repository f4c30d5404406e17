"""New identifiers that sort by time."""

from __future__ import annotations

import secrets
import uuid


def uuid7(now_ns: int) -> str:
    """A UUID of version 7 (RFC 9562, section 5.7); `now_ns` is in nanoseconds since 1970."""
    value = (now_ns // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62))
