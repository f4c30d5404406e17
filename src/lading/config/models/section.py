"""Mappings of the file with known keys, declared by annotations and read in one go, all problems told.

A layer of its own, because a registry is started often: importing pydantic took longer than all the rest of a
start (docs/performance.md). An annotation is `Annotated[type, marks]`; the marks say how a value is read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from types import UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    NamedTuple,
    Self,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

from lading.config.yaml import Scalar, is_null

T = TypeVar("T")
Steps = tuple[str | int, ...]
Problem = tuple[Steps, str]
"""Where below what is read, and what is wrong there."""

_Reader = Callable[[object, Steps, list[Problem]], object]
_REQUIRED: Any = object()
_FAILED = object()


class Reads(NamedTuple):
    """Makes the value from a `Scalar` of the tree, or from a plain value. Raises `ValueError`; no secrets in it.

    Of several, the last comes first. What a list, map or section is made of is read after it.
    """

    function: Callable[[Any], Any]


class Then(NamedTuple):
    """Changes or refuses (`ValueError`) the value that was read."""

    function: Callable[[Any], Any]


class Segment(str):
    """The segment in names of variables, where it is not the key in upper case."""

    __slots__ = ()


class Hidden:
    """Never shown: a secret, or something that may hold one."""


HIDDEN = Hidden()


class Option(NamedTuple):
    """One key of a section. `annotation` is bare, without marks; `keys` are its spellings, the best one first."""

    name: str
    keys: tuple[str, ...]
    annotation: Any
    marks: tuple[Any, ...]
    make_default: Callable[[], Any]
    read: _Reader

    @property
    def key(self) -> str:
        return self.keys[0]

    @property
    def required(self) -> bool:
        return self.make_default() is _REQUIRED

    @property
    def hidden(self) -> bool:
        return HIDDEN in self.marks


class _Declared(NamedTuple):
    make_default: Callable[[], Any]
    keys: tuple[str, ...]


@overload
def option(*, factory: Callable[[], T], keys: tuple[str, ...] = ...) -> T: ...
@overload
def option(*, default: T, keys: tuple[str, ...] = ...) -> T: ...
def option(*, default: Any = None, factory: Callable[[], Any] | None = None, keys: tuple[str, ...] = ()) -> Any:
    """A field whose default is made anew each time, or whose keys are not its name."""
    return _Declared(factory or (lambda: default), keys)


@dataclass_transform(kw_only_default=True, field_specifiers=(option,))
class Section:  # noqa: PLW1641  it can change, so it has no hash
    """A mapping with known keys. Null stands for the defaults, of a section as of each of its keys."""

    GROUP: ClassVar[str | None] = None
    """A segment of `REGISTRY_*` names that may stand before those of the fields."""
    SHAPE: ClassVar[str] = "must be a mapping"
    """What to say of anything else."""

    given: ClassVar[frozenset[str]] = frozenset()
    """The fields that were said; set on each instance."""

    def __init__(self, **values: Any) -> None:
        for each in options_of(type(self)):
            setattr(self, each.name, values.pop(each.name) if each.name in values else each.make_default())
        if values:
            raise TypeError(f"{type(self).__name__} has no {', '.join(values)}")

    @classmethod
    def read(cls, data: object, problems: list[Problem], at: Steps = ()) -> Self:
        """From the values of a mapping by key. What is wrong is added to `problems`, and has its default."""
        made = cls.__new__(cls)
        entries: dict[str, object] = {}
        if isinstance(data, dict):
            entries = cls.prepare({key: value for key, value in data.items() if not _nothing(value)})
        elif not _nothing(data):
            problems.append((at, cls.SHAPE))
        given, failed = set(), False
        for each in options_of(cls):
            key = next((key for key in each.keys if key in entries), None)
            value = _FAILED if key is None else each.read(entries[key], (*at, key), problems)
            if key is not None:
                given.add(each.name)
                failed = failed or value is _FAILED
            elif each.required:
                problems.append(((*at, each.key), "is required"))
                failed = True
            setattr(made, each.name, each.make_default() if value is _FAILED else value)
        made.__dict__["given"] = frozenset(given)
        if not failed:
            problems += [((*at, *steps), what) for steps, what in made.complaints()]
            made.settle()
        return made

    @classmethod
    def of(cls, data: object) -> Self:
        """As `read`. Raises `ValueError` for the first problem."""
        problems: list[Problem] = []
        made = cls.read(data, problems)
        for steps, what in problems:
            raise ValueError(f"{'.'.join(map(str, steps))}: {what}")
        return made

    @classmethod
    def prepare(cls, entries: dict[str, object]) -> dict[str, object]:
        """What is read instead of `entries`, which has no nulls."""
        return entries

    def complaints(self) -> Iterator[Problem]:
        """What is wrong with the fields together, once each is right for itself."""
        yield from ()

    def settle(self) -> None:
        """Gives fields the values they have by others, once all are read."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Section) and type(self) is type(other) and self._values() == other._values()

    def __repr__(self) -> str:
        shown = (f"{each.name}={getattr(self, each.name)!r}" for each in options_of(type(self)) if not each.hidden)
        return f"{type(self).__name__}({', '.join(shown)})"

    def _values(self) -> list[object]:
        return [getattr(self, each.name) for each in options_of(type(self))]


