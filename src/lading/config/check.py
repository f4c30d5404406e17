"""Whether a configuration can be served, and what is odd about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lading.config.load import Loaded, load
from lading.config.problems import ConfigurationError
from lading.config.supported import unsupported


class Verdict(NamedTuple):
    """Lines. With `problems` it cannot be served."""

    source: str
    problems: list[str]
    warnings: list[str]


def check(path: str | None, environ: Mapping[str, str] | None = None) -> Verdict:
    """What is wrong with the configuration that `serve` would read for `path`."""
    try:
        loaded = load(path, environ)
    except ConfigurationError as error:
        return Verdict(error.source, error.problems, error.warnings)
    return Verdict(loaded.source, unsupported(loaded.configuration, root=loaded.root), loaded.warnings)


def require_servable(loaded: Loaded, *sections: str, strict: bool, addressed: bool = False) -> None:
    """Of these top-level sections only, if given; `addressed` if the socket to listen on is there already.

    Raises `ConfigurationError` for what this version does not have, and with `strict` for every warning.
    """
    problems = unsupported(loaded.configuration, *sections, root=loaded.root, addressed=addressed)
    problems += loaded.warnings if strict else []
    if problems:
        raise ConfigurationError(loaded.source, problems)
