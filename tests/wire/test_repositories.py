"""What is told of a repository that was deleted."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
from tests.registry.test_collect import store
from tests.registry.test_collecting import APP, IMAGE
from tests.wire.asgi import Client

from lading.api.app import Application
from lading.api.service import Service
from lading.api.state import StateTokens
from lading.registry.events import Event, Occasion
from lading.registry.registry import Registry
from lading.storage.memory import MemoryStorage


class Heard:
    references = False

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def happened(self, events: Sequence[Event], occasion: Occasion) -> None:
        assert occasion.method == "DELETE"
        self.events += events


async def test_one_event_and_one_line_of_the_audit_log(caplog: pytest.LogCaptureFixture) -> None:
    memory, heard = MemoryStorage(), Heard()
    await store(memory, IMAGE, "1.0", name=APP)
    service = Service(Registry.over(memory), StateTokens(b"x"), deletes=True, removes=True, events=heard)
    client = Client(Application(service))
    with caplog.at_level(logging.INFO, "lading.audit"):
        for status in (202, 404):
            (await client.send("DELETE", f"/v2/{APP}/_lading/repository")).expect(status)
    assert heard.events == [Event("delete", APP)]
    (line,) = [record.getMessage() for record in caplog.records if record.name == "lading.audit"]
    assert line.startswith(f'audit: repository deleted repository="{APP}" tags="1" manifests="1"')
