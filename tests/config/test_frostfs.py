"""The parameters of `storage.frostfs`: what is taken, what is said of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from lading.config.models.frostfs import FrostfsParameters

RIGHT: dict[str, Any] = {
    "wallet": {"path": "/wallet.json", "password": ""},
    "peers": {"0": {"address": "localhost:8080"}},
    "container": "registry",
}


def test_defaults() -> None:
    made = FrostfsParameters.of(RIGHT)
    assert (made.wallet.path, made.wallet.password, made.wallet.address) == ("/wallet.json", "", "")
    assert (made.peers["0"].weight, made.peers["0"].priority) == (1, 0)
    assert (made.connection_timeout, made.request_timeout, made.rebalance_interval) == (4, 4, 20)
    assert (made.session_expiration_duration, made.rpc_endpoint) == (100, "")


def test_numbers_and_durations_as_text_or_not() -> None:
    peers = {
        "a": {"address": "grpc://h:1", "weight": 0.5, "priority": 2},
        "b": {"address": "grpcs://[::1]:65535", "weight": "3", "priority": "4"},
        "c": {"address": "h:1", "weight": -1, "priority": -1},
    }
    durations = {"connection_timeout": "1m", "request_timeout": 5_000_000_000, "rebalance_interval": "250000000"}
    made = FrostfsParameters.of({**RIGHT, "peers": peers, **durations, "session_expiration_duration": "7"})
    found = [(peer.weight, peer.priority) for peer in made.peers.values()]
    assert found == [(0.5, 2), (3, 4), (1, 1)]
    assert (made.connection_timeout, made.request_timeout, made.rebalance_interval) == (60, 5, 0.25)
    assert made.session_expiration_duration == 7


def test_durations_that_are_none_are_the_defaults() -> None:
    """As the original's pool has it."""
    made = FrostfsParameters.of(
        {**RIGHT, "connection_timeout": "-1s", "request_timeout": 0, "rebalance_interval": -5}
    )
    assert (made.connection_timeout, made.request_timeout, made.rebalance_interval) == (4, 4, 20)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"wallet": None}, "wallet: no wallet provided"),
        ({"wallet": {"password": ""}}, "wallet.path: no path provided"),
        ({"wallet": {"path": "/wallet.json"}}, "wallet.password: no password provided"),
        ({"peers": None}, "peers: no peers params provided"),
        ({"peers": []}, "peers: must be a mapping"),
        ({"peers": {"0": {}}}, "peers.0.address: is required"),
        ({"peers": {"0": {"address": "h"}}}, "peers.0.address: invalid peer address"),
        ({"peers": {"0": {"address": "tcp://h:1"}}}, "peers.0.address: invalid peer address"),
        ({"peers": {"0": {"address": "h:1", "weight": "x"}}}, "peers.0.weight: invalid weight param"),
        ({"peers": {"0": {"address": "h:1", "priority": True}}}, "peers.0.priority: invalid priority param"),
        ({"peers": {0: {"address": "h:1", "priority": "inf"}}}, "peers.0.priority: invalid priority param"),
        ({"peers": {0: {"address": "h:1", "weight": 1e400}}}, "peers.0.weight: invalid weight param"),
        ({"request_timeout": float("inf")}, "request_timeout: not a duration"),
        ({"session_expiration_duration": 2**70}, "session_expiration_duration: must be a number of epochs"),
        ({"container": None}, "container: no container provided"),
        ({"request_timeout": "soon"}, "request_timeout: not a duration"),
        ({"session_expiration_duration": "1h"}, "session_expiration_duration: must be a number of epochs"),
    ],
)
def test_mistakes(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  the text is compared
        FrostfsParameters.of({**RIGHT, **changes})
    assert str(refused.value).startswith(said)
