"""When a server asks to be asked again (RFC 9110, section 10.2.3)."""

from __future__ import annotations

import email.utils
import math


def retry_after(value: str, now: float) -> float:
    """Seconds that a Retry-After asks for; 0 for what cannot be read. `now` is in seconds since 1970."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0
