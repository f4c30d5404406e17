"""The names and hosts under which upstreams can be asked for."""

from __future__ import annotations

import pytest
from tests.config.reading import stored, stored_problems


@pytest.mark.parametrize(
    ("entry", "wrong"),
    [
        ("name: a..b", "upstreams[0].name"),
        ("name: a/b/", "upstreams[0].name"),
        ("name: 'host:5000'", "upstreams[0].name"),
        ("name: hub, hosts: ['https://mirror.test']", "upstreams[0].hosts[0]"),
        ("name: hub, hosts: ['mirror.test/']", "upstreams[0].hosts[0]"),
        ("name: hub, hosts: ['mirror..test']", "upstreams[0].hosts[0]"),
    ],
)
def test_names_and_hosts_of_upstreams(entry: str, wrong: str) -> None:
    (problem,) = stored_problems(f"upstreams: [{{{entry}, remoteurl: 'http://a.test'}}]")
    assert wrong in str(problem)
    for good in ("name: docker.io", "name: a/b-c__d, hosts: ['[::1]:5000', Mirror.test, 'm:80']"):
        assert stored(f"upstreams: [{{{good}, remoteurl: 'http://a.test'}}]").upstreams[0].name
