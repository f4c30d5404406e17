"""Robot accounts: names for programs, with secrets that expire. The file holds hashes of the secrets alone.

The secrets are random, 256 bits: a plain hash of one tells nothing, and costs nothing to check.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lading.auth import private_files
from lading.auth.watched import FileError

PREFIX = "robot+"
"""A robot signs in as `robot+NAME`."""

_NAME = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*", re.ASCII)


class RobotError(Exception):
    """What was asked of the accounts cannot be done."""


@dataclass(frozen=True, slots=True)
class Robot:
    """`created` and `expires` are seconds since 1970; a robot without `expires` stays until it is revoked."""

    name: str
    hash: str
    created: int
    expires: int | None = None
    groups: frozenset[str] = frozenset()

    def matches(self, secret: str) -> bool:
        return hmac.compare_digest(self.hash, hash_of(secret))

    def expired(self, now: float) -> bool:
        return self.expires is not None and self.expires <= now


Robots = Mapping[str, Robot]


def hash_of(secret: str) -> str:
    return "sha256:" + hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def parse(text: bytes, path: str) -> Robots:
    """By name. Raises `FileError`."""
    try:
        document = json.loads(text or b"{}")
        entries = document.get("robots", {})
        return {
            name: Robot(
                name,
                str(entry["hash"]),
                int(entry["created"]),
                None if entry.get("expires") is None else int(entry["expires"]),
                frozenset(map(str, entry.get("groups", []))),
            )
            for name, entry in entries.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(f"{path}: is not a file of robot accounts: {error!r}") from None


def prepare(path: str) -> None:
    """Make the file where there is none, so that it can be watched. Raises `FileError`."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError as error:
        raise FileError(f"{path}: cannot be made: {error.strerror}") from None


def create(path: str, name: str, now: float, seconds: float | None, groups: frozenset[str]) -> str:
    """Add a robot; returns its secret, which is nowhere else. Raises `RobotError`, `FileError`."""
    if _NAME.fullmatch(name) is None:
        raise RobotError(
            f"{name!r} is no name for a robot: lower case letters and digits, with . _ - between them"
        )
    secret = secrets.token_urlsafe(32)
    with _changing(path) as robots:
        if name in robots and not robots[name].expired(now):
            raise RobotError(f"there is a robot {name} already: revoke it first")
        expires = None if seconds is None else int(now + seconds)
        robots[name] = Robot(name, hash_of(secret), int(now), expires, groups)
    return secret


def revoke(path: str, name: str) -> None:
    """Raises `RobotError`, `FileError`."""
    with _changing(path) as robots:
        if name not in robots:
            raise RobotError(f"there is no robot {name}")
        del robots[name]


def load(path: str) -> Robots:
    """Raises `FileError`."""
    try:
        with open(path, "rb") as file:
            return parse(file.read(), path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from None


@contextlib.contextmanager
def _changing(path: str) -> Iterator[dict[str, Robot]]:
    """The robots, to be changed; written in one step at the end. One change at a time, across processes."""
    try:
        with private_files.locked(f"{path}.lock"):
            robots = dict(load(path))
            yield robots
            _write(path, robots)
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror}") from None


def _write(path: str, robots: Robots) -> None:
    entries = {
        robot.name: {
            "hash": robot.hash,
            "created": robot.created,
            "expires": robot.expires,
            "groups": sorted(robot.groups),
        }
        for robot in robots.values()
    }
    private_files.write(path, json.dumps({"robots": entries}, indent=2).encode() + b"\n")
