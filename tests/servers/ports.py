"""Ports for servers that cannot be told to take a free one."""

from __future__ import annotations

import socket

_given: set[int] = set()


def free_port() -> int:
    """One that nobody listens on, and not one that was given before: the kernel may offer that again at once."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port
