"""The table's rows: what is done, how often at once, and what is to be reached (section 6 of the design)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import seed, work
from bench.bodies import GIB, KIB, MIB
from bench.guards import HTPASSWD, TOKEN
from bench.measure import Load
from bench.seed import Seed
from bench.servers import Running

START = "start"
SMALL = "small"
LARGE = "large"
LISTS = "lists"
PUSH = "push"
STORED = "s3, bytes through the registry"
REDIRECTED = "s3, redirected"
STORED_PUSH = "s3, push"
COUNTED_PULL = "s3, requests of pulls"
COUNTED_PUSH = "s3, requests of pushes"

COUNTED = (COUNTED_PULL, COUNTED_PUSH)
ON_S3 = (STORED, REDIRECTED, STORED_PUSH, *COUNTED)
"""Those whose registries keep everything in an object store."""

GROUPS = (START, SMALL, HTPASSWD, TOKEN, LARGE, LISTS, PUSH, *ON_S3)
"""Each gets a registry of its own, so that the memory of one does not show in another."""


@dataclass(frozen=True)
class Scene:
    """Where a row is played: on a running registry, for so many seconds, with a folder for files."""

    running: Running
    seed: Seed
    seconds: float
    folder: Path
    headers: tuple[str, ...] = ()
    """Lines that each request is to have."""
    store_port: int = 0
    """Of the object store, where there is one."""


@dataclass(frozen=True)
class Goal:
    """`metric` is `rate`, `cpu` or `requests` (to the store; ratio to Distribution), or
    `memory` (bytes above idle for each worker).

    Or it compares Lading with itself, with the row `other`: `flat` is a multiple of its median latency, `share` a
    part of its rate.
    """

    metric: str
    bound: float
    other: str = ""

    def __str__(self) -> str:
        if self.metric == "memory":
            return f"memory ≤ idle + {self.bound / MIB:.0f} MiB/worker"
        if self.metric == "flat":
            return f"p50 ≤ {self.bound:g} × first page"
        if self.metric == "share":
            return f"rate ≥ {self.bound:g} × that without auth"
        if self.metric == "requests":
            return "fewer requests"
        return f"{self.metric} {'≥' if self.metric == 'rate' else '≤'} {self.bound:g} ×"


@dataclass(frozen=True)
class Row:
    """`size` is the bytes that one operation moves, where throughput is the point. `load` None is the start-up."""

    name: str
    group: str
    load: work.Work | None
    goals: tuple[Goal, ...] = ()
    size: int = 0
    per: int = 1000
    """CPU seconds are given for so many operations; for rows with a size, for 1 GB."""
    quick: bool = True
    pushes: bool = False
    tool: str = ""
    """The load tool that has to be installed for it."""

    @property
    def counted(self) -> bool:
        """The row shows how many requests the store got, nothing else."""
        return self.group in COUNTED

    def divisor(self, operations: int) -> float:
        return operations * self.size / 1e9 if self.size else operations / self.per


_THRICE = (Goal("rate", 3.5),)
_TWELVE = (Goal("rate", 12.0),)
_DOWN = (Goal("rate", 1.0), Goal("cpu", 0.7))
_UP = (Goal("cpu", 0.6), Goal("rate", 1.3))
_MEMORY = Goal("memory", 64.0 * MIB)


def rows() -> list[Row]:
    return [
        Row("start to first answer", START, None, per=1),
        *_small(),
        *_guarded(),
        *_large(),
        *_lists(),
        *_pushes(),
        *_stored(),
    ]


def _small() -> list[Row]:
    name, tag = seed.REPOSITORY, seed.TAG
    manifest = f"/v2/{name}/manifests"
    kinds: list[tuple[str, Callable[[int], Callable[[Scene], Load]], tuple[Goal, ...]]] = [
        ("GET /v2/", lambda c: work.get(lambda _: "/v2/", c), _THRICE),
        ("GET manifest by tag", lambda c: work.get(lambda _: f"{manifest}/{tag}", c), _THRICE),
        ("GET manifest by digest", lambda c: work.get(lambda s: f"{manifest}/{s.manifest}", c), _THRICE),
        ("HEAD manifest by tag", lambda c: work.head(lambda _: f"{manifest}/{tag}", c), _THRICE),
        ("HEAD manifest by digest", lambda c: work.head(lambda s: f"{manifest}/{s.manifest}", c), _THRICE),
        ("HEAD blob", lambda c: work.head(lambda s: work.blob_target(s, "1 KiB"), c), _THRICE),
        ("GET blob 1 KiB", lambda c: work.get(lambda s: work.blob_target(s, "1 KiB"), c), _TWELVE),
        ("GET blob 64 KiB", lambda c: work.get(lambda s: work.blob_target(s, "64 KiB"), c), _TWELVE),
    ]
    return [
        Row(f"{title}, c={count}", SMALL, make(count), goals, quick=count == 16, tool=_tool(title))
        for title, make, goals in kinds
        for count in (1, 16, 200)
    ]


def _guarded() -> list[Row]:
    """What asking for the caller costs, once a password or a token is known."""
    title, path = "GET manifest by tag", f"/v2/{seed.REPOSITORY}/manifests/{seed.TAG}"
    return [
        Row(
            f"{title}, {group}, c=16",
            group,
            work.get(lambda _: path, 16),
            (Goal("share", bound, f"{title}, c=16"),),
            quick=False,
            tool=_tool(title),
        )
        for group, bound in ((HTPASSWD, 0.7), (TOKEN, 0.8))
    ]


def _tool(title: str) -> str:
    return "oha" if title.startswith("HEAD") else "wrk"


def _large() -> list[Row]:
    def one(title: str, connections: int, goals: tuple[Goal, ...], size: int) -> Row:
        load = work.download(title, connections)
        return Row(f"GET blob {title}, c={connections}", LARGE, load, goals, size=size)

    return [
        one("1 MiB", 16, (), MIB),
        one("10 MiB", 1, _DOWN, 10 * MIB),
        one("10 MiB", 16, _DOWN, 10 * MIB),
        one("1 GiB", 1, (*_DOWN, _MEMORY), GIB),
        one("1 GiB", 4, (*_DOWN, _MEMORY), GIB),
        Row("GET 1 MiB range of 1 GiB, c=16", LARGE, work.download("1 GiB", 16, part=MIB), size=MIB),
        Row("pull image, crane", LARGE, work.pull_image, per=1, size=sum(seed.IMAGE_SIZES)),
    ]


def _lists() -> list[Row]:
    found: list[Row] = []
    for what, item in (("tags", seed.tag), ("catalog", seed.repository)):
        for count in (seed.FEW, seed.MANY):
            for page in ("first", "last"):
                last = item(count - seed.PAGE - 1) if page == "last" and count > seed.PAGE else ""
                title = f"{what} of {count:,}, {page} page"
                flat = (Goal("flat", 1.5, f"{what} of {count:,}, first page"),) if count > seed.PAGE else ()
                if page == "last" and not last:
                    continue  # a hundred entries are one page
                goals = flat if page == "last" else ()
                group = LISTS if count > seed.PAGE else SMALL
                found.append(Row(title, group, work.page(what, count, last), goals))
    return found


def _pushes() -> list[Row]:
    def both(title: str, size: int, connections: int, goals: tuple[Goal, ...], *, quick: bool = True) -> list[Row]:
        shown = size if size >= MIB else 0
        return [
            Row(
                f"push {title} {how}, c={connections}",
                PUSH,
                work.push(size, connections, whole=whole),
                goals,
                size=shown,
                quick=quick,
                pushes=True,
            )
            for how, whole in (("POST+PATCH+PUT", False), ("POST+PUT", True))
        ]

    thrice = (Goal("rate", 3.0),)
    return [
        *both("1 KiB", KIB, 1, thrice, quick=False),
        *both("1 KiB", KIB, 16, thrice),
        *both("1 MiB", MIB, 4, ()),
        *both("100 MiB", 100 * MIB, 2, _UP),
        *both("1 GiB", GIB, 1, (*_UP, _MEMORY)),
        Row("PUT manifest, c=1", PUSH, work.put_manifests(1), thrice, quick=False, pushes=True),
        Row("PUT manifest, c=16", PUSH, work.put_manifests(16), thrice, pushes=True),
        Row("mix of 75 % pulls, 25 % pushes, c=16", PUSH, work.mix(16), pushes=True),
        Row("push image, crane", PUSH, work.push_image, per=1, size=sum(seed.IMAGE_SIZES), pushes=True),
    ]


def _stored() -> list[Row]:
    """On an object store. CPU is the registry's alone; the store takes what it needs of the same cores."""
    even = (Goal("rate", 1.0), Goal("cpu", 1.0))
    fewer = (Goal("requests", 0.99),)
    image = sum(seed.IMAGE_SIZES)
    path = f"/v2/{seed.REPOSITORY}/manifests/{seed.TAG}"
    last = seed.tag(seed.THOUSANDS - seed.PAGE - 1)
    found = [Row("s3: GET manifest by tag, c=16", STORED, work.ask(path, 16), even)]
    for title, size, connections in (("1 MiB", MIB, 4), ("1 GiB", GIB, 1)):
        through, away = work.download(title, connections), work.follow(title, connections)
        quick = size < GIB
        name = f"GET blob {title}, c={connections}"
        found.append(Row(f"s3: {name}, no redirect", STORED, through, even, size=size, quick=quick))
        found.append(Row(f"s3: {name}, redirected", REDIRECTED, away, even, size=size, quick=quick))
        for how, whole in (("POST+PATCH+PUT", False), ("POST+PUT", True)):
            load = work.push(size, connections, whole=whole)
            push = f"s3: push {title} {how}, c={connections}"
            found.append(Row(push, STORED_PUSH, load, even, size=size, quick=quick, pushes=True))
    return [
        *found,
        Row("s3: tags of 10,000, first page", STORED, work.page("tags", seed.THOUSANDS, ""), even),
        Row("s3: tags of 10,000, last page", STORED, work.page("tags", seed.THOUSANDS, last), even),
        Row("s3: PUT manifest, c=16", STORED_PUSH, work.put_manifests(16), even, pushes=True),
        Row("s3: pull image, crane, redirected", REDIRECTED, work.pull_image, even, per=1, size=image),
        Row("s3: push image, crane", STORED_PUSH, work.push_image, even, per=1, size=image, pushes=True),
        Row("s3: store requests, pull image", COUNTED_PULL, work.pull_image, fewer, per=1),
        Row("s3: store requests, push image", COUNTED_PUSH, work.push_image, fewer, per=1, pushes=True),
    ]
