"""Servers that events are sent to."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers.redis import Starter


@pytest.fixture
def starter() -> Iterator[Starter]:
    # Not below pytest's: the path of a unix socket must be short.
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lading-redis-"))
        yield Starter(Path(folder), stack)
