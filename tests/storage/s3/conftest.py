from __future__ import annotations

import asyncio
from collections.abc import Callable

import uvloop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """That of commands, and the workers' own, which moves bytes in another way."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
