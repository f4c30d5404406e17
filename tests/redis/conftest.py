from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers.redis import Starter


@pytest.fixture
def servers() -> Iterator[Starter]:
    with contextlib.ExitStack() as stack:
        # The paths of sockets have to be short.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lading-redis-"))
        yield Starter(Path(folder), stack)
