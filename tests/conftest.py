"""What every test may ask for: a running Lading, the Go original beside it, and real clients."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.servers import process
from tests.servers.certificate import certificate
from tests.servers.peers import Peer, executable, versions
from tests.servers.process import Registry, StartRegistry
from tests.servers.serving import DEFAULT, Serving


def pytest_configure() -> None:
    """What a shell runs in its background may ignore SIGINT, and so would all that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    return ["peers:", *(f"  {version}" for version in versions())]


@pytest.fixture
def serving() -> Serving:
    """How Lading serves; folders whose tests hold in every way give this fixture parameters."""
    return DEFAULT


@pytest.fixture
def start_lading(tmp_path: Path, serving: Serving) -> Iterator[StartRegistry]:
    with process.registries(process.lading(serving), tmp_path) as start:
        yield start


@pytest.fixture
def start_distribution(tmp_path: Path) -> Iterator[StartRegistry]:
    with process.registries(process.distribution(), tmp_path) as start:
        yield start


@pytest.fixture
def distribution(start_distribution: StartRegistry) -> Registry:
    return start_distribution()


@pytest.fixture
def lading(start_lading: StartRegistry) -> Registry:
    return start_lading()


@pytest.fixture
def peer(tmp_path: Path, serving: Serving) -> Callable[[str], Peer]:
    """`peer("skopeo")` is that program; the test is skipped if it is not installed.

    Where Lading has a certificate, the program trusts it and is not told to do without.
    """
    authority = certificate().file if serving.tls else None
    return lambda name: Peer(executable(name), tmp_path / f"{name}-home", authority)