def _nothing(data: object) -> bool:
    return data is None or is_null(data)


def without_nulls(data: object) -> object:
    return {k: v for k, v in data.items() if not is_null(v)} if isinstance(data, dict) else data


def bare(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """An annotation without its marks and without `| None`, and the marks."""
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        return inner, tuple(marks)
    if get_origin(annotation) in (Union, UnionType):
        [some] = [each for each in get_args(annotation) if each is not type(None)]
        return bare(some)
    return annotation, ()


def options_of(section: type[Section]) -> tuple[Option, ...]:
    """The keys of a section, in their order."""
    if section not in _KNOWN:
        _KNOWN[section] = tuple(_options(section))
    return _KNOWN[section]


_KNOWN: dict[type[Section], tuple[Option, ...]] = {}


def _options(section: type[Section]) -> Iterator[Option]:
    for name, hint in get_type_hints(section, include_extras=True).items():
        if get_origin(hint) is ClassVar:
            continue
        annotation, marks = bare(hint)
        stated = section.__dict__.get(name, _REQUIRED)
        declared = stated if isinstance(stated, _Declared) else _Declared(functools.partial(_same, stated), ())
        yield Option(name, declared.keys or (name,), annotation, marks, declared.make_default, _reader(hint))


def _same(value: T) -> T:
    return value


def _reader(hint: Any) -> _Reader:
    annotation, marks = bare(hint)
    before = [mark.function for mark in reversed(marks) if isinstance(mark, Reads)]
    after = [mark.function for mark in marks if isinstance(mark, Then)]
    structure = _structure(annotation)

    def read(data: object, at: Steps, problems: list[Problem]) -> object:
        try:
            for function in before:
                data = function(data)
            if structure is not None:
                data = structure(data, at, problems)
            for function in after if data is not _FAILED else ():
                data = function(data)
        except ValueError as error:
            problems.append((at, str(error)))
            return _FAILED
        return data

    return read


def _structure(annotation: Any) -> _Reader | None:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is list:
        return functools.partial(_list, _reader(arguments[0]))
    if origin is dict:
        return functools.partial(_map, _reader(arguments[1]))
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return lambda data, at, problems: annotation.read(data, problems, at)
    return None


def _list(item: _Reader, data: object, at: Steps, problems: list[Problem]) -> object:
    if not isinstance(data, Sequence) or isinstance(data, str | Scalar):
        raise ValueError("must be a list")
    made = [item(each, (*at, index), problems) for index, each in enumerate(data)]
    return _FAILED if _FAILED in made else made


def _map(item: _Reader, data: object, at: Steps, problems: list[Problem]) -> object:
    if not isinstance(data, dict):
        raise ValueError("must be a mapping")
    made = {key: item(each, (*at, key), problems) for key, each in data.items()}
    return _FAILED if _FAILED in made.values() else made
