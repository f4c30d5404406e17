"""`storage`: the driver with its parameters, and the sections that stand beside it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    PlainSerializer,
    field_validator,
    model_validator,
)

from lading.config.models.values import (
    Integer,
    Section,
    Text,
    Untyped,
    shown,
    value_of,
)
from lading.config.scalars import format_duration, parse_duration, parse_integer
from lading.config.yaml import Scalar

DEFAULT_ROOT = "/var/lib/registry"
DEFAULT_THREADS = 100
MINIMUM_THREADS = 25

HOUR = 3600.0
PURGE_PROBLEM = "Unable to parse upload purge configuration: "


def _only_true(data: object) -> bool:
    return value_of(data) is True


def _unless_false(data: object) -> bool:
    return value_of(data) is not False


def _purge_duration(name: str, key: str) -> BeforeValidator:
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

    return BeforeValidator(check)


def _flag_or(problem: str) -> BeforeValidator:
    def check(data: object) -> bool:
        value = value_of(data)
        if not isinstance(value, bool):
            raise ValueError(problem)
        return value

    return BeforeValidator(check)


def _cache_size(data: object) -> object:
    number = parse_integer(data.text) if isinstance(data, Scalar) and isinstance(data.value, str) else None
    return data if number is None else number


def _check_limit(value: int) -> int:
    if value < 0:
        raise ValueError("tag lookup concurrency limit should be a non-negative integer value")
    return value


class Cache(Section):
    """`blobdescriptor` is any text here: an unknown cache is none."""

    blobdescriptor: Text = Field(default="", validation_alias=AliasChoices("blobdescriptor", "layerinfo"))
    blobdescriptorsize: Annotated[Integer, BeforeValidator(_cache_size)] = 10000


class Delete(Section):
    """Only a real `true` enables deletion; `"true"` in quotes, or 1, leaves it off."""

    enabled: Annotated[bool, BeforeValidator(_only_true)] = False


class Redirect(Section):
    """The section may be left out, but not be without its key."""

    disable: Annotated[bool, _flag_or("invalid type for redirect config: disable must be true or false")]

    @model_validator(mode="before")
    @classmethod
    def _key_is_required(cls, data: object) -> object:
        return {"disable": None, **data} if isinstance(data, dict) else data


class TagLookup(Section):
    concurrencylimit: Annotated[Integer, AfterValidator(_check_limit)] = 0
    """How many tag links are read at a time; 0 is one for each CPU."""


class UploadPurging(Section):
    """On, unless `enabled` is exactly false; then nothing else is looked at."""

    SHAPE = "uploadpurging config key must contain additional keys"

    enabled: Annotated[bool, BeforeValidator(_unless_false)] = True
    age: Annotated[float, _purge_duration("duration", "age"), PlainSerializer(format_duration)] = 168 * HOUR
    interval: Annotated[float, _purge_duration("interval", "interval"), PlainSerializer(format_duration)] = (
        24 * HOUR
    )
    dryrun: Annotated[bool, _flag_or(f"{PURGE_PROBLEM}cannot parse dryrun")] = False

    @model_validator(mode="before")
    @classmethod
    def _nothing_else_when_off(cls, data: object) -> object:
        if isinstance(data, dict) and value_of(data.get("enabled")) is False:
            return {"enabled": False}
        return data


class ReadOnly(Section):
    SHAPE = "readonly config key must contain additional keys"

    enabled: Annotated[bool, _flag_or("readonly's enabled config key must have a boolean value")] = False


class Maintenance(Section):
    uploadpurging: UploadPurging = Field(default_factory=UploadPurging)
    readonly: ReadOnly = Field(default_factory=ReadOnly)


def _redirect_allowed() -> Redirect:
    return Redirect(disable=False)


class Storage(Section):
    """In the file the driver is a key among the sections, and its value the parameters."""

    driver: Text
    parameters: dict[str, Untyped] = Field(default_factory=dict, repr=False)
    cache: Cache = Field(default_factory=Cache)
    delete: Delete = Field(default_factory=Delete)
    redirect: Redirect = Field(default_factory=_redirect_allowed)
    tag: TagLookup = Field(default_factory=TagLookup)
    maintenance: Maintenance = Field(default_factory=Maintenance)


class FilesystemParameters(Section):
    """The parameters of the filesystem driver, from `Storage.parameters`."""

    rootdirectory: str = DEFAULT_ROOT
    maxthreads: int = DEFAULT_THREADS
    """At most so many calls into the file system at a time."""

    @field_validator("rootdirectory", mode="before")
    @classmethod
    def _path(cls, value: Any) -> str:
        if value is None:
            return DEFAULT_ROOT
        if isinstance(value, dict | list):
            raise ValueError(f"must be a path, not {shown(value)}")
        return str(value).lower() if isinstance(value, bool) else str(value)

    @field_validator("maxthreads", mode="before")
    @classmethod
    def _limit(cls, value: Any) -> int:
        if value is None:
            return DEFAULT_THREADS
        number = parse_integer(value.replace("_", "")) if isinstance(value, str) else value
        if isinstance(value, str) and (number is None or not value[0].isdigit()):
            raise ValueError(f"maxthreads config error: parameter must be an integer, '{value}' invalid")
        if not isinstance(number, int) or isinstance(number, bool):
            raise ValueError(f"maxthreads config error: invalid value {shown(value)}")
        return max(number, MINIMUM_THREADS)
