"""Whose names are whose: repositories of this registry, and those that are pulled through from upstreams.

Configuration alone decides. What is below the prefix of an upstream is the upstream's, unless a pattern keeps it
private; everything else is private, and no upstream is ever asked for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from lading.oci import errors
from lading.registry.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Source:
    """One upstream and the rules for it. Times are in seconds, sizes in bytes.

    `prefix` is empty for one that has all names; its `private` patterns match the name here, the others that
    upstream. `interval` is how long a tag is believed without asking, `misses` how long it is remembered that
    there is nothing, `grace` how long a blob is filled that no client waits for any more. `ttl` and `max_bytes`
    0 are no limit. `aliases` are what clients may call it in `?ns=`, `hosts` the hosts that stand for it.
    """

    prefix: str
    upstream: Upstream
    ttl: float = 0.0
    interval: float = 0.0
    misses: float = 10.0
    grace: float = 300.0
    max_bytes: int = 0
    aliases: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    allow: tuple[re.Pattern[str], ...] = ()
    deny: tuple[re.Pattern[str], ...] = ()
    private: tuple[re.Pattern[str], ...] = ()

    def has(self, name: str) -> bool:
        if self.prefix and not name.startswith(f"{self.prefix}/"):
            return False
        return not any(pattern.fullmatch(name) for pattern in self.private)

    def is_whole(self, namespace: str) -> bool:
        """Whether it has all names, and is its host, or one of the hosts of that domain."""
        host = self.upstream.host
        return not self.prefix and (host == namespace or ("." in namespace and host.endswith(f".{namespace}")))

    def name_there(self, name: str) -> str:
        """Raises DENIED if the rules do not let it be asked for."""
        there = name[len(self.prefix) + 1 :] if self.prefix else name
        barred = any(pattern.fullmatch(there) for pattern in self.deny)
        if barred or (self.allow and not any(pattern.fullmatch(there) for pattern in self.allow)):
            raise errors.DENIED(detail=f"{there} is not to be pulled from {self.upstream.host}")
        return there


class Sources:
    """Of several prefixes that match the longest counts."""

    def __init__(self, sources: list[Source]) -> None:
        self._sources = sorted(sources, key=lambda source: -len(source.prefix))
        self._named = any(source.prefix for source in sources)

    def all(self) -> list[Source]:
        return list(self._sources)

    def of(self, name: str) -> Source | None:
        """The upstream that a name is pulled through from; None for a private one."""
        for source in self._sources:
            if source.prefix and not name.startswith(f"{source.prefix}/"):
                continue
            # A name that is kept private is so for good: no shorter prefix has it.
            return source if source.has(name) else None
        return None

    def has(self, name: str) -> bool:
        """Whether it is pulled through."""
        return self.of(name) is not None

    def name_here(self, name: str, namespace: str, host: str, own: Callable[[str], bool]) -> str:
        """The repository that a client means.

        `namespace` is what it says in `?ns=`, `host` whom it has asked, `own` tells the names of this registry.
        Raises NAME_UNKNOWN for a namespace that is nobody's here: its content must not come from elsewhere.
        """
        if namespace and self._named:
            # What the configuration calls by that name comes before a host that happens to be called so.
            for source in sorted(self._sources, key=lambda each: each.prefix != namespace):
                if source.prefix and namespace in source.aliases:
                    return f"{source.prefix}/{name}"
            if not own(namespace) and not any(source.is_whole(namespace) for source in self._sources):
                raise errors.NAME_UNKNOWN(detail={"name": name}, message=f"{namespace} is not pulled through here")
        for source in self._sources:
            if host in source.hosts:
                return f"{source.prefix}/{name}"
        return name
