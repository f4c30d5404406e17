"""The parameters of the s3 driver, from `Storage.parameters`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

from lading.config.models.section import Problem, Reads, Section, Then
from lading.config.models.values import Secret, Text, value_of
from lading.config.scalars import parse_integer

MEBIBYTE = 1024 * 1024
LARGEST = 5 * 1024 * MEBIBYTE
STORAGE_CLASSES = (
    "NONE",
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "OUTPOSTS",
    "GLACIER_IR",
    "EXPRESS_ONEZONE",
)
ACLS = (
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
)
LOG_LEVELS = (
    "debug",
    "debugwithsigning",
    "debugwithhttpbody",
    "debugwithrequestretries",
    "debugwithrequesterrors",
    "debugwitheventstreambody",
)
_REGION = re.compile(r"(?![0-9]+$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}")
_ACCESS_POINT = re.compile(r"arn:[a-z-]+:s3:[a-z0-9-]+:[0-9]{12}:accesspoint[:/][a-z0-9-]+")
_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}


def _switch(name: str) -> Reads:
    def check(data: object) -> bool:
        value = value_of(data)
        text = value if isinstance(value, str) else ""
        if not isinstance(value, bool) and text not in _TRUE | _FALSE:
            raise ValueError(f"the {name} parameter should be a boolean")
        return value if isinstance(value, bool) else text in _TRUE

    return Reads(check)


def _number(name: str, least: int, most: int) -> Reads:
    def check(data: object) -> int:
        value = value_of(data)
        number = parse_integer(value) if isinstance(value, str) else value
        if not isinstance(number, int) or isinstance(number, bool):
            raise ValueError(f"{name} parameter must be an integer, {value} invalid")
        if not least <= number <= most:
            raise ValueError(
                f"the {name} {number} parameter should be a number between {least} and {most} (inclusive)"
            )
        return number

    return Reads(check)


def _part(name: str) -> Reads:
    return _number(name, 5 * MEBIBYTE, LARGEST)


def _storage_class(value: str) -> str:
    if value.upper() not in STORAGE_CLASSES:
        raise ValueError(
            f"the storageclass parameter must be one of [{' '.join(STORAGE_CLASSES)}], {value} invalid"
        )
    return value.upper()


def _acl(value: str) -> str:
    if value not in ACLS:
        raise ValueError(f"invalid value for objectacl parameter: {value}")
    return value


def _logs_requests(data: object) -> bool:
    value = value_of(data)
    return isinstance(value, str) and value.lower() in LOG_LEVELS


def _region(value: str) -> str:
    """Any name that can be part of a host's: lists of regions are soon out of date."""
    if value and _REGION.fullmatch(value) is None:
        raise ValueError(f"invalid region provided: {value}")
    return value


def _endpoint(value: str) -> str:
    """A host with or without a port, or the URL of one."""
    named = not value or "://" in value
    url = urlsplit(value if named else f"https://{value}")
    try:
        is_one = not value or (url.scheme in ("http", "https") and url.hostname is not None and url.port != 0)
    except ValueError:
        is_one = False
    if not is_one:
        raise ValueError("neither a host nor an http or https URL")
    return value


def _bucket(value: str) -> str:
    if value.endswith("--op-s3") or value.split(":")[2:3] == ["s3-outposts"]:
        raise ValueError(f"S3 on Outposts is not supported: {value}")
    if value.startswith("arn:") and _ACCESS_POINT.fullmatch(value) is None:
        raise ValueError(f"no ARN of an access point in one region: {value}")
    if value and not value.startswith("arn:") and _BUCKET.fullmatch(value) is None:
        raise ValueError(f"no name of a bucket: {value}")
    return value


