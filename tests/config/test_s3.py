"""The parameters of the s3 driver: each is honoured, or stops the start with one line (reference, 2.6)."""

from __future__ import annotations

import json

import pytest

from lading.compose.error import BuildError
from lading.compose.storage import driver
from lading.config.load import parse
from lading.storage.s3 import Options, S3Storage

MIB = 1024 * 1024
LEAST = {"region": "eu-west-1", "bucket": "b"}


def options(**parameters: object) -> Options:
    document = {"version": "0.1", "storage": {"s3": parameters}}
    made = driver(parse(json.dumps(document), "c.yml", {}).configuration)
    assert isinstance(made, S3Storage)
    return made._bucket.options


@pytest.mark.parametrize(
    ("name", "value", "attribute", "expected"),
    [
        ("accesskey", "a", "accesskey", "a"),
        ("secretkey", "s", "secretkey", "s"),
        ("region", "eu-central-1", "region", "eu-central-1"),
        ("regionendpoint", "http://store:9000", "endpoint", "http://store:9000"),
        ("regionendpoint", "store:9000", "endpoint", "https://store:9000"),
        ("redirectendpoint", "https://cdn/", "redirectendpoint", "https://cdn/"),
        ("forcepathstyle", "true", "pathstyle", True),
        ("bucket", "other", "bucket", "other"),
        ("encrypt", True, "encrypt", True),
        ("keyid", "k", "keyid", "k"),
        ("secure", False, "secure", False),
        ("skipverify", "1", "verify", False),
        ("chunksize", 5 * MIB, "chunksize", 5 * MIB),
        ("chunksize", 5120 * MIB, "chunksize", 5120 * MIB),
        ("equalparts", True, "equalparts", True),
        ("multipartcopychunksize", 5 * MIB, "copysize", 5 * MIB),
        ("multipartcopymaxconcurrency", "7", "copies", 7),
        ("multipartcopythresholdsize", 0, "copythreshold", 0),
        ("rootdirectory", "/r", "rootdirectory", "/r"),
        ("storageclass", "standard_ia", "storageclass", "STANDARD_IA"),
        ("storageclass", "NONE", "storageclass", ""),
        ("useragent", "mine", "useragent", "mine"),
        ("objectacl", "public-read", "acl", "public-read"),
        ("usedualstack", "T", "dualstack", True),
        ("accelerate", True, "accelerate", True),
        ("usefipsendpoint", True, "fips", True),
        ("loglevel", "DebugWithSigning", "logs", True),
        ("loglevel", False, "logs", False),
        ("loglevel", "loud", "logs", False),
    ],
)
def test_each_is_honoured(name: str, value: object, attribute: str, expected: object) -> None:
    assert getattr(options(**{**LEAST, name: value}), attribute) == expected


def test_those_that_need_others() -> None:
    static = {"accesskey": "a", "secretkey": "s", "sessiontoken": "t"}
    assert options(**LEAST, **static).sessiontoken == "t"
    assert options(**LEAST, regionendpoint="http://store", v4auth=False).v4 is False
    without = options(bucket="b", regionendpoint="store:9000", secure="false")
    assert (without.region, without.endpoint) == ("us-east-1", "http://store:9000")


def test_what_is_not_said() -> None:
    assert options(**LEAST) == Options(bucket="b", region="eu-west-1", acl="private", storageclass="STANDARD")


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        ({"bucket": ""}, "bucket: no bucket parameter provided"),
        ({"bucket": "a/b"}, "bucket: no name of a bucket: a/b"),
        ({"region": ""}, "region: no region parameter provided"),
        (
            {"bucket": "arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-1/accesspoint/registry"},
            "bucket: S3 on Outposts is not supported: arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-1/"
            "accesspoint/registry",
        ),
        (
            {"bucket": "registry-o01-a1b2--op-s3"},
            "bucket: S3 on Outposts is not supported: registry-o01-a1b2--op-s3",
        ),
        (
            {"bucket": "arn:aws:s3::123456789012:accesspoint/m.mrap"},
            "bucket: no ARN of an access point in one region: arn:aws:s3::123456789012:accesspoint/m.mrap",
        ),
        ({"region": "eu west"}, "region: invalid region provided: eu west"),
        ({"regionendpoint": "ftp://store"}, "regionendpoint: neither a host nor an http or https URL"),
        ({"regionendpoint": "http://"}, "regionendpoint: neither a host nor an http or https URL"),
        ({"regionendpoint": "http://u:hidden@store:x"}, "regionendpoint: neither a host nor an http or https URL"),
        ({"regionendpoint": "http://store:99999"}, "regionendpoint: neither a host nor an http or https URL"),
        ({"redirectendpoint": "cdn"}, "redirectendpoint: no scheme specified for redirectendpoint"),
        ({"redirectendpoint": "https://"}, "redirectendpoint: no host specified for redirectendpoint"),
        (
            {"redirectendpoint": "https://cdn/x"},
            "redirectendpoint: redirectendpoint cannot contain a base path: /x",
        ),
        (
            {"redirectendpoint": "https://cdn?x"},
            "redirectendpoint: redirectendpoint cannot contain query parameters",
        ),
        ({"redirectendpoint": "ftp://cdn"}, "redirectendpoint: neither a host nor an http or https URL"),
        ({"secure": "yes"}, "secure: the secure parameter should be a boolean"),
        (
            {"chunksize": 5 * MIB - 1},
            f"chunksize: the chunksize {5 * MIB - 1} parameter should be a number between {5 * MIB} and"
            f" {5120 * MIB} (inclusive)",
        ),
        ({"chunksize": "10MB"}, "chunksize: chunksize parameter must be an integer, 10MB invalid"),
        (
            {"multipartcopymaxconcurrency": 0},
            "multipartcopymaxconcurrency: the multipartcopymaxconcurrency 0 parameter should be a number between"
            " 1 and 2147483647 (inclusive)",
        ),
        ({"objectacl": "mine"}, "objectacl: invalid value for objectacl parameter: mine"),
        (
            {"v4auth": False},
            "v4auth: on Amazon S3 this storage driver can only be used with v4 authentication",
        ),
        ({"sessiontoken": "t"}, "sessiontoken: needs accesskey and secretkey"),
        ({"accelerate": True, "forcepathstyle": True}, "accelerate: cannot be used with forcepathstyle"),
        ({"accelerate": True, "usefipsendpoint": True}, "accelerate: cannot be used with usefipsendpoint"),
        ({"accelerate": True, "region": "cn-north-1"}, "accelerate: cannot be used with the region cn-north-1"),
        ({"accelerate": True, "bucket": "a.b"}, "accelerate: cannot be used with the dots of a.b"),
        ({"accelerate": True, "regionendpoint": "http://s"}, "accelerate: cannot be used with regionendpoint"),
        ({"usedualstack": True, "regionendpoint": "http://s"}, "usedualstack: cannot be used with regionendpoint"),
        (
            {"usefipsendpoint": True, "regionendpoint": "http://s"},
            "usefipsendpoint: cannot be used with regionendpoint",
        ),
    ],
)
def test_what_cannot_be_honoured(parameters: dict[str, object], line: str) -> None:
    with pytest.raises(BuildError) as caught:
        options(**LEAST | parameters)
    assert str(caught.value) == f"storage.s3.{line}"


@pytest.mark.parametrize("value", ["GLACIER", "deep_archive", "SNOW"])
def test_classes_that_take_hours_are_refused(value: str) -> None:
    with pytest.raises(BuildError, match=rf"the storageclass parameter must be one of .*, {value} invalid"):
        options(**LEAST, storageclass=value)
