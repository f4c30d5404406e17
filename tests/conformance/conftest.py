"""The program against one worker, against four, and over TLS, where it speaks HTTP/2."""

from __future__ import annotations

import pytest
from tests.servers.serving import FOUR_WORKERS, HTTP2_OVER_TLS, ONE_WORKER, Serving


@pytest.fixture(params=[ONE_WORKER, FOUR_WORKERS, HTTP2_OVER_TLS], ids=lambda serving: serving.name)
def serving(request: pytest.FixtureRequest) -> Serving:
    found: Serving = request.param
    return found
