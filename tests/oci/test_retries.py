"""Retry-After, as servers write it."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from lading.oci.retries import retry_after

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *(("", 0), ("x", 0), ("3", 3), ("-1", 0), ("inf", 0), ("nan", 0), ("1.5", 1.5)),
        ("Sun, 06 Nov 99999999999999999999 08:49:37 GMT", 0),
        (formatdate(NOW + 60, usegmt=True), 60),
        (formatdate(NOW - 60, usegmt=True), 0),
    ],
)
def test_seconds(value: str, seconds: float) -> None:
    assert retry_after(value, NOW) == seconds