def _redirect_endpoint(value: str) -> str:
    url = urlsplit(value)
    if value and not url.scheme:
        raise ValueError("no scheme specified for redirectendpoint")
    if value and not url.netloc:
        raise ValueError("no host specified for redirectendpoint")
    if url.path not in ("", "/"):
        raise ValueError(f"redirectendpoint cannot contain a base path: {url.path}")
    if url.query:
        raise ValueError("redirectendpoint cannot contain query parameters")
    return _endpoint(value)


class S3Parameters(Section):
    """Sizes are in bytes."""

    accesskey: Secret = ""
    secretkey: Secret = ""
    sessiontoken: Secret = ""
    region: Annotated[Text, Then(_region)] = ""
    regionendpoint: Annotated[Text, Then(_endpoint)] = ""
    redirectendpoint: Annotated[Text, Then(_redirect_endpoint)] = ""
    forcepathstyle: Annotated[bool, _switch("forcepathstyle")] = False
    bucket: Annotated[Text, Then(_bucket)] = ""
    encrypt: Annotated[bool, _switch("encrypt")] = False
    keyid: Text = ""
    secure: Annotated[bool, _switch("secure")] = True
    skipverify: Annotated[bool, _switch("skipverify")] = False
    v4auth: Annotated[bool, _switch("v4auth")] = True
    chunksize: Annotated[int, _part("chunksize")] = 10 * MEBIBYTE
    equalparts: Annotated[bool, _switch("equalparts")] = False
    multipartcopychunksize: Annotated[int, _part("multipartcopychunksize")] = 32 * MEBIBYTE
    multipartcopymaxconcurrency: Annotated[int, _number("multipartcopymaxconcurrency", 1, 2**31 - 1)] = 100
    multipartcopythresholdsize: Annotated[int, _number("multipartcopythresholdsize", 0, LARGEST)] = 32 * MEBIBYTE
    rootdirectory: Text = ""
    storageclass: Annotated[Text, Then(_storage_class)] = "STANDARD"
    useragent: Text = ""
    objectacl: Annotated[Text, Then(_acl)] = "private"
    usedualstack: Annotated[bool, _switch("usedualstack")] = False
    accelerate: Annotated[bool, _switch("accelerate")] = False
    usefipsendpoint: Annotated[bool, _switch("usefipsendpoint")] = False
    loglevel: Annotated[bool, Reads(_logs_requests)] = False
    """Whether each request is a line of the log; the original's finer levels all are this one."""

    @classmethod
    def prepare(cls, entries: dict[str, object]) -> dict[str, object]:
        return {key.lower(): value for key, value in entries.items()}

    @property
    def endpoint(self) -> str:
        scheme = "https" if self.secure else "http"
        named = not self.regionendpoint or "://" in self.regionendpoint
        return self.regionendpoint if named else f"{scheme}://{self.regionendpoint}"

    def complaints(self) -> Iterator[Problem]:
        if not self.region and not self.regionendpoint:
            yield ("region",), "no region parameter provided"
        if not self.bucket:
            yield ("bucket",), "no bucket parameter provided"
        if not self.v4auth and (not self.regionendpoint or "s3.amazonaws.com" in self.regionendpoint):
            what = "on Amazon S3 this storage driver can only be used with v4 authentication"
            yield ("v4auth",), what
        if self.sessiontoken and not (self.accesskey and self.secretkey):
            yield ("sessiontoken",), "needs accesskey and secretkey"
        for name in ("accelerate", "usedualstack", "usefipsendpoint"):
            if self.regionendpoint and getattr(self, name):
                yield (name,), "cannot be used with regionendpoint"
        yield from self._accelerated()

    def _accelerated(self) -> Iterator[Problem]:
        hindrances = {
            "forcepathstyle": self.forcepathstyle,
            "usefipsendpoint": self.usefipsendpoint,
            f"the region {self.region}": self.region.startswith(("cn-", "us-gov-", "us-iso")),
            f"the dots of {self.bucket}": "." in self.bucket,
        }
        for what in [what for what, is_so in hindrances.items() if is_so and self.accelerate]:
            yield ("accelerate",), f"cannot be used with {what}"
