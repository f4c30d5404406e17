"""How hard the property tests try: `LADING_FUZZ=1` makes it fifty times as hard."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import HealthCheck, settings

FACTOR = 50 if os.environ.get("LADING_FUZZ") == "1" else 1

NOWHERE = Path("/nonexistent")
"""The directory of registries that keep everything in memory."""


def thorough(examples: int) -> settings:
    return settings(
        max_examples=examples * FACTOR,
        deadline=None,
        derandomize=FACTOR == 1,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.function_scoped_fixture,
            HealthCheck.data_too_large,
        ],
    )
