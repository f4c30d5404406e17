"""Variables of the environment that are not Lading's own, but a custom of many programs."""

from __future__ import annotations

import os
from collections.abc import Mapping


def colour(environ: Mapping[str, str] | None = None) -> bool:
    """Whether colours are welcome on a terminal: not with `NO_COLOR`, whatever its value (no-color.org)."""
    return not (os.environ if environ is None else environ).get("NO_COLOR")
