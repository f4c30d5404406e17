"""Whether a configuration can be served, and what is odd about it: all at once, before anything is started."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from lading import build
from lading.compose import descriptors, retention
from lading.compose.error import BuildError
from lading.compose.storage import mistakes, storage
from lading.config.load import Loaded, read
from lading.config.models.configuration import Configuration
from lading.config.problems import ConfigurationError, Path, Refusal
from lading.config.supported import unsupported
from lading.config.yaml import locate
from lading.server import builtin
from lading.server.listener import ServerError

_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


class Verdict(NamedTuple):
    """Lines. With `problems` it cannot be served; `refused` are the keys they are about."""

    source: str
    problems: list[str]
    warnings: list[str]
    refused: list[Path]


def check(path: str | None, environ: Mapping[str, str] | None = None) -> Verdict:
    """What is wrong with the configuration that `serve` would read for `path`, and with the files it names."""
    try:
        loaded = read(path, environ)
    except ConfigurationError as error:
        return Verdict(error.source, error.problems, error.warnings, [])
    refusals = loaded.refusals + _refusals(loaded)
    return Verdict(
        loaded.source, [str(each) for each in refusals], loaded.warnings, [each.path for each in refusals]
    )


def servable(path: str | None, *sections: str, strict: bool, addressed: bool = False) -> Loaded:
    """What `path` says, where it can be served; of these top-level sections only, if given.

    `addressed` if the socket to listen on is there already. Raises `ConfigurationError` with everything that is in
    the way, and with `strict` for every warning.
    """
    loaded = read(path)
    problems = loaded.problems + [str(each) for each in _refusals(loaded, sections, addressed=addressed)]
    problems += loaded.warnings if strict else []
    if problems:
        raise ConfigurationError(loaded.source, problems, loaded.warnings)
    return loaded


def _refusals(loaded: Loaded, sections: tuple[str, ...] = (), *, addressed: bool = False) -> list[Refusal]:
    """Beyond what cannot be read: nothing is said twice of a key, or of what is below it."""
    told: list[Path] = [path for path, _ in loaded.wrong]
    found = []
    for path, what in _found(loaded, addressed=addressed):
        known = any(tuple(path[: len(each)]) == tuple(each) for each in told)
        if not known and (not sections or path[0] in sections):
            told.append(path)
            found.append(Refusal(locate(loaded.root, path), path, what))
    return found


def _found(loaded: Loaded, *, addressed: bool) -> Iterator[tuple[Path, str]]:
    configuration = loaded.configuration
    if any(path == ("storage",) for path, _ in loaded.wrong):
        return  # without it there is nothing to look at
    yield from unsupported(configuration, addressed=addressed)
    if build.guarded(configuration):
        yield from _auth(configuration)
    if all(path[0] != "storage" for path, _ in loaded.wrong):
        yield from mistakes(configuration)
        yield from _trial(storage, configuration)
    if build.cached(configuration) and all(path[0] != "redis" for path, _ in loaded.wrong):
        yield from _trial(descriptors.options, configuration)
    if build.pulling(configuration):
        yield from _pulling(configuration)
    yield from _trial(retention.check, configuration)
    yield from _trial(_tls, configuration)
    yield from _trial(build.debug_listener, configuration)


def _trial(part: Callable[[Configuration], object], configuration: Configuration) -> Iterator[tuple[Path, str]]:
    try:
        part(configuration)
    except (BuildError, ServerError) as error:
        yield _split(str(error))


def _split(line: str) -> tuple[Path, str]:
    """The key that a line begins with, and the rest."""
    key, _, what = line.partition(": ")
    return tuple(name or int(index) for name, index in _STEP.findall(key)), what


def _auth(configuration: Configuration) -> Iterator[tuple[Path, str]]:
    from lading.compose import auth  # noqa: PLC0415  only where somebody is asked who they are

    for line in auth.problems(configuration):
        yield _split(line)
    yield from _trial(auth.check_files, configuration)


def _pulling(configuration: Configuration) -> Iterator[tuple[Path, str]]:
    from lading.compose import proxy  # noqa: PLC0415  what it needs takes long to import

    yield from _trial(proxy.sources, configuration)


def _tls(configuration: Configuration) -> None:
    settings = build.listener(configuration).tls
    if settings is not None and settings.acme is None:
        builtin.source(settings)
