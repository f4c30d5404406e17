"""Everybody who can sign in with a name and a password: the users of the password file, and robots."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from lading.auth.htpasswd import Users
from lading.auth.passwords import Passwords
from lading.auth.robots import PREFIX, Robot, Robots, hash_of
from lading.auth.throttle import Throttle
from lading.auth.watched import Watched

_NO_ROBOT = Robot("", hash_of(""), 0, 0)


@dataclass(frozen=True, slots=True)
class Account:
    """`mark` changes with the password: what was issued for an earlier one can be told."""

    user: str
    groups: frozenset[str]
    mark: str


class Accounts:
    """Names that start with `robot+` are robots', if there is a file of them."""

    def __init__(
        self,
        users: Watched[Users] | None,
        robots: Watched[Robots] | None,
        now: Callable[[], float] = time.time,
        throttle: Throttle | None = None,
    ) -> None:
        """`now` is in seconds since 1970."""
        self._users = users
        self._robots = robots
        self._now = now
        self._throttle = throttle or Throttle()
        self._passwords = Passwords(self._throttle)

    async def check(self, user: str, password: str, client: str) -> Account | None:
        """The account, if the password is its own. Raises `ThrottledError`."""
        if self._is_robot(user):
            return await self._check_robot(user, password, client)
        users = self._users.value if self._users is not None else Users()
        stored = users.hashes.get(user)
        if not await self._passwords.check(user, password, stored, client, users.cost_for(user)):
            return None
        return self.find(user)

    def find(self, user: str) -> Account | None:
        """The account as it is now, without a password."""
        if self._is_robot(user):
            robot = self._robot(user)
            if robot is None or robot.expired(self._now()):
                return None
            return Account(user, robot.groups, _mark(robot.hash))
        stored = self._users.value.hashes.get(user) if self._users is not None else None
        return None if stored is None else Account(user, frozenset(), _mark(stored))

    def reload(self) -> None:
        """Read the files now."""
        for watched in (self._users, self._robots):
            if watched is not None:
                watched.reload()

    async def _check_robot(self, user: str, secret: str, client: str) -> Account | None:
        robot = self._robot(user) or _NO_ROBOT
        if robot.matches(secret) and not robot.expired(self._now()):
            return self.find(user)
        await self._throttle.wait(client, user)
        self._throttle.failed(client, user)
        return None

    def _is_robot(self, user: str) -> bool:
        return self._robots is not None and user.startswith(PREFIX)

    def _robot(self, user: str) -> Robot | None:
        return None if self._robots is None else self._robots.value.get(user.removeprefix(PREFIX))


@functools.lru_cache(maxsize=1024)
def _mark(stored: str) -> str:
    return hashlib.sha256(stored.encode("utf-8", "surrogateescape")).hexdigest()[:32]
