"""`storage.frostfs`: the parameters of the driver of that name."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated

from lading.config.models.section import HIDDEN, Problem, Reads, Section, Then, option
from lading.config.models.values import Text, positive_or, shown, value_of
from lading.config.scalars import parse_duration, parse_integer

SCHEMES = {"grpc": False, "grpcs": True}

MOST_EPOCHS = 2**63
"""Added to the current epoch, which is small, it is a number that nodes can hold."""


def _number(name: str) -> Reads:
    def check(data: object) -> float:
        value = value_of(data)
        try:
            number = float(value) if isinstance(value, str) else value
        except ValueError:
            number = None
        if not isinstance(number, int | float) or isinstance(number, bool) or not math.isfinite(number):
            raise ValueError(f"invalid {name} param: {shown(data)}")
        return number

    return Reads(check)


def _duration(data: object) -> float:
    """Seconds, from a duration or a number of nanoseconds, which a variable may have made text."""
    value = value_of(data)
    number = parse_integer(value) if isinstance(value, str) else value
    if isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number):
        return float(number) / 1e9
    return parse_duration(value if isinstance(value, str) else "")


def _whole(data: object) -> int:
    value = value_of(data)
    number = parse_integer(value) if isinstance(value, str) else value
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= MOST_EPOCHS:
        raise ValueError(f"must be a number of epochs, not {shown(data)}")
    return number


def _address(text: str) -> str:
    scheme, separator, rest = text.rpartition("://")
    host, colon, port = rest.rpartition(":")
    if (separator and scheme not in SCHEMES) or not host or not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f'invalid peer address: "{text}" (host:port, grpc://host:port or grpcs://host:port)')
    return text


class Wallet(Section):
    """The key that signs: a file of NEP-6, and the password of the account."""

    path: Text = ""
    password: Annotated[Text, HIDDEN] = ""
    address: Text = ""

    def complaints(self) -> Iterator[Problem]:
        if not self.path:
            yield ("path",), "no path provided"
        if "password" not in self.given:
            yield ("password",), "no password provided"


class Peer(Section):
    """A node. Lower priorities are preferred; among equals it is drawn by weight."""

    address: Annotated[Text, Then(_address)]
    weight: Annotated[float, _number("weight"), Then(lambda value: value if value > 0 else 1.0)] = 1.0
    priority: Annotated[float, _number("priority"), Then(lambda value: max(int(value), 1))] = 0


class FrostfsParameters(Section):
    """The parameters of the frostfs driver, from `Storage.parameters`."""

    wallet: Wallet = option(factory=Wallet)
    peers: dict[str, Peer] = option(factory=dict)
    container: Text = ""
    rpc_endpoint: Text = ""
    connection_timeout: Annotated[float, Reads(_duration), Then(positive_or(4.0))] = 4.0
    request_timeout: Annotated[float, Reads(_duration), Then(positive_or(4.0))] = 4.0
    rebalance_interval: Annotated[float, Reads(_duration), Then(positive_or(20.0))] = 20.0
    session_expiration_duration: Annotated[int, Reads(_whole), Then(lambda value: value or 100)] = 100

    def complaints(self) -> Iterator[Problem]:
        if "wallet" not in self.given:
            yield ("wallet",), "no wallet provided"
        if not self.peers:
            yield ("peers",), "no peers params provided"
        if not self.container:
            yield ("container",), "no container provided"
