"""The options of the storage middleware there is, from `Middleware.options`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

from lading.config.models.section import HIDDEN, Problem, Reads, Section, Then, option
from lading.config.models.values import Text
from lading.config.scalars import parse_duration

HOUR = 3600.0
FILTERS = ("none", "aws", "awsregion")
_HOST = re.compile(r"[!-~]+")
_SIZE = re.compile(r"([0-9]+) ?(?:([KMGT])(i?)B?)?", re.IGNORECASE)


def _string(name: str) -> Reads:
    def read(data: object) -> str:
        if not isinstance(data, str):
            raise ValueError(f"{name} must be a string")
        if not data.isprintable():
            raise ValueError(f"{name} has control characters")
        return data

    return Reads(read)


def _base(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ValueError(f"unable to parse redirect baseurl: {error}") from None
    if not url:
        raise ValueError("no baseurl provided")
    if not parts.scheme:
        raise ValueError("no scheme specified for redirect baseurl")
    if not parts.netloc.rpartition("@")[2]:
        raise ValueError("no host specified for redirect baseurl")
    return _visible(url, "unable to parse redirect baseurl")


def _visible(text: str, problem: str) -> str:
    if text and _HOST.fullmatch(text) is None:
        raise ValueError(f"{problem}: has a space, or what is not ASCII")
    return text


def _word(text: str) -> str:
    return _visible(text, "is no part of a URL")


def _distribution(url: str) -> str:
    url = url if "://" in url else f"https://{url}"
    try:
        host = urlsplit(url).hostname
    except ValueError as error:
        raise ValueError(f"invalid baseurl: {error}") from None
    if not host or "?" in url or "#" in url:
        raise ValueError("invalid baseurl: must be https://host, with or without a path")
    return _visible(url if url.endswith("/") else f"{url}/", "invalid baseurl")


def _span(name: str, default: float | None) -> Reads:
    """A duration; what is no text has the default, if there is one."""

    def read(data: object) -> float:
        if not isinstance(data, str) and default is not None:
            return default
        try:
            seconds = parse_duration(data if isinstance(data, str) else "")
        except ValueError as error:
            raise ValueError(f"invalid {name}: {error}") from None
        if seconds <= 0:
            raise ValueError(f"invalid {name}: must be more than 0")
        return seconds

    return Reads(read)


def _filter(data: object) -> str:
    word = data.strip().lower() if isinstance(data, str) else None
    if word not in (*FILTERS, ""):
        raise ValueError(f"ipfilteredby only allows a string the following value: {'|'.join(FILTERS)}")
    return word or "none"


def _regions(data: object) -> list[str]:
    if not isinstance(data, str):
        raise ValueError("awsRegion must be a comma separated string of valid aws regions")
    return [word for region in data.split(",") if (word := region.strip().lower())]


def _list_address(url: str) -> str:
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("must be an URL of http or https")
    return url


def _size(data: object) -> int:
    found = _SIZE.fullmatch(str(data)) if isinstance(data, int | str) and not isinstance(data, bool) else None
    size = 0
    if found is not None:
        power = " KMGT".index((found[2] or " ").upper())
        size = int(found[1]) * (1024 if found[3] else 1000) ** power
    if size < 1:
        raise ValueError("must be a number of bytes, such as 21474836480, 20GB or 20GiB")
    return size


class RedirectOptions(Section):
    baseurl: Annotated[str, Then(_base), _string("baseurl")] = ""

    def complaints(self) -> Iterator[Problem]:
        if not self.baseurl:
            yield ("baseurl",), "no baseurl provided"


class RewriteOptions(Section):
    scheme: Annotated[str, Then(_word), _string("scheme")] = ""
    host: Annotated[str, Then(_word), _string("host")] = ""
    trimpathprefix: Annotated[str, _string("trimpathprefix")] = ""


class CloudfrontOptions(Section):
    baseurl: Annotated[str, Then(_distribution), _string("baseurl")] = ""
    privatekey: Annotated[str, _string("privatekey"), HIDDEN] = ""
    keypairid: Annotated[str, _string("keypairid"), HIDDEN] = ""
    duration: Annotated[float, _span("duration", 1200.0)] = 1200.0
    ipfilteredby: Annotated[str, Reads(_filter)] = "none"
    awsregion: Annotated[list[Text], Reads(_regions)] = option(factory=list)
    updatefrequency: Annotated[float, _span("updatefrequency", None)] = option(
        default=12 * HOUR, keys=("updatefrequency", "updatefrenquency")
    )
    iprangesurl: Annotated[str, Then(_list_address), _string("iprangesurl")] = (
        "https://ip-ranges.amazonaws.com/ip-ranges.json"
    )

    def complaints(self) -> Iterator[Problem]:
        for key in ("baseurl", "privatekey", "keypairid"):
            if not getattr(self, key):
                yield (key,), f"no {key} provided"
        if self.ipfilteredby == "awsregion" and not self.awsregion:
            yield ("awsregion",), "awsRegion is not defined"


class DiskcacheOptions(Section):
    directory: Annotated[str, _string("directory")] = ""
    size: Annotated[int, Reads(_size)] = 0
    """Bytes."""

    def complaints(self) -> Iterator[Problem]:
        for key in ("directory", "size"):
            if not getattr(self, key):
                yield (key,), "is not set"


OPTIONS: dict[str, type[Section]] = {
    "redirect": RedirectOptions,
    "rewrite": RewriteOptions,
    "cloudfront": CloudfrontOptions,
    "diskcache": DiskcacheOptions,
}
