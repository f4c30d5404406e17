"""The parameters of the gcs driver, from `Storage.parameters`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from lading.config.models.section import HIDDEN, Problem, Reads, Section, option
from lading.config.models.values import Text, shown, value_of
from lading.config.scalars import parse_integer

QUANTUM = 256 * 1024
DEFAULT_CHUNK = 16 * 1024 * 1024
DEFAULT_CALLS = 50
MINIMUM_CALLS = 25


def _whole(data: object) -> int | None:
    value = value_of(data)
    number = parse_integer(value) if isinstance(value, str) else value
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _chunk(data: object) -> int:
    size = _whole(data)
    if size is None:
        raise ValueError(f"chunksize must be an integer, {shown(data)} invalid")
    if size < QUANTUM:
        raise ValueError(f"chunksize {size} must be larger than or equal to {QUANTUM}")
    if size % QUANTUM:
        raise ValueError(f"chunksize should be a multiple of {QUANTUM}")
    return size


def _calls(data: object) -> int:
    number = _whole(data)
    if number is None:
        raise ValueError(f"maxconcurrency config error: {shown(data)} is no integer")
    return max(number, MINIMUM_CALLS)


def _account(data: object) -> dict[str, str]:
    if not isinstance(data, dict):
        raise ValueError("the credentials were not specified in the correct format")
    # In a variable of the environment the line breaks of a key are often written as \n.
    return {str(key): str(value_of(value)).replace("\\n", "\n") for key, value in data.items()}


class GcsParameters(Section):
    """Of `keyfile` and `credentials` the first counts; without both, what the surroundings offer."""

    bucket: Text = ""
    rootdirectory: Text = ""
    chunksize: Annotated[int, Reads(_chunk)] = DEFAULT_CHUNK
    keyfile: Text = ""
    credentials: Annotated[dict[str, str], Reads(_account), HIDDEN] = option(factory=dict)
    useragent: Text = ""
    maxconcurrency: Annotated[int, Reads(_calls)] = DEFAULT_CALLS

    def complaints(self) -> Iterator[Problem]:
        if not self.bucket:
            yield ("bucket",), "no bucket parameter provided"
