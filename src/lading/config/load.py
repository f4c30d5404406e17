"""From a file and the environment to a `Configuration`, or to everything that is wrong with them at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

from lading.config import environment
from lading.config.models.configuration import Configuration
from lading.config.models.section import Problem, Section
from lading.config.models.storage import FilesystemParameters
from lading.config.models.values import resolved
from lading.config.problems import ConfigurationError, Place, Refusal, report
from lading.config.remarks import remarks
from lading.config.schema import ROOT
from lading.config.unknown import unknown_keys
from lading.config.wire import arrange, skeleton
from lading.config.yaml import MapNode, Node, Scalar, YamlError, compose, locate

PREFIX = "REGISTRY"
PATH_VARIABLE = f"{PREFIX}_{environment.CONFIGURATION_PATH}"
BUILT_IN = "default.yml"
VERSION = "0.1"

PARAMETERS: Mapping[str, type[Section]] = {"filesystem": FilesystemParameters}
"""Drivers whose parameters are checked with the rest; the others check theirs when they are built."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """`warnings` are lines to log once logging is set up; `source` is the path that was read."""

    configuration: Configuration
    warnings: list[str]
    source: str
    root: MapNode = field(compare=False, repr=False)
    """What was read, overrides applied: for the places of values."""
    wrong: list[Problem] = field(default_factory=list)
    """What cannot be read; the configuration has defaults there."""
    overridden: list[Refusal] = field(default_factory=list)
    """What is wrong with variables, and with the form of the file."""

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong, one line each."""
        return [str(each) for each in self.refusals]

    @property
    def refusals(self) -> list[Refusal]:
        """Everything that is wrong."""
        # A storage section that was left out has had its problem told already.
        told = [(path, what) for path, what in self.wrong if path != ("storage",)]
        return self.overridden + [Refusal(locate(self.root, path), path, what) for path, what in told]

    def sound(self) -> Loaded:
        """Itself. Raises `ConfigurationError` if anything is wrong."""
        if self.problems:
            raise ConfigurationError(self.source, self.problems, self.warnings)
        return self


def load(path: str | None, environ: Mapping[str, str] | None = None) -> Loaded:
    """As `read`, where nothing is wrong. Raises `ConfigurationError`, also for what cannot be read."""
    return read(path, environ).sound()


def read(path: str | None, environ: Mapping[str, str] | None = None) -> Loaded:
    """Read `path`, else what `REGISTRY_CONFIGURATION_PATH` names, else the built-in default.

    Without `environ` the process's environment is read. Raises `ConfigurationError` if nothing can be read.
    """
    environ = os.environ if environ is None else environ
    chosen = path or environ.get(PATH_VARIABLE)
    if not chosen:
        default = resources.files("lading.config").joinpath(BUILT_IN).read_bytes()
        return _read(default, f"{BUILT_IN} (built in)", environ)
    try:
        with open(chosen, "rb") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConfigurationError(chosen, [report(Place(chosen), (), f"cannot be read: {reason}")]) from None
    return _read(text, chosen, environ)


def parse(text: str | bytes, source: str, environ: Mapping[str, str]) -> Loaded:
    """As `load`, for a text at hand; `source` is what problems call it. Raises `ConfigurationError`."""
    return _read(text, source, environ).sound()


def _read(text: str | bytes, source: str, environ: Mapping[str, str]) -> Loaded:
    root = _document(text, source)
    overrides = environment.apply(root, ROOT, environ, PREFIX)
    arranged = arrange(root)
    overridden = overrides.problems + arranged.problems
    wrong: list[Problem] = []
    configuration = Configuration.read(arranged.fields, wrong)
    wrong += _check_parameters(root)
    warnings = overrides.warnings + unknown_keys(root, ROOT)
    if not (overridden or wrong):
        warnings += remarks(configuration, root)
    return Loaded(configuration, warnings, source, root, wrong, overridden)


def _document(text: str | bytes, source: str) -> MapNode:
    """The tree, of a known version: what the file says of it, whatever the environment says later."""
    try:
        root = compose(text, source) or MapNode(Place(source, 1, 1))
    except YamlError as error:
        raise ConfigurationError(source, [report(error.place, (), error.what)]) from None
    if isinstance(root, Scalar) and root.value is None:
        root = MapNode(root.place)
    if not isinstance(root, MapNode):
        raise ConfigurationError(source, [report(root.place, (), "must be a mapping of settings")])
    version = root.entries.get("version")
    if version is not None and not isinstance(version, Scalar):
        raise ConfigurationError(source, [report(version.place, ["version"], "must be text")])
    known = "" if version is None or version.value is None else version.text
    if known != VERSION:
        what = f'unsupported version: "{known}" (known: {VERSION})'
        raise ConfigurationError(source, [report((version or root).place, ["version"], what)])
    return root


def _check_parameters(root: MapNode) -> list[Problem]:
    storage = root.entries.get("storage")
    given: Mapping[str, Node] = storage.entries if isinstance(storage, MapNode) else {}
    problems: list[Problem] = []
    for driver, model in PARAMETERS.items():
        parameters = given.get(driver)
        if isinstance(parameters, MapNode):
            model.read(resolved(skeleton(parameters)), problems, ("storage", driver))
    return problems
