"""The section `notifications`: what an endpoint cannot be."""

from __future__ import annotations

import pytest
from tests.config.test_models import stored_problems


@pytest.mark.parametrize(
    ("endpoint", "line"),
    [
        ("redis: {stream: s}, url: 'http://a'", "url: is not for an endpoint with redis.stream"),
        ("redis: {stream: s}, secret: x", "secret: is not for an endpoint with redis.stream"),
        ("redis: {stream: s}, headers: {a: [b]}", "headers: is not for an endpoint with redis.stream"),
        ("redis: {stream: s, maxlen: -1}", "redis.maxlen: must not be negative"),
        ("batch: {events: 1001}", "batch.events: must be a number of events, up to 1000"),
        ("batch: {events: -1}", "batch.events: must be a number of events, up to 1000"),
        ("maxattempts: -1", "maxattempts: must not be negative"),
        ("headers: {'a b': [c]}", "headers: has a name that no header can have"),
        (r'headers: {a: [ok, "b\nc"]}', "headers.a: has a value that no header can have"),
        ("url: 'redis://a'", "url: must be a URL that begins with http:// or https://"),
    ],
)
def test_endpoints_that_cannot_be(endpoint, line):
    [found] = stored_problems(f"notifications: {{endpoints: [{{{endpoint}}}]}}")
    assert found.startswith(f"config.yml:2: notifications.endpoints[0].{line}")
