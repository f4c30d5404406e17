"""Who may do what: what a request needs, and the port that answers whether its caller may.

An authorizer is proven by the contract suite in `lading.testing.auth`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

PULL, PUSH, DELETE = "pull", "push", "delete"
ANY_ACTION = "*"


class Access(NamedTuple):
    """One action on one resource (specification: "Token Scope Documentation").

    `kind` is the resource's class, `plugin` or `image`; empty where none is told.
    """

    type: str
    name: str
    action: str
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.type}:{self.name}:{self.action}"


CATALOG = Access("registry", "catalog", ANY_ACTION)


def repository(name: str, *actions: str) -> tuple[Access, ...]:
    return tuple(Access("repository", name, action) for action in actions)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a request needs. Without what is only wished it goes on, and does less: a mount becomes an upload."""

    required: tuple[Access, ...] = ()
    wished: tuple[Access, ...] = ()

    @property
    def all(self) -> tuple[Access, ...]:
        return self.required + self.wished


class Grants(Protocol):
    """What a caller may do."""

    @property
    def everything(self) -> bool:
        """Whatever is asked, the answer is yes."""
        ...

    def allows(self, access: Access) -> bool: ...

    def shows(self, name: str) -> bool:
        """Whether the caller may learn from a listing that there is this repository."""
        ...

    def leads(self, name: str) -> bool:
        """Whether `shows` may hold for something at this name or below it: False saves looking there."""
        ...

    def classes(self, name: str) -> frozenset[str]:
        """The classes of images the caller may push to a repository; empty where they are not restricted."""
        ...


@dataclass(frozen=True, slots=True)
class Everything:
    """The grants of a registry without rules."""

    everything: bool = True

    def allows(self, _: Access) -> bool:
        return True

    def shows(self, _: str) -> bool:
        return True

    def leads(self, _: str) -> bool:
        return True

    def classes(self, _: str) -> frozenset[str]:
        return frozenset()


EVERYTHING = Everything()


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller of a request; `user` is empty for one who has not signed in."""

    user: str = ""
    grants: Grants = EVERYTHING
    groups: frozenset[str] = field(default_factory=frozenset)

    def may(self, access: Access) -> bool:
        return self.grants.allows(access)

    def may_pull(self, name: str) -> bool:
        return self.grants.allows(Access("repository", name, PULL))


ANYBODY = Identity()
"""The caller where nobody is asked who they are."""


class Attempt(NamedTuple):
    """What a request shows of its caller. Header values are as they came; absent ones are empty."""

    authorization: str = ""
    client: str = ""
    """The address of the connection's peer."""
    host: str = ""
    forwarded_proto: str = ""


class AccessError(Exception):
    """The request is not to go on. The text is a reason for the audit log; it holds no secret."""

    def __init__(self, reason: str = "", user: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.user = user


class ChallengeError(AccessError):
    """Other credentials are needed: `header` is the WWW-Authenticate to answer with.

    Without a `reason` none were shown, as is usual for a first request.
    """

    def __init__(self, header: str, reason: str = "", user: str = "") -> None:
        super().__init__(reason, user)
        self.header = header


class ForbiddenError(AccessError):
    """The caller is known, and no other credentials of theirs would help."""


class ThrottledError(AccessError):
    """Too many failed attempts; `seconds` from now there may be another."""

    def __init__(self, seconds: int, reason: str, user: str = "") -> None:
        super().__init__(reason, user)
        self.seconds = seconds


class Authorizer(Protocol):
    """Asked once for each request, before anything else is done for it."""

    async def authorize(self, attempt: Attempt, needs: Needs) -> Identity:
        """The caller, to whom all of `needs.required` is granted. Raises `AccessError`, nothing else."""
        ...
