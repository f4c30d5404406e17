"""The audit log: one line for each decision that refuses or changes something."""

from __future__ import annotations

import json
import logging

log = logging.getLogger("lading.audit")


_LONGEST = 512


def record(event: str, **facts: object) -> None:
    """`event key="value" …`, in the order given; empty facts are left out. No fact may be a secret."""
    told = "".join(f" {key}={_quoted(value)}" for key, value in facts.items() if value not in ("", None))
    log.info("audit: %s%s", event, told)


def _quoted(value: object) -> str:
    """Whoever is refused says what is logged here: not how much."""
    text = str(value)
    return json.dumps(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")
