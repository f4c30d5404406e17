"""`storage`: the driver with its parameters, and the sections that stand beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from lading.config.models.section import HIDDEN, Problem, Reads, Section, Then, option
from lading.config.models.values import Duration, Flag, Integer, Text, Untyped, positive_or, shown, value_of
from lading.config.scalars import parse_duration, parse_integer
from lading.config.yaml import Scalar

DEFAULT_ROOT = "/var/lib/registry"
DEFAULT_THREADS = 100
MINIMUM_THREADS = 25

HOUR = 3600.0
MINIMUM_QUARANTINE = 300.0
PURGE_PROBLEM = "Unable to parse upload purge configuration: "


def _only_true(data: object) -> bool:
    return value_of(data) is True


def _unless_false(data: object) -> bool:
    return value_of(data) is not False


def _purge_duration(name: str, key: str) -> Reads:
    def check(data: object) -> float:
        if isinstance(data, int | float) and not isinstance(data, bool):
            return float(data)
        value = value_of(data)
        if not isinstance(value, str):
            raise ValueError(f"{PURGE_PROBLEM}{key} is not a string")
        try:
            return parse_duration(value)
        except ValueError as error:
            raise ValueError(f"{PURGE_PROBLEM}Cannot parse {name}: {shown(data)} is {error}") from None

    return Reads(check)


def _flag_or(problem: str) -> Reads:
    def check(data: object) -> bool:
        value = value_of(data)
        if not isinstance(value, bool):
            raise ValueError(problem)
        return value

    return Reads(check)


def _cache_size(data: object) -> object:
    number = parse_integer(data.text) if isinstance(data, Scalar) and isinstance(data.value, str) else None
    return data if number is None else number


def _check_limit(value: int) -> int:
    if value < 0:
        raise ValueError("tag lookup concurrency limit should be a non-negative integer value")
    return value


def _directory(data: object) -> str:
    value = value_of(data)
    if value is None or isinstance(value, dict | list):
        raise ValueError(f"must be a path, not {shown(value)}")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _threads(data: object) -> int:
    value = value_of(data)
    number = parse_integer(value.replace("_", "")) if isinstance(value, str) else value
    if isinstance(value, str) and (number is None or not value[0].isdigit()):
        raise ValueError(f"maxthreads config error: parameter must be an integer, '{value}' invalid")
    if not isinstance(number, int) or isinstance(number, bool):
        raise ValueError(f"maxthreads config error: invalid value {shown(value)}")
    return max(number, MINIMUM_THREADS)


class Cache(Section):
    """`blobdescriptor` is any text here: an unknown cache is none."""

    blobdescriptor: Text = option(default="", keys=("blobdescriptor", "layerinfo"))
    blobdescriptorsize: Annotated[Integer, Reads(_cache_size)] = 10000


class Delete(Section):
    """Only a real `true` enables deletion; `"true"` in quotes, or 1, leaves it off."""

    enabled: Annotated[bool, Reads(_only_true)] = False
    repositories: Flag = False
    """Whole repositories can be deleted, too."""

    def complaints(self) -> Iterator[Problem]:
        if self.repositories and not self.enabled:
            yield ("repositories",), "has no effect unless storage.delete.enabled is true"


_REDIRECT_PROBLEM = "invalid type for redirect config: disable must be true or false"


class Redirect(Section):
    """The section may be left out, but not be without its key."""

    disable: Annotated[bool, _flag_or(_REDIRECT_PROBLEM)] = False

    def complaints(self) -> Iterator[Problem]:
        if "disable" not in self.given:
            yield ("disable",), _REDIRECT_PROBLEM


class TagLookup(Section):
    concurrencylimit: Annotated[Integer, Then(_check_limit)] = 0
    """How many tag links are read at a time; 0 is one for each CPU."""


class UploadPurging(Section):
    """On, unless `enabled` is exactly false; then nothing else is looked at."""

    SHAPE = "uploadpurging config key must contain additional keys"

    enabled: Annotated[bool, Reads(_unless_false)] = True
    age: Annotated[float, _purge_duration("duration", "age")] = 168 * HOUR
    interval: Annotated[float, _purge_duration("interval", "interval")] = 24 * HOUR
    dryrun: Annotated[bool, _flag_or(f"{PURGE_PROBLEM}cannot parse dryrun")] = False

    @classmethod
    def prepare(cls, entries: dict[str, object]) -> dict[str, object]:
        return {"enabled": False} if value_of(entries.get("enabled")) is False else entries


class ReadOnly(Section):
    SHAPE = "readonly config key must contain additional keys"

    enabled: Annotated[bool, _flag_or("readonly's enabled config key must have a boolean value")] = False


def _check_rate(value: int) -> int:
    if value < 1:
        raise ValueError("must be 1 or more")
    return value


class GarbageCollection(Section):
    """While the registry serves. Times are in seconds; `rate` is how many things are put away in one."""

    enabled: Flag = False
    interval: Annotated[Duration, Then(positive_or(24 * HOUR))] = 24 * HOUR
    quarantine: Annotated[Duration, Then(positive_or(168 * HOUR))] = 168 * HOUR
    grace: Annotated[Duration, Then(positive_or(24 * HOUR))] = 24 * HOUR
    rate: Annotated[Integer, Then(_check_rate)] = 100
    deleteuntagged: Flag = False

    def complaints(self) -> Iterator[Problem]:
        if self.quarantine < MINIMUM_QUARANTINE:
            yield ("quarantine",), f"must be {MINIMUM_QUARANTINE:.0f}s or more: requests under way need that long"


class Maintenance(Section):
    uploadpurging: UploadPurging = option(factory=UploadPurging)
    garbagecollection: GarbageCollection = option(factory=GarbageCollection)
    readonly: ReadOnly = option(factory=ReadOnly)


class Storage(Section):
    """In the file the driver is a key among the sections, and its value the parameters."""

    driver: Text
    parameters: Annotated[dict[str, Untyped], HIDDEN] = option(factory=dict)
    cache: Cache = option(factory=Cache)
    delete: Delete = option(factory=Delete)
    redirect: Redirect = option(factory=Redirect)
    tag: TagLookup = option(factory=TagLookup)
    maintenance: Maintenance = option(factory=Maintenance)


class FilesystemParameters(Section):
    """The parameters of the filesystem driver, from `Storage.parameters`."""

    rootdirectory: Annotated[str, Reads(_directory)] = DEFAULT_ROOT
    maxthreads: Annotated[int, Reads(_threads)] = DEFAULT_THREADS
    """At most so many calls into the file system at a time."""
