"""Signatures are those that the SDK makes."""

from __future__ import annotations

import datetime

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials

from lading.storage.s3.signing import signed

WITHOUT_CONTENT = Config(s3={"payload_signing_enabled": False})
OWN = {"authorization", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"}


@pytest.mark.parametrize("token", [None, "a token"])
@pytest.mark.parametrize(
    ("method", "path", "query", "more"),
    [
        ("GET", "/bucket/a%20b/%2B~", "", {"range": "bytes=5-"}),
        ("PUT", "/bucket/a", "", {"content-type": "application/octet-stream", "if-none-match": "*"}),
        ("PUT", "/a", "uploadId=an%20id%2F&partNumber=7", {"x-amz-copy-source": "b/c%20d"}),
        ("GET", "/", "list-type=2&encoding-type=url&prefix=a%20b%2F&max-keys=7&delimiter=%2F", {}),
        ("POST", "/bucket/a", "uploads=", {"x-amz-storage-class": "two  blanks "}),
    ],
)
def test_equal(
    method: str, path: str, query: str, more: dict[str, str], token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = ReadOnlyCredentials("key", "a secret", token, None)
    headers = signed(method, path, query, {"host": "store:9000", **more}, credentials, "eu-west-1")
    assert headers.keys() == OWN - (set() if token else {"x-amz-security-token"}) | {"host", *more}
    made = datetime.datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    assert abs(datetime.datetime.now(datetime.UTC) - made) < datetime.timedelta(minutes=1)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: made)
    request = AWSRequest(method, f"http://store:9000{path}" + (f"?{query}" if query else ""), headers=more)
    request.context["client_config"] = WITHOUT_CONTENT
    S3SigV4Auth(credentials, "s3", "eu-west-1").add_auth(request)
    assert headers["authorization"] == request.headers["Authorization"]
