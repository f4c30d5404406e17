"""How these tests read a configuration: a body behind `version: 0.1`, and variables."""

from __future__ import annotations

import re

import pytest

from lading.config.load import Loaded, parse
from lading.config.models.configuration import Configuration
from lading.config.problems import ConfigurationError, report
from lading.config.supported import unsupported
from lading.config.yaml import locate

SOURCE = "config.yml"


def loaded(body: str = "storage: inmemory", environ: dict[str, str] | None = None) -> Loaded:
    """The body starts on line 2."""
    return parse(f"version: 0.1\n{body}\n", SOURCE, environ or {})


def read(body: str = "storage: inmemory", environ: dict[str, str] | None = None) -> Configuration:
    return loaded(body, environ).configuration


def without_columns(lines: list[str]) -> list[str]:
    """Most tests look at lines alone: columns have tests of their own, in `test_places`."""
    return [re.sub(r"^(config\.yml:\d+):\d+", r"\1", line) for line in lines]


def warnings(body: str = "storage: inmemory", environ: dict[str, str] | None = None) -> list[str]:
    return without_columns(loaded(body, environ).warnings)


def refusals(result: Loaded) -> list[str]:
    """Why this version cannot serve it."""
    return [report(locate(result.root, path), path, what) for path, what in unsupported(result.configuration)]


def attempt(text: str | bytes, environ: dict[str, str] | None = None) -> Loaded | ConfigurationError:
    """What comes of a whole document, one way or the other."""
    try:
        return parse(text, SOURCE, environ or {})
    except ConfigurationError as error:
        return error


def stored(body: str, environ: dict[str, str] | None = None) -> Configuration:
    """As `read`, for a body that says nothing of storage."""
    return read(f"{body}\nstorage: inmemory", environ)


def problems(body: str = "storage: inmemory", environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(body, environ)
    return without_columns(caught.value.problems)


def stored_problems(body: str, environ: dict[str, str] | None = None) -> list[str]:
    return problems(f"{body}\nstorage: inmemory", environ)
